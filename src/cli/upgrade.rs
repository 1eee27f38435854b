//! `rollbridge upgrade`: another version of the program takes over the running daemon.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::args::UpgradeOptions;
use super::failure::Failure;
use super::output;
use crate::config::ConfigFile;
use crate::control::client::{Client, Line};
use crate::error::plain;
use crate::host::RuntimeCopy;

pub(super) async fn run(file: &ConfigFile, options: &UpgradeOptions) -> Result<(), Failure> {
    let mut client = super::connect(file).await?;
    let binary = match &options.binary {
        // Relative to the folder of the caller, which the daemon does not know.
        Some(path) => std::path::absolute(path).map_err(|error| unknown(&error))?,
        None => this_program(&mut client).await?,
    };
    let request = json!({ "command": "upgrade", "binary": binary });
    let answer = super::ask(&mut client, request, |_| ()).await?;
    output::print_json(&answer)?;
    Ok(())
}

/// This program, or a copy of it beside the one that the daemon runs from, if it runs from a copy.
async fn this_program(client: &mut Client) -> Result<PathBuf, Failure> {
    let status = super::ask(client, json!({ "command": "status" }), |_| ()).await?;
    let Some(folder) = folder_of_copies(&status) else {
        return std::env::current_exe().map_err(|error| unknown(&error));
    };
    let copy = RuntimeCopy::make(&[folder]).map_err(|error| Failure::internal(error.to_string()))?;
    Ok(copy.path)
}

fn folder_of_copies(status: &Line) -> Option<PathBuf> {
    let copy = status.get("daemonRuntime")?.get("path").and_then(Value::as_str)?;
    Path::new(copy).ancestors().nth(2).map(Path::to_owned)
}

fn unknown(error: &std::io::Error) -> Failure {
    Failure::internal(format!(
        "cannot tell which program is to take over: {}; name it with --binary",
        plain(error)
    ))
}
