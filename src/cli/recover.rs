//! `rollbridge recover`.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::args::RecoverOptions;
use super::failure::Failure;
use super::output;
use crate::config::{self, ConfigFile, Loaded};
use crate::control::wire;
use crate::daemon::state::Record;
use crate::error::ErrorCode;
use crate::ops::recover::{Recovery, recover};

pub(super) async fn run(file: &ConfigFile, options: &RecoverOptions) -> Result<ExitCode, Failure> {
    let Loaded { config, .. } = config::load(file).await?;
    let recovery = recover(&config, options.force)
        .await
        .map_err(|error| Failure::new(error.code(), error.to_string()))?;
    if let Some(warning) = &recovery.warning {
        output::tell(&format!("warning: {warning}"));
    }
    match options.json {
        true => output::print_json(&as_json(&recovery))?,
        false => output::print(&readable(&recovery))?,
    }
    // The list of what survived is the message.
    Ok(match recovery.forced && !recovery.remaining.is_empty() {
        true => ExitCode::from(ErrorCode::Internal.exit_status()),
        false => ExitCode::SUCCESS,
    })
}

fn as_json(recovery: &Recovery) -> Value {
    let list = |records: &[Record]| records.iter().map(wire::orphan).collect::<Vec<_>>();
    json!({
        "orphans": list(&recovery.orphans),
        "remaining": list(&recovery.remaining),
        "forced": recovery.forced,
        "cleared": recovery.cleared,
    })
}

fn readable(recovery: &Recovery) -> String {
    if recovery.orphans.is_empty() {
        return "no orphans: nothing is known to be left over".to_owned();
    }
    let line = |record: &Record| {
        let fate = match (recovery.forced, recovery.remaining.contains(record)) {
            (false, _) => "orphan",
            (true, true) => "still alive",
            (true, false) => "stopped",
        };
        let Record {
            id,
            release_id,
            process,
        } = record;
        format!("{fate}: {id} of release {release_id}, pid {}", process.pid)
    };
    let mut lines: Vec<String> = recovery.orphans.iter().map(line).collect();
    if !recovery.forced {
        lines.push("rollbridge recover --force stops what is listed".to_owned());
    }
    lines.join("\n")
}
