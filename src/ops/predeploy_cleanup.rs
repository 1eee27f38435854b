//! Making the machine ready for a deploy: a daemon that cannot be used is replaced or ended, what a crashed one has left
//! over is stopped, and so is what the config names of an older supervisor.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use thiserror::Error;
use tokio::time::{Instant, sleep};

use super::introduction::{Daemon, Listener, ask, introduce};
use super::recover::{RecoverError, recover};
use super::upgrade::{request, this_program};
use crate::config::{Config, LegacyTakeover};
use crate::control::client::ClientError;
use crate::daemon::state::Record;
use crate::error::{ErrorCode, plain};
use crate::host::ProcessIdentity;
use crate::host::legacy::{Census, Legacy, quit_screen, screen_sessions, signal_legacy};

/// How often is looked whether processes are gone.
const LOOK: Duration = Duration::from_millis(20);

/// How long a process may take to vanish after SIGKILL; one that takes longer hangs in the kernel.
const AFTER_KILL: Duration = Duration::from_secs(5);

/// What became of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It serves, and can be deployed to.
    DaemonActive,
    /// It serves, and was replaced by the version that the release carries.
    DaemonUpgraded,
    /// It was of no use, and was ended.
    DaemonStopped,
    /// There was none.
    NoDaemonCleaned,
}

impl Action {
    /// The word for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::DaemonActive => "daemon-active",
            Action::DaemonUpgraded => "daemon-upgraded",
            Action::DaemonStopped => "daemon-stopped",
            Action::NoDaemonCleaned => "no-daemon-cleaned",
        }
    }
}

/// What was done.
#[derive(Debug)]
pub struct Cleanup {
    /// What became of the daemon, and why.
    pub action: Action,
    /// Why, for people.
    pub reason: String,
    /// What was stopped of an older supervisor.
    pub legacy: Vec<Legacy>,
    /// What was stopped of a daemon that crashed.
    pub orphans: Vec<Record>,
    /// What the operator should know about the state file.
    pub warning: Option<String>,
}

/// Why it was not done, or not all of it.
#[derive(Debug, Error)]
pub enum CleanupError {
    /// Somebody else's.
    #[error("{0}; nothing was stopped: set another control.path, or end what listens there")]
    Foreign(String),
    /// The daemon did not do what it was asked.
    #[error(transparent)]
    Daemon(#[from] ClientError),
    /// The daemon refused.
    #[error("the daemon could not be ended: {0}")]
    NotEnded(String),
    /// Orphans could not be recovered.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// Orphans live on.
    #[error(
        "these processes of an earlier daemon survived SIGKILL: {0}; look at them with ps, then run the command again"
    )]
    OrphansSurvive(String),
    /// Legacy processes live on.
    #[error("these processes could not be stopped: {0}; stop them yourself, then run the command again")]
    LegacySurvives(String),
    /// The processes of the machine cannot be listed.
    #[error("cannot list processes to find what legacyTakeover names: {}", plain(.0))]
    NoCensus(std::io::Error),
}

impl CleanupError {
    /// The code for programs.
    pub fn code(&self) -> ErrorCode {
        match self {
            CleanupError::Foreign(_) => ErrorCode::ForeignDaemon,
            CleanupError::Daemon(error) => error.code(),
            CleanupError::Recover(error) => error.code(),
            _ => ErrorCode::Internal,
        }
    }
}

/// Makes ready. `release_path`: the release that is going to be deployed, whose own version of this package counts.
pub async fn clean_up(config: &Config, release_path: Option<&Path>) -> Result<Cleanup, CleanupError> {
    let (action, reason) = see_to_daemon(config, release_path).await?;
    let mut cleanup = Cleanup {
        action,
        reason,
        legacy: Vec::new(),
        orphans: Vec::new(),
        warning: None,
    };
    if matches!(action, Action::DaemonActive | Action::DaemonUpgraded) {
        return Ok(cleanup);
    }
    if config.state_path.is_some() {
        let recovery = recover(config, true).await?;
        if !recovery.remaining.is_empty() {
            let left: Vec<String> = recovery
                .remaining
                .iter()
                .map(|record| format!("{} (pid {})", record.id, record.process.pid))
                .collect();
            return Err(CleanupError::OrphansSurvive(left.join(", ")));
        }
        cleanup.orphans = recovery.orphans;
        cleanup.warning = recovery.warning;
    }
    if let Some(takeover) = &config.legacy_takeover {
        cleanup.legacy = take_over(takeover).await?;
    }
    Ok(cleanup)
}

async fn see_to_daemon(
    config: &Config,
    release_path: Option<&Path>,
) -> Result<(Action, String), CleanupError> {
    let mut daemon = match introduce(&config.control).await {
        Listener::Nobody => return Ok((Action::NoDaemonCleaned, "no daemon runs".to_owned())),
        Listener::Stranger(reason) => return Err(CleanupError::Foreign(reason)),
        Listener::Daemon(daemon) if daemon.application != config.application => {
            let path = config.control.path.display();
            return Err(CleanupError::Foreign(format!(
                "{} listens on {path}",
                daemon.describe()
            )));
        }
        Listener::Daemon(daemon) => daemon,
    };
    let who = daemon.describe();
    let (host, port) = (&config.proxy.host, config.proxy.port);
    let reason = if daemon.active_release_id.is_none() {
        format!("{who} was of no use")
    } else if !daemon.serves_at(host, port) {
        let (old_host, old_port) = &daemon.proxy;
        format!("{who} had its proxy on {old_host}:{old_port}, not on {host}:{port}")
    } else {
        match release_path.and_then(carried_version) {
            Some(carried) if carried != daemon.version => {
                let Err(reason) = upgrade(&mut daemon, &carried).await else {
                    let now = format!("{who} now runs version {carried}");
                    return Ok((Action::DaemonUpgraded, now));
                };
                format!(
                    "{who} ran version {}, the release carries {carried}, and it could not be replaced: {reason}",
                    daemon.version
                )
            }
            _ => return Ok((Action::DaemonActive, format!("{who} can be deployed to"))),
        }
    };
    let answer = ask(&mut daemon.client, "shutdown").await?;
    match answer.get("status").and_then(Value::as_str) {
        Some("success") => Ok((Action::DaemonStopped, reason)),
        _ => {
            let said = answer
                .get("error")
                .and_then(Value::as_str)
                .unwrap_or("it gave no reason");
            Err(CleanupError::NotEnded(said.to_owned()))
        }
    }
}

/// The version of this package inside a release, if there is one.
fn carried_version(release_path: &Path) -> Option<String> {
    let manifest = release_path.join("node_modules/rollbridge/package.json");
    let text = std::fs::read_to_string(manifest).ok()?;
    // One field of a file that npm has written; a whole parse would say no more.
    let (_, rest) = text.split_once("\"version\"")?;
    rest.split('"').nth(1).map(str::to_owned)
}

/// Has this very program take over, if it has the version that the release carries: the release's own command is what calls
/// it.
async fn upgrade(daemon: &mut Daemon, carried: &str) -> Result<(), String> {
    let own = env!("CARGO_PKG_VERSION");
    if carried != own {
        return Err(format!("this command has version {own}"));
    }
    let binary = this_program(&mut daemon.client).await;
    let binary = binary.map_err(|error| error.to_string())?;
    let answer = request(&mut daemon.client, &binary).await;
    let answer = answer.map_err(|error| error.to_string())?;
    match answer.get("error").and_then(Value::as_str) {
        None => Ok(()),
        Some(reason) => Err(reason.to_owned()),
    }
}

/// Stops what is named; returns what was found.
async fn take_over(takeover: &LegacyTakeover) -> Result<Vec<Legacy>, CleanupError> {
    let census = Census::take().map_err(CleanupError::NoCensus)?;
    let mut found: Vec<Legacy> = Vec::new();
    let mut add = |name: &str, roots: &[i32]| {
        for pid in census.with_descendants(roots) {
            let process = ProcessIdentity::of(pid).filter(ProcessIdentity::is_alive);
            let is_known = |process: &ProcessIdentity| found.iter().any(|legacy| legacy.process == *process);
            if let Some(process) = process.filter(|process| !is_known(process)) {
                let name = name.to_owned();
                found.push(Legacy { name, process });
            }
        }
    };
    let sessions: Vec<(i32, &String)> = takeover
        .screens
        .iter()
        .flat_map(|name| screen_sessions(name).into_iter().map(move |pid| (pid, name)))
        .collect();
    for (pid, name) in &sessions {
        add(&format!("screen {name}"), &[*pid]);
    }
    for legacy in &takeover.processes {
        let name = legacy.name.clone().unwrap_or_else(|| legacy.includes.join(" "));
        add(&name, &census.matching(&legacy.includes));
    }
    for (pid, name) in &sessions {
        quit_screen(*pid, name);
    }
    stop(&mut found, takeover.force_stop_timeout).await?;
    Ok(found)
}

/// SIGTERM, then SIGKILL to what is left after `patience`, also to what they start meanwhile.
async fn stop(found: &mut Vec<Legacy>, patience: Duration) -> Result<(), CleanupError> {
    let mut refused = String::new();
    for (signal, time) in [(Signal::SIGTERM, patience), (Signal::SIGKILL, AFTER_KILL)] {
        let deadline = Instant::now() + time;
        let mut told: Vec<ProcessIdentity> = Vec::new();
        loop {
            let living: Vec<Legacy> = found
                .iter()
                .filter(|legacy| legacy.process.is_alive())
                .cloned()
                .collect();
            if living.is_empty() {
                return Ok(());
            }
            for legacy in &living {
                if !told.contains(&legacy.process) {
                    told.push(legacy.process.clone());
                    if let Err(errno) = signal_legacy(&legacy.process, signal) {
                        refused = format!(" ({})", plain(&errno.into()));
                    }
                }
            }
            if Instant::now() >= deadline {
                break;
            }
            sleep(LOOK).await;
            find_children(found, &living);
        }
    }
    let left: Vec<String> = found
        .iter()
        .filter(|legacy| legacy.process.is_alive())
        .map(|legacy| format!("{}, pid {}{refused}", legacy.name, legacy.process.pid))
        .collect();
    match left.is_empty() {
        true => Ok(()),
        false => Err(CleanupError::LegacySurvives(left.join("; "))),
    }
}

/// What the living have started since the last look.
fn find_children(found: &mut Vec<Legacy>, living: &[Legacy]) {
    let Ok(census) = Census::take() else { return };
    for parent in living.iter().filter(|legacy| legacy.process.is_alive()) {
        for pid in census.with_descendants(&[parent.process.pid]) {
            if let Some(process) = ProcessIdentity::of(pid)
                && !found.iter().any(|legacy| legacy.process == process)
            {
                let name = parent.name.clone();
                found.push(Legacy { name, process });
            }
        }
    }
}
