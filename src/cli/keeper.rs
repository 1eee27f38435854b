//! `rollbridge daemon`, seen from outside: a keeper, which starts the engine.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use super::args::DaemonOptions;
use super::failure::Failure;
use crate::error::plain;
use crate::host::LogFile;
use crate::keeper::{EngineEnd, inherited_socket, keep_attached, keep_engine, left_by_the_program_before};

/// Runs until the engine has ended, and ends as it did.
pub(super) fn run(config: Option<&Path>, options: &DaemonOptions) -> ExitCode {
    let arguments = |socket: i32| {
        let socket = socket.to_string();
        let mut arguments: Vec<OsString> = ["engine", "--socket", &socket].map(OsString::from).to_vec();
        if let Some(config) = config {
            arguments.extend(["--config".into(), config.into()]);
        }
        arguments.extend(options.to_arguments());
        arguments
    };
    let log = options.log();
    let left = left_by_the_program_before();
    // Also what goes wrong from here on is for the log. A program that takes a keeper's place has the output of that one, and
    // must not end for a file that cannot be opened again.
    if left.is_none()
        && let Some(Err(error)) = log.as_ref().map(LogFile::take_output)
    {
        return Failure::internal(error.to_string()).tell(None);
    }
    let ended = keep_engine(arguments, log, left);
    if let Some(pid_file) = options.pid_file(std::process::id().cast_signed()) {
        // An engine that was killed has not done it.
        pid_file.remove();
    }
    match ended {
        Ok(EngineEnd::Exited(status)) => ExitCode::from(status),
        Ok(EngineEnd::Killed(signal)) => Failure::internal(format!(
            "the engine of the daemon was ended by signal {signal}, and its processes were stopped; start the daemon again"
        ))
        .tell(None),
        Err(error) => Failure::internal(format!("cannot start the engine of the daemon: {}", plain(&error))).tell(None),
    }
}

/// Keeps the processes of an engine that runs inside another program, until that is gone.
pub(super) fn run_attached(socket: i32) -> ExitCode {
    match inherited_socket(socket).and_then(keep_attached) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => Failure::internal(format!(
            "cannot keep processes: {}; this command is for the class Daemon of the Node package only",
            plain(&error)
        ))
        .tell(None),
    }
}
