//! `rollbridge stop`.

use serde_json::json;

use super::args::StopOptions;
use super::failure::Failure;
use super::output;
use crate::config::ConfigFile;

pub(super) async fn run(file: &ConfigFile, options: &StopOptions) -> Result<(), Failure> {
    let request = json!({ "command": "stop", "releaseId": options.release_id });
    let mut client = super::connect(file).await?;
    let answer = super::ask(&mut client, request, |_| ()).await?;
    output::print_json(&answer)?;
    Ok(())
}
