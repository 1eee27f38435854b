//! `rollbridge predeploy-cleanup`.

use serde_json::{Value, json};

use super::args::PredeployCleanupOptions;
use super::failure::Failure;
use super::{deploy, output};
use crate::config::{self, ConfigFile, Loaded};
use crate::control::wire;
use crate::ops::predeploy_cleanup::{Cleanup, clean_up};

pub(super) async fn run(file: &ConfigFile, options: &PredeployCleanupOptions) -> Result<(), Failure> {
    let release_path = options
        .release_path
        .as_deref()
        .map(deploy::absolute)
        .transpose()?;
    let Loaded { config, .. } = config::load(file).await?;
    let cleanup = clean_up(&config, release_path.as_deref())
        .await
        .map_err(|error| Failure::new(error.code(), error.to_string()))?;
    if let Some(warning) = &cleanup.warning {
        output::tell(&format!("warning: {warning}"));
    }
    match options.json {
        true => output::print_json(&as_json(&cleanup)),
        false => output::print(&readable(&cleanup)),
    }
}

fn as_json(cleanup: &Cleanup) -> Value {
    let legacy = cleanup
        .legacy
        .iter()
        .map(|legacy| json!({ "name": legacy.name, "pid": legacy.process.pid }));
    json!({
        "action": cleanup.action.as_str(),
        "legacyProcesses": legacy.collect::<Vec<_>>(),
        "recoveredOrphans": cleanup.orphans.iter().map(wire::orphan).collect::<Vec<_>>(),
    })
}

fn readable(cleanup: &Cleanup) -> String {
    let mut lines = vec![format!("{}: {}", cleanup.action.as_str(), cleanup.reason)];
    lines.extend(cleanup.orphans.iter().map(|orphan| {
        format!(
            "stopped: {} of release {}, pid {}",
            orphan.id, orphan.release_id, orphan.process.pid
        )
    }));
    let legacy = cleanup.legacy.iter();
    lines.extend(legacy.map(|legacy| format!("stopped: {}, pid {}", legacy.name, legacy.process.pid)));
    lines.join("\n")
}
