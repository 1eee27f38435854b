//! What a client can ask for: one line of JSON becomes one typed request, or an error that says what is wrong with it.

mod looking;

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::config::Policy;
use crate::daemon::{
    DeployRequest, RestartRequest, RetireRequest, RollbackRequest, UpgradeRequest, check_attestation,
};
use crate::error::ErrorCode;

pub use looking::{ConnectionsOptions, EventsOptions, LogsOptions};

/// A request from a client.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Deploy a release.
    Deploy(DeployOptions),
    /// Go back to an earlier release.
    Rollback(RollbackOptions),
    /// Restart processes in place.
    Restart(RestartRequest),
    /// How things stand.
    Status,
    /// Stop a release.
    Stop(StopOptions),
    /// The recent events, or all that follow.
    Events(EventsOptions),
    /// What processes wrote lately, or all that follows.
    Logs(LogsOptions),
    /// The open connections, or the end of one.
    Connections(ConnectionsOptions),
    /// Let another program take over.
    Upgrade(UpgradeOptions),
    /// Leave the place to another daemon.
    RetireOwner(RetireRequest),
    /// End the daemon.
    Shutdown,
}

/// Parameters of `deploy`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeployOptions {
    release_path: PathBuf,
    release_id: Option<String>,
    revision: Option<String>,
    #[serde(default)]
    wait: Option<bool>,
    #[serde(default)]
    wait_drained: Option<bool>,
    #[serde(default)]
    progress: Option<bool>,
}

impl DeployOptions {
    /// What the engine is asked to do.
    pub fn to_engine(&self) -> DeployRequest {
        DeployRequest {
            release_path: self.release_path.clone(),
            release_id: self.release_id.clone(),
            revision: self.revision.clone(),
            wait: self.wait.unwrap_or(false),
        }
    }

    /// Whether to answer only when the previous release is stopped.
    pub fn wait_drained(&self) -> bool {
        self.wait_drained.unwrap_or(false)
    }

    /// Whether to send progress lines.
    pub fn progress(&self) -> bool {
        self.progress.unwrap_or(false)
    }
}

/// Parameters of `rollback`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RollbackOptions {
    release_id: Option<String>,
    #[serde(default)]
    wait: Option<bool>,
    #[serde(default)]
    progress: Option<bool>,
}

impl RollbackOptions {
    /// What the engine is asked to do.
    pub fn to_engine(&self) -> RollbackRequest {
        RollbackRequest {
            release_id: self.release_id.clone(),
            wait: self.wait.unwrap_or(false),
        }
    }

    /// Whether to send progress lines.
    pub fn progress(&self) -> bool {
        self.progress.unwrap_or(false)
    }
}

/// Parameters of `restart`, as they come.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RestartOptions {
    process_id: Option<String>,
    policy: Option<String>,
}

impl RestartOptions {
    fn to_engine(&self) -> Result<RestartRequest, RequestError> {
        let policy = match self.policy.as_deref() {
            None => None,
            Some(word) => Some(Policy::parse(word).ok_or_else(|| {
                RequestError::Malformed(format!(
                    "policy must be companion, singleton or service (proxied is never restarted), not {word:?}"
                ))
            })?),
        };
        Ok(RestartRequest {
            process_id: self.process_id.clone(),
            policy,
        })
    }
}

/// Parameters of `stop`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StopOptions {
    /// Which release; the active one without it.
    pub release_id: Option<String>,
}

/// Parameters of `upgrade`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct UpgradeOptions {
    binary: Option<PathBuf>,
}

impl UpgradeOptions {
    /// What the engine is asked to do.
    pub fn to_engine(&self) -> UpgradeRequest {
        UpgradeRequest {
            binary: self.binary.clone(),
        }
    }
}

/// Parameters of `retire-owner`, as they come.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RetireOptions {
    attestation: String,
    successor: Option<i32>,
}

impl RetireOptions {
    fn to_engine(&self) -> Result<RetireRequest, RequestError> {
        let attestation = check_attestation(&self.attestation)
            .map_err(|reason| RequestError::Malformed(format!("attestation: {reason}")))?;
        Ok(RetireRequest {
            attestation,
            successor: self.successor,
        })
    }
}

/// Why a line is no request.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RequestError {
    /// Not a JSON object with a command.
    #[error("{0}")]
    Malformed(String),
    /// No such command.
    #[error("unknown command {0:?}; this daemon knows {known}", known = COMMANDS.join(", "))]
    UnknownCommand(String),
}

impl RequestError {
    /// The code for programs.
    pub fn code(&self) -> ErrorCode {
        match self {
            RequestError::Malformed(_) => ErrorCode::InvalidRequest,
            RequestError::UnknownCommand(_) => ErrorCode::UnknownCommand,
        }
    }
}

/// Every command, for messages.
const COMMANDS: [&str; 11] = [
    "deploy",
    "rollback",
    "status",
    "stop",
    "restart",
    "events",
    "logs",
    "connections",
    "upgrade",
    "retire-owner",
    "shutdown",
];

impl Request {
    /// The command's name.
    pub fn command(&self) -> &'static str {
        match self {
            Request::Deploy(_) => "deploy",
            Request::Rollback(_) => "rollback",
            Request::Restart(_) => "restart",
            Request::Status => "status",
            Request::Stop(_) => "stop",
            Request::Events(_) => "events",
            Request::Logs(_) => "logs",
            Request::Connections(_) => "connections",
            Request::Upgrade(_) => "upgrade",
            Request::RetireOwner(_) => "retire-owner",
            Request::Shutdown => "shutdown",
        }
    }

    /// Reads one line.
    pub fn parse(line: &[u8]) -> Result<Request, RequestError> {
        let malformed = |what: String| RequestError::Malformed(what);
        let value: Value = serde_json::from_slice(line)
            .map_err(|error| malformed(format!("a request is one JSON object on a line: {error}")))?;
        let Value::Object(mut parameters) = value else {
            return Err(malformed(format!(
                "a request is a JSON object, not {}",
                kind_of(&value)
            )));
        };
        match parameters.remove("command") {
            Some(Value::String(command)) => Request::of(&command, parameters),
            Some(other) => Err(malformed(format!(
                "command must be a string, not {}",
                kind_of(&other)
            ))),
            None => Err(malformed("a request needs a \"command\"".to_owned())),
        }
    }

    fn of(command: &str, parameters: Map<String, Value>) -> Result<Request, RequestError> {
        Ok(match command {
            "deploy" => Request::Deploy(read(command, parameters)?),
            "rollback" => Request::Rollback(read(command, parameters)?),
            "restart" => Request::Restart(read::<RestartOptions>(command, parameters)?.to_engine()?),
            "status" => Request::Status,
            "stop" => Request::Stop(read(command, parameters)?),
            "events" => Request::Events(read(command, parameters)?),
            "connections" => Request::Connections(read(command, parameters)?),
            "logs" => Request::Logs(read(command, parameters)?),
            "upgrade" => Request::Upgrade(read(command, parameters)?),
            "retire-owner" => Request::RetireOwner(read::<RetireOptions>(command, parameters)?.to_engine()?),
            "shutdown" => Request::Shutdown,
            unknown => return Err(RequestError::UnknownCommand(unknown.to_owned())),
        })
    }
}

/// Parameters this version does not know are passed over, so that a newer client can talk to an older daemon.
fn read<T: for<'de> Deserialize<'de>>(
    command: &str,
    parameters: Map<String, Value>,
) -> Result<T, RequestError> {
    T::deserialize(Value::Object(parameters))
        .map_err(|error| RequestError::Malformed(format!("wrong parameters of {command}: {error}")))
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_read() {
        for command in COMMANDS {
            let line = format!(
                r#"{{"command":"{command}","releasePath":"/srv/app","unknown":1,"releaseId":null,"attestation":"sha256:{:064}"}}"#,
                0
            );
            assert_eq!(
                Request::parse(line.as_bytes()).expect("a request").command(),
                command
            );
        }
    }

    #[test]
    fn nonsense_is_answered_with_what_is_wrong() {
        let table = [
            ("", "one JSON object on a line"),
            ("{", "one JSON object on a line"),
            ("[]", "not a list"),
            ("null", "not null"),
            ("{}", "needs a \"command\""),
            (r#"{"command":5}"#, "not a number"),
            (r#"{"command":"deploy"}"#, "releasePath"),
            (
                r#"{"command":"deploy","releasePath":7}"#,
                "wrong parameters of deploy",
            ),
            (r#"{"command":"stop","releaseId":[]}"#, "wrong parameters of stop"),
            (r#"{"command":"restart","policy":"web"}"#, "policy must be"),
            (r#"{"command":"events","limit":-1}"#, "wrong parameters of events"),
            (
                r#"{"command":"logs","since":"now"}"#,
                "since must be a number, or an object",
            ),
            (r#"{"command":"dance"}"#, "unknown command \"dance\""),
            ("\u{0}", "one JSON object on a line"),
        ];
        for (line, expected) in table {
            let error = Request::parse(line.as_bytes()).expect_err(line).to_string();
            assert!(error.contains(expected), "{line}: {error}");
        }
        assert!(Request::parse(b"\xff\xfe").is_err());
    }
}
