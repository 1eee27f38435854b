//! Stopping what a daemon that crashed has left over. It acts only while no daemon runs, and only on processes that are
//! known by pid, start time and boot.

use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use thiserror::Error;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::config::Config;
use crate::control::socket::is_live;
use crate::daemon::state::{Reading, Record, StateFile};
use crate::error::{ErrorCode, plain};
use crate::host::Orphan;

/// How soon after each other we look whether an orphan is gone, at first and at most.
const FIRST_LOOK: Duration = Duration::from_millis(5);
const SLOWEST_LOOK: Duration = Duration::from_millis(100);

/// How long a process may take to vanish after SIGKILL; one that takes longer hangs in the kernel.
const AFTER_KILL: Duration = Duration::from_secs(5);

/// What was found and done.
#[derive(Debug)]
pub struct Recovery {
    /// What was alive at the beginning.
    pub orphans: Vec<Record>,
    /// What is alive now.
    pub remaining: Vec<Record>,
    /// Whether they were to be stopped.
    pub forced: bool,
    /// Whether the state file was removed.
    pub cleared: bool,
    /// What the operator should know about the state file.
    pub warning: Option<String>,
}

/// Why nothing was done.
#[derive(Debug, Error)]
pub enum RecoverError {
    /// Without a state file nothing is known.
    #[error(
        "there is no state file to recover from, for the config has no statePath; set it, so that the next crash can be recovered"
    )]
    NoStatePath,
    /// A daemon answers, and its processes are no orphans.
    #[error("a daemon listens on {}; its processes are not left over (rollbridge shutdown stops them), and status lists those that are", .0.display())]
    DaemonListens(PathBuf),
    /// It does not answer any more, or not on this socket, and runs.
    #[error("the daemon with pid {pid} wrote {} and still runs; wait for its end, or end it with SIGTERM", .path.display())]
    DaemonRuns {
        /// The daemon.
        pid: i32,
        /// The state file.
        path: PathBuf,
    },
    /// Everything is stopped, and the file is still there.
    #[error("everything is stopped, but {} cannot be removed: {}", .path.display(), plain(.source))]
    NotCleared {
        /// The state file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl RecoverError {
    /// The code for programs.
    pub fn code(&self) -> ErrorCode {
        match self {
            RecoverError::NoStatePath => ErrorCode::InvalidConfig,
            _ => ErrorCode::Internal,
        }
    }
}

/// Lists what is left over; with `force`, stops it and clears the state file once all of it is gone.
pub async fn recover(config: &Config, force: bool) -> Result<Recovery, RecoverError> {
    let path = config.state_path.as_ref().ok_or(RecoverError::NoStatePath)?;
    if is_live(&config.control.path) {
        return Err(RecoverError::DaemonListens(config.control.path.clone()));
    }
    let file = StateFile::new(path, &config.application);
    let remains = match file.read() {
        Reading::Found(remains) => remains,
        Reading::Missing => return Ok(nothing(force, None)),
        Reading::Refused(error) => {
            return Ok(nothing(force, Some(refused(&file, &error.to_string(), force))));
        }
    };
    if let Some(daemon) = remains.daemon.as_ref().filter(|_| remains.writer_is_alive()) {
        let (pid, path) = (daemon.pid, path.clone());
        return Err(RecoverError::DaemonRuns { pid, path });
    }
    let orphans = remains.survivors();
    if !force {
        let remaining = orphans.clone();
        return Ok(Recovery {
            orphans,
            remaining,
            ..nothing(false, None)
        });
    }
    let remaining = stop_all(&orphans, config.proxy.force_stop_timeout).await;
    let cleared = remaining.is_empty();
    if cleared {
        let path = path.clone();
        file.remove()
            .map_err(|source| RecoverError::NotCleared { path, source })?;
    }
    Ok(Recovery {
        orphans,
        remaining,
        cleared,
        ..nothing(true, None)
    })
}

fn nothing(forced: bool, warning: Option<String>) -> Recovery {
    Recovery {
        orphans: Vec::new(),
        remaining: Vec::new(),
        forced,
        cleared: false,
        warning,
    }
}

/// Says what is wrong with a file that is not believed; with `force` it is set aside too.
fn refused(file: &StateFile, reason: &str, force: bool) -> String {
    let told = format!(
        "{} is not used, for {reason}; whether anything is left over is unknown",
        file.path().display()
    );
    match force.then(|| file.set_aside()) {
        None => told,
        Some(Ok(name)) => format!("{told}; it is kept as {}", name.display()),
        Some(Err(error)) => format!("{told}; it cannot be set aside: {}", plain(&error)),
    }
}

/// Stops all of them side by side; returns those that survive.
async fn stop_all(orphans: &[Record], patience: Duration) -> Vec<Record> {
    let mut stopping = JoinSet::new();
    for (position, orphan) in orphans.iter().enumerate() {
        let leader = orphan.process.clone();
        stopping.spawn(async move {
            match Orphan::find(&leader) {
                Some(orphan) => stop(orphan, patience).await.then_some(position),
                None => None,
            }
        });
    }
    let mut survivors: Vec<usize> = stopping.join_all().await.into_iter().flatten().collect();
    survivors.sort_unstable();
    survivors
        .into_iter()
        .map(|position| orphans[position].clone())
        .collect()
}

/// SIGTERM, and SIGKILL to what is left after `patience`; whether anything survives.
async fn stop(mut orphan: Orphan, patience: Duration) -> bool {
    for (signal, time) in [(Signal::SIGTERM, patience), (Signal::SIGKILL, AFTER_KILL)] {
        // One that may not be signalled is still there when the time is over, and is reported as that.
        let _ = orphan.signal(signal);
        if is_gone_within(&mut orphan, time).await {
            return false;
        }
    }
    true
}

async fn is_gone_within(orphan: &mut Orphan, time: Duration) -> bool {
    let deadline = Instant::now() + time;
    let mut pause = FIRST_LOOK;
    while !orphan.is_gone() {
        if Instant::now() >= deadline {
            return false;
        }
        tokio::select! {
            () = sleep(pause) => pause = (pause * 2).min(SLOWEST_LOOK),
            () = sleep_until(deadline) => {}
        }
    }
    true
}
