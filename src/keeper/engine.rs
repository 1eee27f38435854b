//! The process around the keeper's loop: its engine, its signals, and the children of its children.
#![allow(
    unsafe_code,
    reason = "what happens between fork and exec has no safe wrapper"
)]

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{UnixAddr, getsockname};
use nix::unistd::Pid;

use super::keeping::{Attendance, Keeper};
use crate::host::kin;

/// What the keeper passes on to its engine, which knows what they mean.
const PASSED_ON: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];

/// How an engine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineEnd {
    /// By itself, with this exit status.
    Exited(u8),
    /// By this signal; whatever it had left running has been stopped.
    Killed(i32),
}

/// Keeps an engine until it ends: this program again, with the arguments that `arguments` makes of the descriptor of its
/// socket. This thread must be the only one of the process.
pub fn keep_engine(arguments: impl FnOnce(RawFd) -> Vec<OsString>) -> io::Result<EngineEnd> {
    // Blocked before the engine is there, so that no signal is lost between the two.
    let mut signals = SigSet::empty();
    PASSED_ON.into_iter().for_each(|signal| signals.add(signal));
    signals.add(Signal::SIGCHLD);
    let before = SigSet::thread_get_mask()?;
    signals.thread_block()?;
    let descriptor = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    nix::sys::prctl::set_child_subreaper(true)?;
    let (ours, theirs) = UnixStream::pair()?;
    let keeper = Keeper::new(ours)?;
    let engine = start_engine(theirs, before, arguments)?;
    let mut process = Process {
        engine,
        signals: descriptor,
    };
    keeper.run(&mut process);
    // It closed its socket, so it is ending; one that has only lost its way is not left behind.
    process.end_engine()
}

/// The engine's end of the socket to its keeper, by the number it was told. To be taken before anything else is opened.
pub fn inherited_socket(descriptor: RawFd) -> io::Result<UnixStream> {
    // SAFETY: only borrowed to be looked at; a number that is not open makes the call fail.
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor.max(0)) };
    getsockname::<UnixAddr>(borrowed.as_raw_fd())?;
    fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    // SAFETY: it is a socket that was open before this program began, so nobody in it has it yet.
    Ok(unsafe { UnixStream::from_raw_fd(descriptor) })
}

fn start_engine(
    socket: UnixStream,
    mask: SigSet,
    arguments: impl FnOnce(RawFd) -> Vec<OsString>,
) -> io::Result<Child> {
    let number = socket.as_raw_fd();
    let mut command = Command::new("/proc/self/exe");
    command.arg0("rollbridge").args(arguments(number));
    let prepare = move || {
        mask.thread_set_mask()?;
        // SAFETY: the socket is open until the parent returns from spawning, and so it is in this copy of it.
        let socket = unsafe { BorrowedFd::borrow_raw(number) };
        fcntl(socket, FcntlArg::F_SETFD(FdFlag::empty()))?;
        Ok(())
    };
    // SAFETY: `prepare` only makes async-signal-safe system calls and allocates nothing.
    unsafe { command.pre_exec(prepare) };
    command.spawn()
}

/// The keeper as a process.
struct Process {
    engine: Child,
    signals: SignalFd,
}

impl Process {
    fn engine_pid(&self) -> i32 {
        i32::try_from(self.engine.id()).expect("a pid fits its own type")
    }

    fn end_engine(mut self) -> io::Result<EngineEnd> {
        let status = loop {
            if let Some(status) = self.engine.try_wait()? {
                break status;
            }
            self.attend(&[]);
            std::thread::sleep(std::time::Duration::from_millis(5));
        };
        Ok(match (status.code(), status.signal()) {
            (Some(code), _) => EngineEnd::Exited(u8::try_from(code).unwrap_or(1)),
            (None, signal) => EngineEnd::Killed(signal.unwrap_or_default()),
        })
    }

    /// Reaps the processes that were left to the keeper because their own parents had ended. Those it knows are reaped
    /// when they are forgotten.
    fn reap_strays(&self, known: &[i32]) {
        let own = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
        let children = own.split_ascii_whitespace().filter_map(|pid| pid.parse().ok());
        for pid in children.filter(|pid| *pid != self.engine_pid() && !known.contains(pid)) {
            kin::reap(pid);
        }
    }
}

impl Attendance for Process {
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.signals.as_fd())
    }

    fn attend(&mut self, known: &[i32]) {
        while let Ok(Some(arrived)) = self.signals.read_signal() {
            let number = i32::try_from(arrived.ssi_signo).unwrap_or_default();
            match Signal::try_from(number) {
                Ok(Signal::SIGCHLD) => self.reap_strays(known),
                // It may have ended a moment ago; its zombie is ours, so the signal reaches nobody else.
                Ok(signal) => drop(kill(Pid::from_raw(self.engine_pid()), signal)),
                Err(_) => {}
            }
        }
    }
}
