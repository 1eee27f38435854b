//! `rollbridge ps`: what runs, what drains and why it still does, at one glance.

mod notes;
mod rows;

use std::io::IsTerminal;
use std::time::Duration;

use serde_json::{Value, json};

use super::args::PsOptions;
use super::failure::Failure;
use super::output;
use super::style::Paint;
use crate::config::ConfigFile;
use crate::error::ErrorCode;

/// How often `--watch` looks.
const REFRESH: Duration = Duration::from_secs(1);

/// Cursor to the upper left corner, and everything from there on gone.
const CLEAR: &str = "\x1b[H\x1b[2J";

pub(super) async fn run(file: &ConfigFile, options: &PsOptions) -> Result<(), Failure> {
    if !options.watch {
        let status = status(file).await?;
        return match options.json {
            true => output::print_json(&rows::as_json(&status)),
            false => output::print(&readable(&status)),
        };
    }
    tokio::select! {
        outcome = watch(file, options) => outcome,
        // Ctrl-C is how watching ends.
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

async fn watch(file: &ConfigFile, options: &PsOptions) -> Result<(), Failure> {
    let on_terminal = std::io::stdout().is_terminal();
    let mut first = true;
    loop {
        match status(file).await {
            Ok(status) if options.json => output::print_line(&rows::as_json(&status))?,
            Ok(status) if on_terminal => output::print(&format!("{CLEAR}{}", readable(&status)))?,
            Ok(status) => output::print(&format!("{}{}", if first { "" } else { "\n" }, readable(&status)))?,
            // A daemon that was there may come back.
            Err(failure) if !first && failure.code() == ErrorCode::NoDaemon => {
                output::tell(failure.message())
            }
            Err(failure) => return Err(failure),
        }
        first = false;
        tokio::time::sleep(REFRESH).await;
    }
}

async fn status(file: &ConfigFile) -> Result<Value, Failure> {
    let mut client = super::connect(file).await?;
    let answer = super::ask(&mut client, json!({ "command": "status" }), |_| ()).await?;
    Ok(Value::Object(answer))
}

fn readable(status: &Value) -> String {
    let mut lines = rows::table(status).lines(Paint::of_stdout());
    let notes = notes::of(status, crate::clock::Timestamp::now());
    if !notes.is_empty() {
        lines.push(String::new());
        lines.extend(notes);
    }
    lines.join("\n")
}
