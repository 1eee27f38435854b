//! The process around the keeper's loop: its engines, its signals, and the children of its children.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::socket::{UnixAddr, getsockname};

use super::descriptors::inherited;
use super::holdings::Holdings;
use super::keeping::{Attendance, Departure, Keeper, Next};
use super::message::{Past, Upgrade};
use super::patience::Patience;
use super::replacement::{Around, Written, replace_this_program};
use super::running::{RunningEngine, last_words};
use super::service_manager::{ServiceManager, take_passed_sockets};
use crate::error::plain;
use crate::host::platform::{Signals, adopt_orphans, let_go_of_code, name_process, own_program, path_of};
use crate::host::{Exit, LogFile, kin};

/// The ends of children, and what the keeper passes on to its engine, which knows what it means.
const CAUGHT: [Signal; 4] = [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];

/// How long an engine that has closed its socket may take to end.
const LAST_MOMENTS: Duration = Duration::from_secs(5);

/// How long what could have become the engine may take to end by itself.
const LAST_BREATH: Duration = Duration::from_millis(200);

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
/// With what a program before this one has `left`, it goes on with the engine of that one. This thread must be the only
/// one of the process.
///
/// With a `log`, its output and that of every engine goes there, also after SIGHUP when that has been renamed.
pub fn keep_engine(
    arguments: impl Fn(RawFd) -> Vec<OsString>,
    log: Option<LogFile>,
    left: Option<io::Result<File>>,
) -> io::Result<EngineEnd> {
    let passed = take_passed_sockets()?;
    // Of a program that was started by a descriptor this would be the name.
    name_process(c"rollbridge");
    // Caught before the engine is there, so that no signal is lost between the two.
    let signals = Signals::catch(&CAUGHT)?;
    let mask = signals.mask_before();
    adopt_orphans()?;
    let mut process = Process {
        arguments,
        log,
        hung_up: false,
        manager: ServiceManager::of_this_process(),
        mask,
        engine: None,
        is_first: true,
        serves: false,
        successor: None,
        promoted: None,
        signals,
        past: Past::default(),
        patience: Patience::default(),
        gone_at: None,
        ending: None,
        was_to_end: false,
        end: None,
        refused: None,
    };
    let mut keeper = match left {
        None => Keeper::new(),
        Some(file) => process.go_on(Written::read(file?)?)?,
    };
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
    let descriptor = inherited(descriptor)?;
    // Whatever else it is, it is not the way to a keeper.
    getsockname::<UnixAddr>(descriptor.as_raw_fd())?;
    Ok(UnixStream::from(descriptor))
}

/// An engine of another program, beside the one that serves.
struct Successor {
    engine: RunningEngine,
    program: OwnedFd,
}

/// A successor that has become the engine, and does not serve yet.
struct Promoted {
    program: OwnedFd,
    /// What it had written to standard error.
    words: Option<File>,
    /// It has been ended for it did not come to serve.
    was_too_slow: bool,
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
    engine: Option<RunningEngine>,
    /// No engine has come to serve yet.
    is_first: bool,
    /// The engine has come to serve.
    serves: bool,
    successor: Option<Successor>,
    promoted: Option<Promoted>,
    signals: Signals,
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
    fn signal_engine(&self, signal: Signal) {
        if let Some(engine) = &self.engine {
            engine.signal(signal);
        }
    }

    /// Waits until the engine has ended; one that has only lost its way is not left behind.
    fn reap_engine(&mut self, known: &[i32]) -> Exit {
        let deadline = Instant::now() + LAST_MOMENTS;
        loop {
            let Some(engine) = &self.engine else {
                return Exit::Unknown;
            };
            if let Some(exit) = engine.reap() {
                self.engine = None;
                return exit;
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
        // A successor has the file of before, and does not hear this yet.
        self.hung_up = !self.serves || self.successor.is_some();
        self.signal_engine(Signal::SIGHUP);
    }

    /// Reaps the processes that were left to the keeper because their own parents had ended, and engines that have
    /// retired. Those it knows are reaped when they are forgotten.
    fn reap_strays(&self, known: &[i32]) {
        let engines = [
            self.engine.as_ref(),
            self.successor.as_ref().map(|successor| &successor.engine),
        ];
        let mut known = known.to_vec();
        known.extend(engines.into_iter().flatten().map(RunningEngine::pid));
        kin::reap_strays(&known);
    }

    /// What a program that takes this one's place must know of this process.
    fn around(&self) -> Around {
        let signals = Signal::iterator().filter(|signal| self.mask.contains(*signal));
        Around {
            engine: self.engine.as_ref().map_or(0, RunningEngine::pid),
            blocked: signals.map(|signal| signal as i32).collect(),
            ending: self.ending.map(|signal| signal as i32),
            past: self.past.clone(),
        }
    }

    /// Goes on where the program before has stopped.
    fn go_on(&mut self, written: Written) -> io::Result<Keeper> {
        let Around {
            engine,
            blocked,
            ending,
            past,
        } = written.around.clone();
        let holdings = written.take()?;
        let signal = |number: i32| Signal::try_from(number).ok();
        self.mask = blocked.into_iter().filter_map(signal).collect();
        self.ending = ending.and_then(signal);
        self.past = past;
        self.is_first = false;
        self.engine = Some(RunningEngine::with_pid(engine));
        self.engine_is_ready();
        let leaders: Vec<i32> = holdings
            .children
            .iter()
            .map(|child| child.kinship.leader)
            .collect();
        // Those that ended while one program made way for the other.
        self.reap_strays(&leaders);
        Ok(Keeper::resume(holdings))
    }
}

impl<A: Fn(RawFd) -> Vec<OsString>> Attendance for Process<A> {
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.signals.as_fd())
    }

    fn attend(&mut self, known: &[i32]) {
        while let Some(signal) = self.signals.take() {
            match signal {
                Signal::SIGCHLD => self.reap_strays(known),
                Signal::SIGHUP => self.hang_up(),
                signal => {
                    self.ending = Some(signal);
                    // One that takes another's place would die of it before it could act on it.
                    if self.serves || self.is_first {
                        self.signal_engine(signal);
                    }
                }
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
        if let Some(signal) = self.ending.filter(|_| !self.is_first) {
            self.signal_engine(signal);
        }
        self.is_first = false;
    }

    fn notify(&mut self, state: &str) {
        if let Some(manager) = &self.manager {
            manager.tell(state);
        }
    }

    fn rest(&mut self) {
        let_go_of_code();
    }

    fn engine_is_gone(&mut self, how: Departure, known: &[i32]) -> Next {
        let now = Instant::now();
        self.serves = false;
        if let Some(mut promoted) = self.promoted.take() {
            let exit = self.reap_engine(known);
            let words = promoted.words.as_mut().map(last_words).unwrap_or_default();
            self.past.upgrade = Some(Upgrade::Failed(match promoted.was_too_slow {
                true => "it took over and did not come to serve in time".to_owned(),
                false => how_it_ended(exit, &words),
            }));
            self.gone_at.get_or_insert(now);
            return Next::EngineAt(now);
        }
        let exit = self.reap_engine(known);
        let wanted = how == Departure::Farewell || (how == Departure::BeforeReady && self.is_first);
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
        let arguments = (self.arguments)(theirs.as_raw_fd());
        let engine = RunningEngine::start(own_program()?.as_os_str(), arguments, &theirs, self.mask, false)?;
        self.engine = Some(engine);
        self.was_to_end = self.ending.is_some();
        let absent = self.gone_at.take().map_or(Duration::ZERO, |at| at.elapsed());
        self.past.absent_ms = u64::try_from(absent.as_millis()).unwrap_or(u64::MAX);
        let told = self.past.clone();
        self.past.upgrade = None;
        Ok((ours, told))
    }

    fn engine_is_refused(&mut self, error: io::Error) -> Next {
        if !self.is_first {
            return Next::EngineAt(Instant::now() + NEXT_TRY);
        }
        self.refused = Some(error);
        Next::End
    }

    fn start_successor(&mut self, program: OwnedFd) -> io::Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        let arguments = (self.arguments)(theirs.as_raw_fd());
        // By its descriptor, so that what is tried and what takes over are the same, whatever becomes of the file.
        let path = path_of(&program)?;
        let engine = RunningEngine::start(path.as_os_str(), arguments, &theirs, self.mask, true)?;
        self.successor = Some(Successor { engine, program });
        Ok(ours)
    }

    fn end_successor(&mut self) -> String {
        let Some(Successor { mut engine, .. }) = self.successor.take() else {
            return String::new();
        };
        let begun = Instant::now();
        loop {
            if let Some(exit) = engine.reap() {
                return how_it_ended(exit, &engine.last_words());
            }
            // It has closed its socket, or is not wanted: it is given a moment to say how it ends.
            if begun.elapsed() >= LAST_BREATH {
                engine.signal(Signal::SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn engine_retires(&mut self) -> Past {
        self.serves = false;
        self.gone_at = Some(Instant::now());
        match self.successor.take() {
            Some(Successor { mut engine, program }) => {
                let words = engine.is_engine_now();
                // The one before ends by itself, and is reaped as a stray.
                self.engine = Some(engine);
                self.promoted = Some(Promoted {
                    program,
                    words,
                    was_too_slow: false,
                });
                self.gone_at = None;
                Past {
                    upgrade: Some(Upgrade::Succeeded),
                    ..self.past.clone()
                }
            }
            None => {
                self.engine = None;
                self.promoted = None;
                self.past.upgrade = Some(Upgrade::Failed(
                    "it ended just before it was to take over".to_owned(),
                ));
                self.past.clone()
            }
        }
    }

    fn end_engine(&mut self) {
        if let Some(promoted) = &mut self.promoted {
            promoted.was_too_slow = true;
        }
        self.signal_engine(Signal::SIGKILL);
    }

    fn replace(&mut self, holdings: &Holdings) -> String {
        let Some(Promoted { program, .. }) = self.promoted.take() else {
            return String::new();
        };
        plain(&replace_this_program(
            &program,
            &Written::of(holdings, self.around()),
        ))
    }
}

fn how_it_ended(exit: Exit, words: &str) -> String {
    let end = match exit {
        Exit::Code(code) => format!("it ended with exit status {code} before it was ready"),
        Exit::Signal(signal) => format!("it was ended by signal {signal} before it was ready"),
        Exit::Unknown => "it ended before it was ready".to_owned(),
    };
    match words {
        "" => end,
        words => format!("{end}; it said: {words}"),
    }
}
