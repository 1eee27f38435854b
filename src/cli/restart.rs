//! `rollbridge restart`.

use serde_json::json;

use super::args::RestartOptions;
use super::failure::Failure;
use super::output;
use crate::config::ConfigFile;

pub(super) async fn run(file: &ConfigFile, options: &RestartOptions) -> Result<(), Failure> {
    let request = json!({ "command": "restart", "processId": options.process, "policy": options.policy });
    let mut client = super::connect(file).await?;
    let answer = super::ask(&mut client, request, |_| ()).await?;
    output::print_json(&answer)?;
    Ok(())
}
