//! The process around the keeper's loop: its engines, its signals, and the children of its children.
#![allow(
    unsafe_code,
    reason = "what happens between fork and exec has no safe wrapper"
)]

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{SigHandler, SigSet, Signal, kill, signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{UnixAddr, getsockname};
use nix::unistd::Pid;

use super::keeping::{Attendance, Departure, Keeper, Next};
use super::message::Past;
use super::patience::Patience;
use super::service_manager::{ServiceManager, take_passed_sockets};
use super::thrift;
use crate::host::{Exit, LogFile, kin};

/// What the keeper passes on to its engine, which knows what they mean.
const PASSED_ON: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];

/// How long an engine that has closed its socket may take to end.
const LAST_MOMENTS: Duration = Duration::from_secs(5);

/// When it is tried again, where the system refuses a process or a socket for another engine.
const NEXT_TRY: Duration = Duration::from_secs(1);

/// How an engine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineEnd {
    /// By itself, with this exit status.
    Exited(u8),
    /// By this signal; whatever it had left running has been stopped.
    Killed(i32),
}

/// Keeps an engine, and another one when that dies, until one has said farewell: this program again, with the arguments
/// that `arguments` makes of the descriptor of its socket. The first must come to serve, or its end is the end of all.
/// This thread must be the only one of the process.
///
/// With a `log`, its output and that of every engine goes there, also after SIGHUP when that has been renamed.
pub fn keep_engine(
    arguments: impl Fn(RawFd) -> Vec<OsString>,
    log: Option<LogFile>,
) -> io::Result<EngineEnd> {
    let passed = take_passed_sockets()?;
    // Blocked before the engine is there, so that no signal is lost between the two.
    let mut signals = SigSet::empty();
    PASSED_ON.into_iter().for_each(|signal| signals.add(signal));
    signals.add(Signal::SIGCHLD);
    let mask = SigSet::thread_get_mask()?;
    signals.thread_block()?;
    // Whoever started it with SIGHUP ignored, as nohup does, meant a terminal that goes away; an ignored signal would never
    // arrive here.
    // SAFETY: the default is no handler, and the signal is blocked.
    unsafe { signal(Signal::SIGHUP, SigHandler::SigDfl) }?;
    let descriptor = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    nix::sys::prctl::set_child_subreaper(true)?;
    let mut process = Process {
        arguments,
        log,
        hung_up: false,
        manager: ServiceManager::of_this_process(),
        mask,
        engine: None,
        serves: false,
        signals: descriptor,
        past: Past::default(),
        patience: Patience::default(),
        gone_at: None,
        ending: None,
        was_to_end: false,
        end: None,
        refused: None,
    };
    let mut keeper = Keeper::new();
    for (name, socket) in passed {
        keeper.hold(name, socket);
    }
    keeper.run(&mut process);
    match process.refused {
        Some(error) => Err(error),
        None => Ok(process.end.unwrap_or(EngineEnd::Exited(1))),
    }
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

/// The keeper as a process.
struct Process<A> {
    arguments: A,
    /// Where the output goes, if that is a file of the daemon's own.
    log: Option<LogFile>,
    /// SIGHUP came when the engine may not have been able to act on it yet.
    hung_up: bool,
    /// Who has started this process and wants to hear of it.
    manager: Option<ServiceManager>,
    /// What an engine finds blocked: as little as the keeper itself did.
    mask: SigSet,
    engine: Option<Child>,
    /// That engine has come to serve.
    serves: bool,
    signals: SignalFd,
    past: Past,
    patience: Patience,
    /// When the last engine went away.
    gone_at: Option<Instant>,
    /// Somebody wants the daemon to end, with this signal.
    ending: Option<Signal>,
    /// That was so already when the engine was started.
    was_to_end: bool,
    /// How the last engine ended, once no other follows.
    end: Option<EngineEnd>,
    /// Why the very first engine could not be started.
    refused: Option<io::Error>,
}

impl<A: Fn(RawFd) -> Vec<OsString>> Process<A> {
    fn engine_pid(&self) -> Option<i32> {
        self.engine
            .as_ref()
            .and_then(|engine| i32::try_from(engine.id()).ok())
    }

    fn signal_engine(&self, signal: Signal) {
        if let Some(pid) = self.engine_pid() {
            // It may have ended a moment ago; its zombie is ours, so the signal reaches nobody else.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    fn run_engine(&mut self, socket: &UnixStream) -> io::Result<Child> {
        let number = socket.as_raw_fd();
        // Also where the file was replaced or deleted: this leads to the program that runs.
        let mut command = Command::new("/proc/self/exe");
        command.arg0("rollbridge").args((self.arguments)(number));
        let mask = self.mask;
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
        command.spawn()
    }

    /// Waits until the engine has ended; one that has only lost its way is not left behind.
    fn reap_engine(&mut self, known: &[i32]) -> Option<ExitStatus> {
        let deadline = Instant::now() + LAST_MOMENTS;
        loop {
            let engine = self.engine.as_mut()?;
            match engine.try_wait() {
                Ok(Some(status)) => {
                    self.engine = None;
                    return Some(status);
                }
                Ok(None) => {}
                Err(_) => {
                    self.engine = None;
                    return None;
                }
            }
            if Instant::now() >= deadline {
                self.signal_engine(Signal::SIGKILL);
            }
            self.attend(known);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Keeper and engine have a log of their own each, as far as the system is concerned: either opens it anew.
    fn hang_up(&mut self) {
        if let Some(log) = &self.log {
            // The engine finds the same, and tells of it.
            let _ = log.take_output();
        }
        self.hung_up = !self.serves;
        self.signal_engine(Signal::SIGHUP);
    }

    /// Reaps the processes that were left to the keeper because their own parents had ended. Those it knows are reaped
    /// when they are forgotten.
    fn reap_strays(&self, known: &[i32]) {
        let mut known = known.to_vec();
        known.extend(self.engine_pid());
        kin::reap_strays(&known);
    }
}

impl<A: Fn(RawFd) -> Vec<OsString>> Attendance for Process<A> {
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.signals.as_fd())
    }

    fn attend(&mut self, known: &[i32]) {
        while let Ok(Some(arrived)) = self.signals.read_signal() {
            let number = i32::try_from(arrived.ssi_signo).unwrap_or_default();
            match Signal::try_from(number) {
                Ok(Signal::SIGCHLD) => self.reap_strays(known),
                Ok(Signal::SIGHUP) => self.hang_up(),
                Ok(signal) => {
                    self.ending = Some(signal);
                    // One that takes another's place would die of it before it could act on it.
                    if self.serves || self.past.ends == 0 {
                        self.signal_engine(signal);
                    }
                }
                Err(_) => {}
            }
        }
    }

    fn engine_is_ready(&mut self) {
        self.patience.ready(Instant::now());
        self.serves = true;
        // To one that knows another process by its pid file, or by a launcher, too.
        let own = std::process::id();
        self.notify(&format!("READY=1\nMAINPID={own}"));
        if std::mem::take(&mut self.hung_up) {
            self.signal_engine(Signal::SIGHUP);
        }
        // It may have come before this engine, or to an earlier one that did not live to act on it.
        if let Some(signal) = self.ending.filter(|_| self.past.ends > 0) {
            self.signal_engine(signal);
        }
    }

    fn notify(&mut self, state: &str) {
        if let Some(manager) = &self.manager {
            manager.tell(state);
        }
    }

    fn rest(&mut self) {
        thrift::let_go_of_code();
    }

    fn engine_is_gone(&mut self, how: Departure, known: &[i32]) -> Next {
        let now = Instant::now();
        self.serves = false;
        let status = self.reap_engine(known);
        let exit = status.map_or(Exit::Unknown, |status| match (status.code(), status.signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, Some(signal)) => Exit::Signal(signal),
            (None, None) => Exit::Unknown,
        });
        let is_first = self.past.ends == 0;
        let wanted = how == Departure::Farewell || (how == Departure::BeforeReady && is_first);
        // Who was asked to end and finds no engine that can is not kept waiting for ever.
        let given_up = how == Departure::BeforeReady && self.was_to_end;
        if wanted || given_up {
            self.end = Some(match exit {
                Exit::Code(code) => EngineEnd::Exited(u8::try_from(code).unwrap_or(1)),
                Exit::Signal(signal) => EngineEnd::Killed(signal),
                Exit::Unknown => EngineEnd::Exited(1),
            });
            return Next::End;
        }
        self.notify("STATUS=the engine has ended unexpectedly; another one takes its place");
        let pause = self.patience.gone(now);
        self.past.ends += 1;
        self.past.last = Some(exit);
        self.past.short_lived = self.patience.short_lived();
        self.gone_at.get_or_insert(now);
        Next::EngineAt(now + pause)
    }

    fn start_engine(&mut self) -> io::Result<(UnixStream, Past)> {
        let (ours, theirs) = UnixStream::pair()?;
        // It begins with the file that the keeper has now.
        self.hung_up = false;
        self.engine = Some(self.run_engine(&theirs)?);
        self.was_to_end = self.ending.is_some();
        let absent = self.gone_at.take().map_or(Duration::ZERO, |at| at.elapsed());
        self.past.absent_ms = u64::try_from(absent.as_millis()).unwrap_or(u64::MAX);
        Ok((ours, self.past))
    }

    fn engine_is_refused(&mut self, error: io::Error) -> Next {
        if self.past.ends > 0 {
            return Next::EngineAt(Instant::now() + NEXT_TRY);
        }
        self.refused = Some(error);
        Next::End
    }
}
