//! Why a release did not come up, with everything that helps to see why.

use thiserror::Error;

use super::health::HealthTimeout;
use super::ports::PortError;
use crate::error::ErrorCode;
use crate::host::Exit;
use crate::process::{LogLine, ManagedProcess, StartError};

/// How many of the failing process's last lines an error carries.
const LAST_LINES: usize = 20;

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum Cause {
    /// The config cannot be read, has issues, or changes what cannot be changed.
    #[error("{message}")]
    Config {
        /// Which of these.
        code: ErrorCode,
        /// The whole report.
        message: String,
    },
    /// The release path is not a directory we can enter.
    #[error("release path {path}: {reason}")]
    ReleasePath {
        /// The path as it was given.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A process got no port.
    #[error("{0}")]
    Port(String),
    /// The upstream host has no address.
    #[error("proxy.upstreamHost {host:?} has no address: {reason}")]
    UpstreamHost {
        /// The host.
        host: String,
        /// What the resolver said.
        reason: String,
    },
    /// A process could not be started.
    #[error(transparent)]
    Start(StartError),
    /// A process ended while it was needed.
    #[error("{process_id} {how} {when}{}", last_words(.last_line))]
    Exited {
        /// The process.
        process_id: String,
        /// How it ended.
        how: String,
        /// During what.
        when: &'static str,
        /// The last thing it said.
        last_line: Option<String>,
    },
    /// The web process was not healthy in time.
    #[error("{process_id} is not healthy: {timeout}{}", last_words(.last_line))]
    Unhealthy {
        /// The process.
        process_id: String,
        /// What was tried.
        timeout: HealthTimeout,
        /// The last thing it said.
        last_line: Option<String>,
    },
    /// The engine of the daemon ended in the middle of it.
    #[error(
        "the daemon's engine ended in the middle of it and was started again; what had been started was undone"
    )]
    Interrupted,
    /// Somebody cancelled the deploy.
    #[error("the deploy was cancelled by {0}")]
    Cancelled(String),
}

impl Cause {
    /// What is wrong with the config.
    pub fn config(code: ErrorCode, error: &dyn std::error::Error) -> Cause {
        Cause::Config {
            code,
            message: error.to_string(),
        }
    }
}

/// A cause with the evidence.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("{cause}")]
pub struct Failure {
    /// What went wrong.
    pub cause: Cause,
    /// The process it went wrong with.
    pub process_id: Option<String>,
    /// How that process ended, if it did.
    pub exit: Option<Exit>,
    /// Its last lines.
    pub logs: Vec<LogLine>,
}

impl Failure {
    /// The code of the error this leads to.
    pub fn code(&self) -> ErrorCode {
        match &self.cause {
            Cause::Config { code, .. } => *code,
            Cause::ReleasePath { .. } => ErrorCode::ReleasePathMissing,
            Cause::Port(_) => ErrorCode::PortExhausted,
            Cause::UpstreamHost { .. } => ErrorCode::InvalidConfig,
            Cause::Start(error) => error.code(),
            Cause::Exited { .. } => ErrorCode::ProcessExited,
            Cause::Unhealthy { .. } => ErrorCode::HealthTimeout,
            Cause::Interrupted => ErrorCode::Internal,
            Cause::Cancelled(_) => ErrorCode::DeployCancelled,
        }
    }

    /// A failure without a process.
    pub fn general(cause: Cause) -> Failure {
        Failure {
            cause,
            process_id: None,
            exit: None,
            logs: Vec::new(),
        }
    }

    /// `process` got no port.
    pub fn port(process_id: &str, error: &PortError) -> Failure {
        let process_id = Some(process_id.to_owned());
        Failure {
            cause: Cause::Port(error.to_string()),
            process_id,
            exit: None,
            logs: Vec::new(),
        }
    }

    /// `process` could not be started.
    pub fn start(process: &ManagedProcess, error: StartError) -> Failure {
        Failure::with_evidence(process, |_, _| Cause::Start(error))
    }

    /// `process` ended, `when`.
    pub fn exited(process: &ManagedProcess, when: &'static str) -> Failure {
        Failure::with_evidence(process, |exit, last_line| Cause::Exited {
            process_id: process.identity().id.clone(),
            how: exit.map_or_else(|| "ended".to_owned(), |exit| exit.to_string()),
            when,
            last_line,
        })
    }

    /// `process` was not healthy in time.
    pub fn unhealthy(process: &ManagedProcess, timeout: HealthTimeout) -> Failure {
        let process_id = process.identity().id.clone();
        Failure::with_evidence(process, |_, last_line| Cause::Unhealthy {
            process_id,
            timeout,
            last_line,
        })
    }

    fn with_evidence(
        process: &ManagedProcess,
        cause: impl FnOnce(Option<Exit>, Option<String>) -> Cause,
    ) -> Failure {
        let mut logs = process.logs();
        let exit = process.status().last_exit;
        let last_line = most_telling(logs.iter().map(|line| line.line.as_str())).map(str::to_owned);
        logs.drain(..logs.len().saturating_sub(LAST_LINES));
        Failure {
            cause: cause(exit, last_line),
            process_id: Some(process.identity().id.clone()),
            exit,
            logs,
        }
    }
}

/// The line of a process's output that tells most about why it ended: the last one, but of what Node prints when it dies of
/// an error the message, which stands above frames, fields of the error and a trailer.
fn most_telling<'a>(lines: impl DoubleEndedIterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let mut backwards = lines.rev().map(str::trim).filter(|line| !line.is_empty());
    let last = backwards.clone().next()?;
    let message = || backwards.clone().find(|line| is_message_of_an_error(line));
    match last.starts_with("Node.js v").then(message).flatten() {
        Some(message) => Some(message),
        None => backwards.find(|line| says_something(line)),
    }
}

/// `Error: …`, `TypeError: …`, `Error [ERR_CODE]: …`
fn is_message_of_an_error(line: &str) -> bool {
    let name = line.split([':', ' ']).next().unwrap_or_default();
    name.ends_with("Error") && line.contains(": ")
}

/// Neither a frame nor an end that Node prints after an error.
fn says_something(line: &str) -> bool {
    line != "}" && !line.starts_with("at ") && !line.starts_with("Node.js v")
}

fn last_words(line: &Option<String>) -> String {
    line.as_ref().map_or_else(
        || "; it wrote nothing".to_owned(),
        |line| format!("; last output: {line}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_of_an_error_tells_more_than_what_node_prints_behind_it() {
        let died = |report: &str| {
            format!("ready\n{report}\n    at main (/app/web.js:1:7)\n}}\n\nNode.js v20.20.2\n")
        };
        let missing = "Error: Cannot find module './x'\nRequire stack:\n- /app/web.js\n    at y {\n  code: 'Z',\n  requireStack: []";
        for (output, telling) in [
            (died(missing), Some("Error: Cannot find module './x'")),
            (
                died("TypeError [ERR_X]: no: way"),
                Some("TypeError [ERR_X]: no: way"),
            ),
            (died("thrown without a name"), Some("thrown without a name")),
            ("Error: tried again\nconnected\n".to_owned(), Some("connected")),
            ("\n \n".to_owned(), None),
        ] {
            assert_eq!(most_telling(output.lines()), telling, "{output}");
        }
    }
}
