//! `rollbridge ensure-daemon`, and what `rollbridge deploy --ensure-daemon` does first.

use std::path::PathBuf;
use std::time::Duration;

use super::args::EnsureOptions;
use super::failure::Failure;
use super::{daemon, output};
use crate::config::{self, Config, ConfigFile, Loaded};
use crate::control::client::Line;
use crate::ops::ensure_daemon::{Ensured, Wanted, ensure_daemon};

/// How long a daemon may take until it answers.
const START_TIMEOUT_MS: u64 = 10_000;

pub(super) async fn run(file: &ConfigFile, options: &EnsureOptions) -> Result<(), Failure> {
    let status = ensure(file, options).await?;
    output::print_json(&status)
}

/// Finds or starts a daemon, and returns what it says of itself.
pub(super) async fn ensure(file: &ConfigFile, options: &EnsureOptions) -> Result<Line, Failure> {
    let Loaded { config, warnings, .. } = config::load(file).await?;
    warnings.iter().for_each(daemon::tell_warning);
    let wanted = wanted(file, &config, options);
    let ensured = ensure_daemon(&config, &wanted, output::tell).await;
    let Ensured { status, warning } =
        ensured.map_err(|error| Failure::new(error.code(), error.to_string()))?;
    if let Some(warning) = warning {
        output::tell(&format!("warning: {warning}"));
    }
    Ok(status)
}

fn wanted(file: &ConfigFile, config: &Config, options: &EnsureOptions) -> Wanted {
    let usual = |ending: &str| PathBuf::from(format!("/tmp/rollbridge-{}.{ending}", config.application));
    let timeout = options.daemon_start_timeout_ms.unwrap_or(START_TIMEOUT_MS);
    Wanted {
        config_file: file.path.clone(),
        log: options.daemon_log_path.clone().unwrap_or_else(|| usual("log")),
        pid: options.daemon_pid_path.clone().unwrap_or_else(|| usual("pid")),
        runtime: options.daemon_runtime_path.clone(),
        start_timeout: Duration::from_millis(timeout),
    }
}
