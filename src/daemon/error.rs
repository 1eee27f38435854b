//! Why the engine did not do what it was asked.

use thiserror::Error;

use crate::error::ErrorCode;
use crate::process::StartError;
use crate::release::{DeployPhase, Failure};

/// A refused or failed command.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum EngineError {
    /// Parameters that make no sense.
    #[error("{0}")]
    InvalidRequest(String),
    /// Nothing is started any more.
    #[error("the daemon is shutting down; start it again to {0}")]
    ShuttingDown(&'static str),
    /// This engine makes way for another program.
    #[error("the daemon is just being upgraded; ask again in a moment")]
    Upgrading,
    /// The other program does not take over.
    #[error("upgrade failed, the daemon goes on as it is: {0}")]
    Upgrade(String),
    /// The other program has taken over, but not from the keeper.
    #[error(
        "the daemon runs the new version, but its keeper, the small process that holds everything, stays what it was: {0}"
    )]
    KeeperStays(String),
    /// Another deploy or rollback has the turn.
    #[error("{running} is still running; wait for it, or use --wait to queue behind it")]
    DeployInProgress {
        /// What runs.
        running: String,
    },
    /// No release has this id.
    #[error("no release {id:?} is known; {}", known_ids(.known))]
    ReleaseNotFound {
        /// The id asked for.
        id: String,
        /// The ids there are.
        known: Vec<String>,
    },
    /// The release asked for never became active.
    #[error("release {id:?} never became active, so there is nothing to go back to; deploy it again instead")]
    NeverActive {
        /// Its id.
        id: String,
    },
    /// The release asked for serves already.
    #[error("release {id:?} is active already")]
    AlreadyActive {
        /// Its id.
        id: String,
    },
    /// There is no earlier release.
    #[error("no earlier release is known to go back to; deploy the one you want")]
    NoPreviousRelease,
    /// No process has this id.
    #[error("no process {id:?} is there to restart; {}", known_processes(.known))]
    ProcessNotFound {
        /// The id asked for.
        id: String,
        /// The ids there are.
        known: Vec<String>,
    },
    /// No process has this id, or none of the release that was asked for.
    #[error("no process {id:?} is known there; {}", known_processes(.known))]
    NoLogsOf {
        /// The id asked for.
        id: String,
        /// The ids there are.
        known: Vec<String>,
    },
    /// No such connection is open.
    #[error("no open connection has the number {0}; rollbridge connections lists those that are open")]
    ConnectionNotFound(u64),
    /// The web process cannot be restarted in place.
    #[error(
        "the proxied process is never restarted in place, for its requests would be lost; deploy the release again"
    )]
    ProxiedNotRestartable,
    /// Another daemon was to take this one's place, and does not.
    #[error("this daemon goes on: {0}")]
    CannotLeave(String),
    /// A process did not come up again.
    #[error("restart failed: {0}")]
    Restart(StartError),
    /// A deploy or rollback failed.
    #[error(transparent)]
    Deploy(#[from] Box<DeployFailure>),
}

fn known_processes(ids: &[String]) -> String {
    match ids {
        [] => "nothing has been deployed yet".to_owned(),
        ids => format!("known processes: {}", ids.join(", ")),
    }
}

fn known_ids(ids: &[String]) -> String {
    match ids {
        [] => "none has been deployed yet".to_owned(),
        ids => format!("known releases: {}", ids.join(", ")),
    }
}

/// A deploy that failed, with everything that helps to see why.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("{}", describe(self))]
pub struct DeployFailure {
    /// The release that was to be deployed.
    pub release_id: String,
    /// Whether it was a rollback.
    pub is_rollback: bool,
    /// The phase it failed in.
    pub phase: DeployPhase,
    /// What went wrong.
    pub failure: Failure,
    /// The release that serves now.
    pub active_release_id: Option<String>,
}

impl DeployFailure {
    /// Whether traffic had been switched to the release already.
    pub fn is_behind_the_switch(&self) -> bool {
        self.phase > DeployPhase::Switch
    }
}

fn describe(failed: &DeployFailure) -> String {
    let DeployFailure {
        release_id,
        is_rollback,
        phase,
        failure,
        active_release_id,
    } = failed;
    let phase = phase.as_str();
    if failed.is_behind_the_switch() {
        return format!("traffic is on {release_id}, but phase {phase} failed: {failure}");
    }
    let what = if *is_rollback { "rollback to" } else { "deploy of" };
    let serving = match active_release_id {
        Some(active) => format!("{active} keeps serving"),
        None => "no release is active".to_owned(),
    };
    format!("{what} {release_id} failed in phase {phase}, {serving}: {failure}")
}

impl EngineError {
    /// The code for programs.
    pub fn code(&self) -> ErrorCode {
        match self {
            EngineError::InvalidRequest(_) => ErrorCode::InvalidRequest,
            EngineError::ShuttingDown(_) | EngineError::Upgrading => ErrorCode::ShuttingDown,
            EngineError::Upgrade(_) | EngineError::KeeperStays(_) => ErrorCode::UpgradeFailed,
            EngineError::DeployInProgress { .. } => ErrorCode::DeployInProgress,
            EngineError::ReleaseNotFound { .. } => ErrorCode::ReleaseNotFound,
            EngineError::NeverActive { .. } => ErrorCode::ReleaseNotFound,
            EngineError::AlreadyActive { .. } => ErrorCode::AlreadyActive,
            EngineError::NoPreviousRelease => ErrorCode::NoPreviousRelease,
            EngineError::ProcessNotFound { .. } => ErrorCode::ProcessNotFound,
            EngineError::NoLogsOf { .. } => ErrorCode::ProcessNotFound,
            EngineError::ConnectionNotFound(_) => ErrorCode::InvalidRequest,
            EngineError::ProxiedNotRestartable => ErrorCode::ProxiedNotRestartable,
            EngineError::CannotLeave(_) => ErrorCode::UpgradeFailed,
            EngineError::Restart(error) => error.code(),
            EngineError::Deploy(failed) if failed.is_behind_the_switch() => ErrorCode::PostSwitchFailed,
            EngineError::Deploy(failed) => failed.failure.code(),
        }
    }
}
