//! The keeper's loop: one thread that waits for its engine, its children and their output, and for nothing else.

#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use super::child::Kept;
use super::holdings::Holdings;
use super::link::Broken;
use super::message::{Past, ToEngine, ToKeeper, VERSION};
use super::succession::Succession;
use crate::host::{Stream, kin};

/// How often the ends of children are looked for where the system has nothing to wait for.
const LOOK: Duration = Duration::from_millis(20);

/// An engine that takes nothing in for so long is stuck.
const STUCK: Duration = Duration::from_secs(2);

/// When nothing has happened for so long, nothing happens.
const QUIET: Duration = Duration::from_secs(1);

/// How long processes may take to end after SIGTERM when nobody is left to say how each is to be stopped.
const GRACE: Duration = Duration::from_secs(10);

/// How long the system may take to end what it was told to kill; in a long uninterruptible wait it takes longer.
const LONGEST_KILL: Duration = Duration::from_secs(10);

/// Where the engines come from, and what else the loop is woken for.
pub(super) trait Attendance {
    /// What to wait for besides the engine and the children.
    fn descriptor(&self) -> Option<BorrowedFd<'_>>;

    /// It became readable. `known` are the leaders that the keeper reaps by itself.
    fn attend(&mut self, known: &[i32]);

    /// The engine serves.
    fn engine_is_ready(&mut self) {}

    /// The engine has something to say to whoever started this daemon.
    fn notify(&mut self, _state: &str) {}

    /// Nothing has happened for a while.
    fn rest(&mut self) {}

    /// The engine went away: says what comes now.
    fn engine_is_gone(&mut self, how: Departure, known: &[i32]) -> Next;

    /// Starts the next engine: its socket, and what became of those before.
    fn start_engine(&mut self) -> io::Result<(UnixStream, Past)>;

    /// The system refused an engine: says what comes now.
    fn engine_is_refused(&mut self, error: io::Error) -> Next;

    /// Starts an engine of another program, which may become the successor of the one that serves.
    fn start_successor(&mut self, program: OwnedFd) -> io::Result<UnixStream> {
        drop(program);
        Err(io::Error::other(
            "this daemon runs inside another program; upgrade that one and start it again",
        ))
    }

    /// Ends what could have become the successor, and says how it went away if it did so by itself.
    fn end_successor(&mut self) -> String {
        String::new()
    }

    /// The engine retires: from now on its successor is the engine, if there is one. What it is told of the past.
    fn engine_retires(&mut self) -> Past {
        Past::default()
    }

    /// The engine takes too long to take over: it is to end.
    fn end_engine(&mut self) {}

    /// Has the keeper go on as the program of the engine. Returns only if that is not possible, with the reason.
    fn replace(&mut self, holdings: &Holdings) -> String {
        let _ = holdings;
        String::new()
    }
}

/// How an engine went away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Departure {
    /// It had never served.
    BeforeReady,
    /// In the middle of its work.
    Unexpected,
    /// It had said farewell.
    Farewell,
}

/// What follows when an engine has gone away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Stop whatever is left, and end.
    End,
    /// Another engine at this moment.
    EngineAt(Instant),
}

/// The keeper of an engine after another.
#[derive(Debug)]
pub(super) struct Keeper {
    holdings: Holdings,
    /// How the engine of the moment would be leaving, should it leave now.
    departure: Departure,
    /// When the next engine is started, while there is none.
    due: Instant,
    /// Since when the engine takes nothing in.
    stuck_since: Option<Instant>,
    /// Nothing has happened since it was said that nothing happens.
    rests: bool,
    /// An engine of another program that may take over, or is just doing so.
    succession: Succession,
}

/// What has become ready.
#[derive(Clone, Copy)]
enum Ready {
    Attendance,
    Ending(usize),
    Output(usize, Stream),
}

impl Keeper {
    pub fn new() -> Keeper {
        Keeper {
            holdings: Holdings::default(),
            departure: Departure::BeforeReady,
            due: Instant::now(),
            stuck_since: None,
            rests: false,
            succession: Succession::default(),
        }
    }

    /// A keeper that goes on with what another program has held, and with an engine that serves.
    pub fn resume(mut holdings: Holdings) -> Keeper {
        holdings.tell(&ToEngine::KeeperReplaced { failure: None });
        Keeper {
            holdings,
            departure: Departure::Unexpected,
            ..Keeper::new()
        }
    }

    /// Holds a listener that was there before any engine.
    pub fn hold(&mut self, name: String, listener: OwnedFd) {
        self.holdings.hold(name, listener);
    }

    /// Serves engines until one of them ends for good, then stops whatever it has left running.
    pub fn run(mut self, attendance: &mut impl Attendance) {
        loop {
            let went_on = match self.holdings.link {
                None if Instant::now() >= self.due => self.start_engine(attendance),
                None => Ok(()),
                Some(_) => self.serve_engine(attendance),
            };
            match went_on {
                Ok(()) => {}
                Err(Next::End) => break,
                Err(Next::EngineAt(due)) => {
                    self.due = due;
                    continue;
                }
            }
            self.heed_a_stuck_engine();
            self.succession.go_on(&mut self.holdings, attendance);
            let ready = self.wait(attendance);
            if ready.is_none() && !self.rests {
                attendance.rest();
            }
            self.rests = ready.is_none();
            for ready in ready.into_iter().flatten() {
                match ready {
                    Ready::Attendance => attendance.attend(&self.leaders()),
                    Ready::Ending(at) => self.holdings.of(at, Kept::look),
                    Ready::Output(at, stream) => self.holdings.of(at, |child, tell| {
                        child.read(stream, tell);
                    }),
                }
            }
        }
        self.stop_everything();
    }

    fn start_engine(&mut self, attendance: &mut impl Attendance) -> Result<(), Next> {
        self.departure = Departure::BeforeReady;
        let (socket, past) = attendance
            .start_engine()
            .map_err(|error| attendance.engine_is_refused(error))?;
        self.holdings.connect(socket, past).map_err(|_| {
            // It ended before it had heard anything.
            attendance.engine_is_gone(self.departure, &self.leaders())
        })
    }

    fn serve_engine(&mut self, attendance: &mut impl Attendance) -> Result<(), Next> {
        if self.exchange(attendance).is_ok() {
            return Ok(());
        }
        self.holdings.link = None;
        self.succession.forget(attendance);
        Err(attendance.engine_is_gone(self.departure, &self.leaders()))
    }

    /// An engine that is only slow is waited for, in the pipes; one that is stuck must not keep its processes from going on.
    fn heed_a_stuck_engine(&mut self) {
        let has_room = self.holdings.link.as_ref().is_none_or(|link| link.has_room());
        match (has_room, self.stuck_since) {
            (true, _) => {
                self.stuck_since = None;
                self.holdings.catch_up();
            }
            (false, None) => self.stuck_since = Some(Instant::now()),
            (false, Some(since)) if since.elapsed() >= STUCK => self.holdings.lag(),
            (false, Some(_)) => {}
        }
    }

    fn is_waited_for(&self) -> bool {
        self.stuck_since.is_some_and(|since| since.elapsed() < STUCK)
    }

    fn leaders(&self) -> Vec<i32> {
        let children = &self.holdings.children;
        children.iter().map(|child| child.kinship.leader).collect()
    }

    /// Waits until something is ready, and says what; none if nothing has happened for a while.
    fn wait(&self, attendance: &impl Attendance) -> Option<Vec<Ready>> {
        let mut asked = Vec::new();
        let mut meanings = Vec::new();
        let mut timeout;
        let has_room = !self.is_waited_for();
        match &self.holdings.link {
            Some(link) => {
                let flags = match link.has_unsent() {
                    false => PollFlags::POLLIN,
                    true => PollFlags::POLLIN | PollFlags::POLLOUT,
                };
                asked.push(PollFd::new(link.descriptor(), flags));
                // What makes it ready is done in the next round.
                meanings.push(None);
                // The pipe holds what is not read, as if nobody were there.
                timeout = self.stuck_since.filter(|_| !has_room).map(|_| STUCK);
            }
            None => timeout = Some(self.due.saturating_duration_since(Instant::now())),
        }
        if let Some((descriptor, flags)) = self.succession.descriptor() {
            asked.push(PollFd::new(descriptor, flags));
            meanings.push(None);
        }
        if let Some(due) = self.succession.due() {
            let left = due.saturating_duration_since(Instant::now());
            timeout = Some(timeout.map_or(left, |timeout| timeout.min(left)));
        }
        if let Some(descriptor) = attendance.descriptor() {
            asked.push(PollFd::new(descriptor, PollFlags::POLLIN));
            meanings.push(Some(Ready::Attendance));
        }
        if !self.rests {
            timeout = Some(timeout.map_or(QUIET, |timeout| timeout.min(QUIET)));
        }
        let children = &self.holdings.children;
        for (at, child) in children.iter().enumerate() {
            if child.must_be_looked_at() {
                timeout = Some(timeout.map_or(LOOK, |timeout| timeout.min(LOOK)));
            }
            if let Some(descriptor) = child.ending() {
                asked.push(PollFd::new(descriptor, PollFlags::POLLIN));
                meanings.push(Some(Ready::Ending(at)));
            }
            for (stream, pipe) in child.pipes().filter(|_| has_room) {
                asked.push(PollFd::new(pipe, PollFlags::POLLIN));
                meanings.push(Some(Ready::Output(at, stream)));
            }
        }
        match poll(&mut asked, poll_timeout(timeout)) {
            Ok(0) if timeout.is_some_and(|timeout| timeout >= QUIET) => return None,
            Ok(_) => {}
            Err(Errno::EINTR) => return Some(Vec::new()),
            // Out of memory for the moment; the next try may do better, but not at once.
            Err(_) => std::thread::sleep(LOOK),
        }
        let is_ready = |descriptor: &PollFd<'_>| descriptor.any().unwrap_or(false);
        let ready = asked.iter().zip(meanings);
        let mut ready: Vec<Ready> = ready
            .filter(|(descriptor, _)| is_ready(descriptor))
            .filter_map(|(_, meaning)| meaning)
            .collect();
        let unwatched = (0..children.len()).filter(|at| children[*at].must_be_looked_at());
        ready.extend(unwatched.map(Ready::Ending));
        Some(ready)
    }

    /// Reads what the engine asks, does it, and sends what can be sent. What came before the engine's end is done too.
    fn exchange(&mut self, attendance: &mut impl Attendance) -> Result<(), Broken> {
        let Some(link) = &mut self.holdings.link else {
            return Err(Broken);
        };
        let received = link.receive();
        while let Some(message) = self.next_message()? {
            if matches!(message, ToKeeper::Retire {}) {
                // Whatever it may still say: from here on the successor has the word.
                return self.retire(attendance);
            }
            self.obey(message, attendance)?;
        }
        received?;
        self.holdings
            .link
            .as_mut()
            .map_or(Err(Broken), |link| link.send())
    }

    fn next_message(&mut self) -> Result<Option<ToKeeper>, Broken> {
        self.holdings.link.as_mut().map_or(Ok(None), |link| link.next())
    }

    fn obey(&mut self, message: ToKeeper, attendance: &mut impl Attendance) -> Result<(), Broken> {
        match message {
            ToKeeper::Hello { version } if version != VERSION => return Err(Broken),
            ToKeeper::Hello { .. } => {}
            ToKeeper::Spawn {
                request,
                spec,
                log,
                most_lines,
                role,
            } => self.holdings.spawn(request, &spec, log, most_lines, role),
            ToKeeper::Forget { child } => self.holdings.forget(child),
            ToKeeper::CloseLog { log } => self.holdings.close_log(log),
            ToKeeper::Note { notes } => self.holdings.note(notes),
            ToKeeper::Hold { name } => {
                let link = self.holdings.link.as_mut();
                if let Some(listener) = link.and_then(|link| link.next_descriptor()) {
                    self.holdings.hold(name, listener);
                }
            }
            ToKeeper::Notify { state } => attendance.notify(&state),
            ToKeeper::Ready {} => {
                self.departure = Departure::Unexpected;
                attendance.engine_is_ready();
                if self.succession.has_taken_over() {
                    let failure = Some(attendance.replace(&self.holdings));
                    self.holdings.tell(&ToEngine::KeeperReplaced { failure });
                }
            }
            ToKeeper::Farewell {} => self.departure = Departure::Farewell,
            ToKeeper::Upgrade {} => {
                let link = self.holdings.link.as_mut();
                if let Some(program) = link.and_then(|link| link.next_descriptor()) {
                    self.succession.begin(program, &mut self.holdings, attendance);
                }
            }
            ToKeeper::LetGo { name } => self.holdings.let_go(&name),
            // Said by one that is no successor, or handled before.
            ToKeeper::Prepared { .. } | ToKeeper::Unfit { .. } | ToKeeper::Retire {} => {}
        }
        Ok(())
    }

    /// The engine has let go of everything; its successor is told all there is, and is the engine from now on.
    fn retire(&mut self, attendance: &mut impl Attendance) -> Result<(), Broken> {
        let handover = self
            .holdings
            .link
            .as_mut()
            .and_then(|link| link.next_descriptor());
        if let Some(socket) = handover {
            self.holdings.hold_handover(socket);
        }
        self.holdings.link = None;
        self.departure = Departure::BeforeReady;
        let past = attendance.engine_retires();
        let link = self.succession.take_over();
        link.map_or(Err(Broken), |link| {
            self.holdings.tell_all(link, past).map_err(|_| Broken)
        })
    }

    /// Nobody is left who knows what the processes are for: they are stopped rather than left behind.
    fn stop_everything(mut self) {
        self.signal_all(Signal::SIGTERM);
        if !self.are_gone_within(GRACE, None) {
            self.are_gone_within(LONGEST_KILL, Some(Signal::SIGKILL));
        }
        let children = std::mem::take(&mut self.holdings.children);
        children.into_iter().for_each(|child| child.forget(&mut |_| ()));
    }

    fn signal_all(&self, signal: Signal) {
        for child in &self.holdings.children {
            // A member that cannot be signalled is not ours any more, and nobody is left to be told.
            let _ = kin::signal(&child.kinship, signal);
        }
    }

    fn are_gone_within(&mut self, limit: Duration, again: Option<Signal>) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(signal) = again {
                self.signal_all(signal);
            }
            // Whoever says goodbye must not hang in a pipe that nobody reads.
            for child in &mut self.holdings.children {
                child.empty(&mut |_| ());
            }
            let is_gone = |child: &Kept| kin::members(&child.kinship).is_empty();
            if self.holdings.children.iter().all(is_gone) {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(LOOK);
        }
    }
}

/// Rounded up, so that the moment has come when the wait ends.
fn poll_timeout(timeout: Option<Duration>) -> PollTimeout {
    let Some(timeout) = timeout else {
        return PollTimeout::NONE;
    };
    let milliseconds = timeout.as_micros().div_ceil(1000);
    PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX)
}
