//! The codes every error carries, and the one table that maps them to exit statuses.

use std::fmt;
use std::io;

/// What went wrong, as a stable word for programs: the `code` of a protocol error, of a JavaScript error, of `--json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The config was read and breaks rules.
    InvalidConfig,
    /// The config could not be read or evaluated.
    ConfigUnreadable,
    /// The config changed something that is not live.
    ReloadIncompatible,
    /// A control request with wrong or missing parameters.
    InvalidRequest,
    /// A control request for a command that does not exist.
    UnknownCommand,
    /// The release path is not a directory.
    ReleasePathMissing,
    /// No port of a range is free.
    PortExhausted,
    /// A process could not be started.
    SpawnFailed,
    /// A process ended while it was needed.
    ProcessExited,
    /// The web process did not answer its health check in time.
    HealthTimeout,
    /// Something failed after traffic had been switched.
    PostSwitchFailed,
    /// Another deploy or rollback is running.
    DeployInProgress,
    /// The deploy was cancelled.
    DeployCancelled,
    /// There is no release to go back to.
    NoPreviousRelease,
    /// No release with that id is known.
    ReleaseNotFound,
    /// The release is active already.
    AlreadyActive,
    /// No process with that id exists.
    ProcessNotFound,
    /// The proxied process is never restarted by itself.
    ProxiedNotRestartable,
    /// The running daemon could not be replaced.
    UpgradeFailed,
    /// The daemon is shutting down.
    ShuttingDown,
    /// No daemon answers on the control socket.
    NoDaemon,
    /// The connection broke before the answer came.
    ConnectionLost,
    /// Whoever answers on the control socket is not this application's daemon.
    ForeignDaemon,
    /// A defect or an unexpected fault of the operating system.
    Internal,
}

/// Every code with its wire name and exit status: 1 the operation failed, 3 no daemon, 4 the outcome is unknown.
/// (2, usage, belongs to the argument parser.)
const TABLE: [(ErrorCode, &str, u8); 24] = [
    (ErrorCode::InvalidConfig, "invalid_config", 1),
    (ErrorCode::ConfigUnreadable, "config_unreadable", 1),
    (ErrorCode::ReloadIncompatible, "reload_incompatible", 1),
    (ErrorCode::InvalidRequest, "invalid_request", 1),
    (ErrorCode::UnknownCommand, "unknown_command", 1),
    (ErrorCode::ReleasePathMissing, "release_path_missing", 1),
    (ErrorCode::PortExhausted, "port_exhausted", 1),
    (ErrorCode::SpawnFailed, "spawn_failed", 1),
    (ErrorCode::ProcessExited, "process_exited", 1),
    (ErrorCode::HealthTimeout, "health_timeout", 1),
    (ErrorCode::PostSwitchFailed, "post_switch_failed", 1),
    (ErrorCode::DeployInProgress, "deploy_in_progress", 1),
    (ErrorCode::DeployCancelled, "deploy_cancelled", 1),
    (ErrorCode::NoPreviousRelease, "no_previous_release", 1),
    (ErrorCode::ReleaseNotFound, "release_not_found", 1),
    (ErrorCode::AlreadyActive, "already_active", 1),
    (ErrorCode::ProcessNotFound, "process_not_found", 1),
    (ErrorCode::ProxiedNotRestartable, "proxied_not_restartable", 1),
    (ErrorCode::UpgradeFailed, "upgrade_failed", 1),
    (ErrorCode::ShuttingDown, "shutting_down", 1),
    (ErrorCode::NoDaemon, "no_daemon", 3),
    (ErrorCode::ConnectionLost, "connection_lost", 4),
    (ErrorCode::ForeignDaemon, "foreign_daemon", 1),
    (ErrorCode::Internal, "internal", 1),
];

impl ErrorCode {
    fn row(self) -> (ErrorCode, &'static str, u8) {
        TABLE
            .into_iter()
            .find(|row| row.0 == self)
            .expect("every code has a row in the table")
    }

    /// The wire name, in snake case.
    pub fn as_str(self) -> &'static str {
        self.row().1
    }

    /// The exit status of a command that ends with this error.
    pub fn exit_status(self) -> u8 {
        self.row().2
    }

    /// The code with this wire name.
    pub fn parse(name: &str) -> Option<ErrorCode> {
        TABLE.into_iter().find(|row| row.1 == name).map(|row| row.0)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// What the system said, without the number that means nothing to an operator: `No such file or directory`.
pub fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rfind(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_codes() {
        for (code, name, _) in TABLE {
            assert_eq!(ErrorCode::parse(name), Some(code));
            assert_eq!(code.as_str(), name);
        }
        assert_eq!(ErrorCode::parse("no_such_code"), None);
    }

    #[test]
    fn the_systems_words_come_without_its_number() {
        assert_eq!(
            plain(&io::Error::from_raw_os_error(2)),
            "No such file or directory"
        );
        assert_eq!(plain(&io::Error::other("plain already")), "plain already");
    }
}
