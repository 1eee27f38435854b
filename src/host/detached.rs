//! A daemon of its own: in a session that no terminal reaches, with nothing of whoever started it but the environment.
#![allow(
    unsafe_code,
    reason = "what happens between fork and exec has no safe wrapper"
)]

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, setsid};

use super::Exit;

/// What a service manager means for the one process it has started itself.
const NOT_FOR_OTHERS: [&str; 6] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
];

/// How long one that is told to end may take before it is killed.
const GRACE: Duration = Duration::from_secs(15);

/// How often is looked whether it has.
const LOOK: Duration = Duration::from_millis(10);

/// A program that was started and is on its own.
#[derive(Debug)]
pub struct Detached(Child);

impl Detached {
    /// Starts `program` at the root of the file system, with its output going to `log`.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn start(program: &Path, arguments: &[OsString], log: File) -> io::Result<Detached> {
        let mut command = Command::new(program);
        command
            .args(arguments)
            // Where nothing is in the way of being deleted or unmounted.
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        for name in NOT_FOR_OTHERS {
            command.env_remove(name);
        }
        // SAFETY: one system call that is async-signal-safe and touches no memory.
        unsafe { command.pre_exec(|| setsid().map(drop).map_err(io::Error::from)) };
        command.spawn().map(Detached)
    }

    /// How it ended, if it has.
    pub fn end(&mut self) -> Option<Exit> {
        let status = self.0.try_wait().ok()??;
        Some(match (status.code(), status.signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, Some(signal)) => Exit::Signal(signal),
            (None, None) => Exit::Unknown,
        })
    }

    /// Ends it, and waits until it is gone.
    pub fn stop(mut self) {
        let Ok(pid) = i32::try_from(self.0.id()) else {
            return;
        };
        let deadline = Instant::now() + GRACE;
        if self.end().is_none() {
            // Its zombie is ours, so the signal reaches nobody else.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        while self.end().is_none() {
            if Instant::now() >= deadline {
                // Nothing is left to be said where even this is refused.
                let _ = self.0.kill();
                let _ = self.0.wait();
                return;
            }
            std::thread::sleep(LOOK);
        }
    }
}
