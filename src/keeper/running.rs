//! One engine as a process: started, signalled, reaped.
#![allow(
    unsafe_code,
    reason = "what happens between fork and exec has no safe wrapper"
)]

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{SigHandler, SigSet, Signal, kill, signal};
use nix::unistd::Pid;

use crate::host::platform::memory_file;
use crate::host::{Exit, kin};

/// How much of its last words is told.
const LAST_WORDS_BYTES: u64 = 2000;

/// An engine that was started and is not reaped yet.
#[derive(Debug)]
pub(super) struct RunningEngine {
    pid: i32,
    /// Where it writes its errors, while it is only a successor that may be.
    words: Option<File>,
}

impl RunningEngine {
    /// One that was started before this program took the keeper's place.
    pub fn with_pid(pid: i32) -> RunningEngine {
        RunningEngine { pid, words: None }
    }

    /// Starts `program` with its socket to the keeper. What it writes to standard error is kept apart if `is_tried`.
    pub fn start(
        program: &OsStr,
        arguments: Vec<OsString>,
        socket: &UnixStream,
        mask: SigSet,
        is_tried: bool,
    ) -> io::Result<RunningEngine> {
        let number = socket.as_raw_fd();
        let mut command = Command::new(program);
        command.arg0("rollbridge").args(arguments);
        let words = match is_tried {
            true => Some(memory_file(c"rollbridge-errors")?),
            false => None,
        };
        if let Some(words) = &words {
            command.stderr(words.try_clone()?);
        }
        let prepare = move || {
            mask.thread_set_mask()?;
            // Until it can act on it; it would die of it by default.
            // SAFETY: no handler is installed, and the call is async-signal-safe.
            unsafe { signal(Signal::SIGHUP, SigHandler::SigIgn) }?;
            // SAFETY: the socket is open until the parent returns from spawning, and so it is in this copy of it.
            let socket = unsafe { BorrowedFd::borrow_raw(number) };
            fcntl(socket, FcntlArg::F_SETFD(FdFlag::empty()))?;
            Ok(())
        };
        // SAFETY: `prepare` only makes async-signal-safe system calls and allocates nothing.
        unsafe { command.pre_exec(prepare) };
        // Dropping the handle of the standard library neither ends nor reaps it; both are ours to do.
        let pid = command.spawn()?.id().cast_signed();
        Ok(RunningEngine { pid, words })
    }

    pub fn pid(&self) -> i32 {
        self.pid
    }

    pub fn signal(&self, signal: Signal) {
        // It may have ended a moment ago; its zombie is ours, so the signal reaches nobody else.
        let _ = kill(Pid::from_raw(self.pid), signal);
    }

    /// How it ended, if it has; it is reaped then.
    pub fn reap(&self) -> Option<Exit> {
        let exit = kin::exit_of(self.pid)?;
        kin::reap(self.pid);
        Some(exit)
    }

    /// From now on it is the engine, which writes its errors where the keeper does.
    pub fn is_engine_now(&mut self) -> Option<File> {
        self.words.take()
    }

    /// What it wrote last to standard error, while that was kept apart.
    pub fn last_words(&mut self) -> String {
        self.words.as_mut().map(last_words).unwrap_or_default()
    }
}

/// The end of what is in there, as one line.
pub(super) fn last_words(file: &mut File) -> String {
    let mut bytes = Vec::new();
    let read = file.metadata().and_then(|found| {
        file.seek(SeekFrom::Start(found.len().saturating_sub(LAST_WORDS_BYTES)))?;
        file.read_to_end(&mut bytes)
    });
    match read {
        Ok(_) => {
            let text = String::from_utf8_lossy(&bytes);
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            lines.collect::<Vec<_>>().join(" | ")
        }
        // What cannot be read is not told.
        Err(_) => String::new(),
    }
}
