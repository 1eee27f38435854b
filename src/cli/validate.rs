//! `rollbridge validate`.

use std::process::ExitCode;

use super::args::ValidateOptions;
use super::failure::Failure;
use super::output;
use crate::config::{self, ConfigFile};
use crate::error::ErrorCode;

pub(super) async fn run(file: &ConfigFile, options: &ValidateOptions) -> Result<ExitCode, Failure> {
    let report = config::examine(file).await?;
    match options.json {
        true => output::print_json(&report.json())?,
        false => output::print(&report.text())?,
    }
    // The report itself is the message.
    Ok(match report.is_valid() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(ErrorCode::InvalidConfig.exit_status()),
    })
}
