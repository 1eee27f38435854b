//! `rollbridge rollback`.

use serde_json::json;

use super::args::RollbackOptions;
use super::failure::Failure;
use super::{output, progress};
use crate::config::ConfigFile;

pub(super) async fn run(file: &ConfigFile, options: &RollbackOptions) -> Result<(), Failure> {
    let request = json!({
        "command": "rollback",
        "releaseId": options.release_id,
        "wait": options.wait,
        "progress": progress::is_wanted(options.progress),
    });
    let mut client = super::connect_and_warn(file).await?;
    let answer = progress::ask(&mut client, request).await?;
    output::print_json(&answer)?;
    Ok(())
}
