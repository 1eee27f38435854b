//! `rollbridge deploy`.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::args::DeployOptions;
use super::failure::Failure;
use super::{ensure_daemon, output, progress};
use crate::config::ConfigFile;
use crate::error::{ErrorCode, plain};

pub(super) async fn run(file: &ConfigFile, options: &DeployOptions) -> Result<(), Failure> {
    // Made absolute from where we stand, not from where the daemon does.
    let release_path = absolute(&options.release_path)?;
    let Some(release_path) = release_path.to_str() else {
        return Err(Failure::new(
            ErrorCode::InvalidRequest,
            "--release-path must be valid UTF-8",
        ));
    };
    let request = json!({
        "command": "deploy",
        "releasePath": release_path,
        "releaseId": options.release_id,
        "revision": options.revision,
        "wait": options.wait,
        "waitDrained": options.wait_drained,
        "progress": progress::is_wanted(options.progress),
    });
    let mut client = match options.ensure_daemon {
        true => {
            // It warns by itself.
            ensure_daemon::ensure(file, &options.daemon).await?;
            super::connect(file).await?
        }
        false => super::connect_and_warn(file).await?,
    };
    let answer = progress::ask(&mut client, request).await?;
    output::print_json(&answer)?;
    Ok(())
}

/// A path of the command line as it is meant where we stand.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| {
        Failure::new(
            ErrorCode::InvalidRequest,
            format!("--release-path: {}", plain(&error)),
        )
    })
}
