//! Why a command failed, in words and as an exit status.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::args::Json;
use super::style::{Paint, Tone};
use super::{next_step, output};
use crate::config::ConfigError;
use crate::control::client::{ClientError, Line};
use crate::control::socket::SocketError;
use crate::daemon::ResumeError;
use crate::error::ErrorCode;

/// A command that failed.
#[derive(Debug)]
pub(super) struct Failure {
    code: ErrorCode,
    message: String,
    /// The failing process and its last lines.
    output: Option<(String, Vec<String>)>,
    /// What to do about it, where the message does not say so.
    next_step: Option<String>,
}

impl Failure {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Failure {
        Failure {
            code,
            message: message.into(),
            output: None,
            next_step: None,
        }
    }

    pub fn internal(message: String) -> Failure {
        Failure::new(ErrorCode::Internal, message)
    }

    /// The code for programs.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// What went wrong, for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Adds what else the operator should know.
    pub fn with_hint(mut self, hint: &str) -> Failure {
        self.message = format!("{}\n{hint}", self.message);
        self
    }

    /// Says something else to do about it.
    pub fn with_next_step(mut self, next_step: &str) -> Failure {
        self.next_step = Some(next_step.to_owned());
        self
    }

    /// The daemon's error line.
    pub fn from_daemon(line: &Line) -> Failure {
        let text = |field: &str| line.get(field).and_then(Value::as_str).map(str::to_owned);
        let lines = line
            .get("logs")
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let lines: Vec<String> = lines
            .iter()
            .filter_map(|line| line.get("line")?.as_str().map(str::to_owned))
            .collect();
        let code = text("code")
            .and_then(|code| ErrorCode::parse(&code))
            .unwrap_or(ErrorCode::Internal);
        Failure {
            code,
            next_step: next_step::after(code, line),
            message: text("error").unwrap_or_else(|| "the daemon gave no reason".to_owned()),
            output: text("processId")
                .filter(|_| !lines.is_empty())
                .map(|process| (process, lines)),
        }
    }

    /// Says it on stderr (and as JSON on stdout, where the result was wanted so), and turns it into the exit status.
    pub fn tell(self, json: Option<Json>) -> ExitCode {
        let error = json!({ "error": self.message, "code": self.code.as_str() });
        // That stdout takes nothing is what this failure may be about; stderr says it below.
        let _ = match json {
            Some(Json::Lines) => output::print(&error.to_string()),
            Some(Json::Indented) => output::print_json(&error),
            None => Ok(()),
        };
        if let Some((process, lines)) = &self.output {
            output::tell(&format!("last output of {process}:"));
            lines.iter().for_each(|line| output::tell(&format!("  {line}")));
        }
        let paint = Paint::of_stderr();
        let name = paint.apply(Tone::Bad, "rollbridge:");
        output::tell(&format!("{name} {}", self.message));
        if let Some(next_step) = &self.next_step {
            output::tell(&format!("next: {next_step}"));
        }
        ExitCode::from(self.code.exit_status())
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        Failure::new(error.code(), error.to_string())
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        Failure::new(error.code(), error.to_string())
    }
}

impl From<SocketError> for Failure {
    fn from(error: SocketError) -> Failure {
        Failure::internal(error.to_string())
    }
}

impl From<ResumeError> for Failure {
    fn from(error: ResumeError) -> Failure {
        Failure::internal(error.to_string())
    }
}
