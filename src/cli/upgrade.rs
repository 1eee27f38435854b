//! `rollbridge upgrade`: another version of the program takes over the running daemon.

use super::args::UpgradeOptions;
use super::failure::Failure;
use super::output;
use crate::config::ConfigFile;
use crate::ops::upgrade::{ProgramError, request, this_program};

pub(super) async fn run(file: &ConfigFile, options: &UpgradeOptions) -> Result<(), Failure> {
    let mut client = super::connect(file).await?;
    let binary = match &options.binary {
        // Relative to the folder of the caller, which the daemon does not know.
        Some(path) => std::path::absolute(path).map_err(ProgramError::Unknown),
        None => this_program(&mut client).await,
    };
    let binary = binary.map_err(|error| match error {
        ProgramError::Daemon(error) => error.into(),
        error => Failure::internal(error.to_string()),
    })?;
    let answer = request(&mut client, &binary).await?;
    match answer.get("status") {
        Some(status) if status == "success" => output::print_json(&answer),
        _ => Err(Failure::from_daemon(&answer)),
    }
}
