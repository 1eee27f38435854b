//! `rollbridge upgrade`: another version of the program takes over the running daemon.

use serde_json::json;

use super::args::UpgradeOptions;
use super::failure::Failure;
use super::output;
use crate::config::ConfigFile;
use crate::error::plain;

pub(super) async fn run(file: &ConfigFile, options: &UpgradeOptions) -> Result<(), Failure> {
    let binary = match &options.binary {
        // Relative to the folder of the caller, which the daemon does not know.
        Some(path) => std::path::absolute(path),
        None => std::env::current_exe(),
    };
    let binary = binary.map_err(|error| {
        Failure::internal(format!(
            "cannot tell which program is to take over: {}; name it with --binary",
            plain(&error)
        ))
    })?;
    let mut client = super::connect(file).await?;
    let request = json!({ "command": "upgrade", "binary": binary });
    let answer = super::ask(&mut client, request, |_| ()).await?;
    output::print_json(&answer)?;
    Ok(())
}
