//! The operating system's side of processes: starting, signalling, and knowing which of them are left.
//!
//! This room never decides anything: it restarts nothing and stops nothing by itself.

mod census;
mod detached;
mod estate;
mod identity;
pub mod kin;
mod launch;
pub mod legacy;
mod members;
mod orphan;
mod output;
mod own_file;
pub mod platform;
mod private_folder;
mod runtime_copy;

use std::ffi::OsString;
use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::pin::Pin;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::mpsc;

use crate::config::os_text;
use crate::error::plain;

pub use census::{Census, Depth, Resident, Usage};
pub use detached::Detached;
pub use estate::{Estate, Heir, Unreadable, note_of};
pub use identity::ProcessIdentity;
pub use launch::{Launched, launch};
pub use members::Kinship;
pub use orphan::Orphan;
pub use output::{CUT_MARK, LONGEST_LINE_BYTES, Log, LogLine, Ring, Writer};
pub use own_file::{LogFile, OwnFileError, PidFile};
pub use platform::{Listener, is_held, listeners, listens};
pub use runtime_copy::{RUNTIME_FORMAT, RuntimeCopy, RuntimeError, runtime_folders};

/// What to start: `/bin/sh -c <command>` in a session and process group of its own.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct SpawnSpec {
    /// The shell command.
    pub command: String,
    /// The working directory.
    #[serde(with = "os_text")]
    pub cwd: PathBuf,
    /// The whole environment; nothing else is inherited.
    #[serde(with = "os_text::pairs")]
    pub env: Vec<(OsString, OsString)>,
    /// The value of `ROLLBRIDGE_INSTANCE` in `env`: by it members are known that left the session.
    pub token: String,
}

impl fmt::Debug for SpawnSpec {
    /// Leaves the environment out: it holds secrets.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SpawnSpec")
            .field("command", &self.command)
            .field("cwd", &self.cwd)
            .finish()
    }
}

/// Names a started child towards its host, for as long as the host has not been told to forget it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChildId(pub u64);

/// A started child: the leader of a new session and process group.
#[derive(Debug)]
pub struct Child {
    /// Its name towards the host.
    pub id: ChildId,
    /// The leader's process id, which is the group's and the session's id too.
    pub pid: i32,
    /// The leader's exit, told once all that the leader wrote is in the log. The channel ends when nobody is left who
    /// could write.
    pub exit: mpsc::Receiver<Exit>,
}

/// What a child is to its managed process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// The process itself.
    Main,
    /// Its `quietCommand`.
    QuietHook,
    /// Its `drainCommand`.
    DrainHook,
    /// Its `stopCommand`.
    StopHook,
}

/// Something the next engine must know: a text under a key, or that there is none any more.
pub type Note = (String, Option<String>);

/// One of a child's two output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// `stdout` or `stderr`.
    pub fn as_str(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// The keeper went away, and with it the answer.
    Unknown,
}

impl Exit {
    /// The exit code, unless a signal ended it.
    pub fn code(self) -> Option<i32> {
        match self {
            Exit::Code(code) => Some(code),
            Exit::Signal(_) | Exit::Unknown => None,
        }
    }

    /// The name of the signal that ended it, such as `SIGKILL`.
    pub fn signal_name(self) -> Option<String> {
        match self {
            Exit::Code(_) | Exit::Unknown => None,
            Exit::Signal(number) => Some(match Signal::try_from(number) {
                Ok(signal) => signal.as_str().to_owned(),
                Err(_) => match platform::real_time(number) {
                    Some(0) => "SIGRTMIN".to_owned(),
                    Some(above) => format!("SIGRTMIN+{above}"),
                    None => format!("SIG{number}"),
                },
            }),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(formatter, "exited with code {code}"),
            Exit::Unknown => formatter.write_str("ended in a way nobody knows"),
            Exit::Signal(_) => {
                write!(
                    formatter,
                    "was ended by {}",
                    self.signal_name().as_deref().unwrap_or("a signal")
                )
            }
        }
    }
}

/// A live process that belongs to a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its process id.
    pub pid: i32,
    /// When it was started, on Linux in clock ticks since boot: pid and start time together name one process for good.
    pub start_ticks: u64,
}

/// Why nothing was started.
#[derive(Debug, Error)]
pub enum SpawnError {
    /// The working directory is missing, not a directory, or closed to us.
    #[error("working directory {}: {}", .path.display(), plain(.source))]
    Cwd {
        /// The directory.
        path: PathBuf,
        /// What the system said of it.
        source: io::Error,
    },
    /// The keeper is gone, and nobody else starts processes.
    #[error("the keeper process is gone; start the daemon again")]
    KeeperGone,
    /// The shell could not be started.
    #[error("cannot start /bin/sh: {}", reason(.0))]
    Shell(#[source] io::Error),
}

/// What the system said when it started nothing, in words an operator can act on.
fn reason(error: &io::Error) -> String {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EMFILE) => {
            "the daemon has as many files open as it may; raise its limit (ulimit -n, LimitNOFILE)".to_owned()
        }
        Some(Errno::ENFILE) => "the system has as many files open as it may (fs.file-max)".to_owned(),
        Some(Errno::EAGAIN) => {
            "as many processes run as may; raise the limit (ulimit -u, LimitNPROC, TasksMax)".to_owned()
        }
        _ => plain(error),
    }
}

/// A signal that did not arrive.
#[derive(Debug, Error)]
#[error("cannot send {signal} to process {pid}: {}", plain(.source))]
pub struct SignalError {
    /// The signal.
    pub signal: Signal,
    /// The process it was meant for.
    pub pid: i32,
    /// What the system said.
    pub source: io::Error,
}

/// A boxed future, so that [`ProcessHost`] can stand behind a pointer.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Starts and signals managed processes. The only way from the rest of the daemon to a process.
pub trait ProcessHost: fmt::Debug + Send + Sync {
    /// A log for a managed process, under a name no other has.
    fn open_log(&self, most_lines: usize) -> Log;

    /// The log of a process that an earlier engine had, with what it holds.
    fn reopen_log(&self, id: u64, most_lines: usize) -> Log;

    /// Ends a log: its process is over for good.
    fn close_log(&self, log: &Log);

    /// Starts a child, whose output goes to `log`.
    fn spawn(&self, spec: SpawnSpec, log: Log, role: Role) -> BoxFuture<'_, Result<Child, SpawnError>>;

    /// Leaves word for the next engine, should this one end at any moment. What is asked of the host afterwards happens
    /// only if the notes have been taken.
    fn note(&self, notes: Vec<Note>);

    /// Waits until all notes so far are safe from the end of this engine.
    fn settled(&self) -> BoxFuture<'static, ()>;

    /// Has an engine of another program stand ready beside this one, to take over once this one retires: its version, or
    /// why there is none.
    fn prepare_successor(&self, program: OwnedFd) -> BoxFuture<'static, Result<String, String>> {
        drop(program);
        Box::pin(async { Err("this engine cannot be replaced while it runs".to_owned()) })
    }

    /// Waits until it is known whether whoever holds the processes is of the same program as this engine, after it has
    /// taken over from another one; why not, if so.
    fn replaced(&self) -> BoxFuture<'static, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }

    /// Says whether this process is an engine that has retired: no stray.
    fn know_retired(&self, pid: i32, is_one: bool) {
        let _ = (pid, is_one);
    }

    /// Says that what is held for this engine under `name` is done with.
    fn let_go(&self, name: String) {
        drop(name);
    }

    /// Sends a signal to every live member of the child, and has those that are halted (SIGSTOP) go on, since they
    /// could not act on it otherwise. No member left is no error.
    fn signal(&self, child: ChildId, signal: Signal) -> Result<(), SignalError>;

    /// The child's live members: its group, its session, and whatever carries its token. Zombies do not count.
    fn members(&self, child: ChildId) -> Vec<Member>;

    /// Live processes that children left behind, and that show by nothing whose they were.
    fn strays(&self) -> Vec<Member>;

    /// Signals one of them.
    fn signal_stray(&self, stray: Member, signal: Signal);

    /// The memory its live members hold. The question is put by this very call; questions put at about the same time
    /// are answered from one look at the system, so that hundreds of them cost hardly more than one.
    fn usage(&self, child: ChildId, depth: Depth) -> BoxFuture<'static, Usage>;

    /// Ends the child's story once no member is left: its leader is reaped and its id is free for others.
    fn forget(&self, child: ChildId);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_was_hit_is_named() {
        for (errno, words) in [
            (
                Errno::EMFILE,
                "the daemon has as many files open as it may; raise its limit (ulimit -n, LimitNOFILE)",
            ),
            (
                Errno::ENFILE,
                "the system has as many files open as it may (fs.file-max)",
            ),
            (
                Errno::EAGAIN,
                "as many processes run as may; raise the limit (ulimit -u, LimitNPROC, TasksMax)",
            ),
            (Errno::ENOENT, "No such file or directory"),
        ] {
            let error = SpawnError::Shell(errno.into());
            assert_eq!(error.to_string(), format!("cannot start /bin/sh: {words}"));
        }
    }
}
