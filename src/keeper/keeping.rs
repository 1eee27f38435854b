//! The keeper's loop: one thread that waits for its engine, its children and their output, and for nothing else.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use super::child::Kept;
use super::message::{Inbox, Malformed, Refusal, ToEngine, ToKeeper, VERSION, append};
use crate::host::{SpawnSpec, Stream, kin, launch};

/// While more than this waits to be sent, no output is read: its pipe holds it, as if nobody were there.
const MOST_UNSENT_BYTES: usize = 256 * 1024;

/// How often the ends of children are looked for where the system has nothing to wait for.
const LOOK_MS: u16 = 20;

/// How long processes may take to end after SIGTERM when nobody is left to say how each is to be stopped.
const GRACE: Duration = Duration::from_secs(10);

/// How long the system may take to end what it was told to kill; in a long uninterruptible wait it takes longer.
const LONGEST_KILL: Duration = Duration::from_secs(10);

/// Wakes the loop for something besides its engine and its children.
pub(super) trait Attendance {
    /// What to wait for.
    fn descriptor(&self) -> Option<BorrowedFd<'_>>;

    /// It became readable. `known` are the leaders that the keeper reaps by itself.
    fn attend(&mut self, known: &[i32]);
}

/// The keeper of one engine.
#[derive(Debug)]
pub(super) struct Keeper {
    engine: UnixStream,
    inbox: Inbox,
    unsent: Vec<u8>,
    sent: usize,
    children: Vec<Kept>,
    next_id: u64,
}

/// What has become ready.
#[derive(Clone, Copy)]
enum Ready {
    Attendance,
    Ending(usize),
    Output(usize, Stream),
}

impl Keeper {
    pub fn new(engine: UnixStream) -> io::Result<Keeper> {
        engine.set_nonblocking(true)?;
        let mut keeper = Keeper {
            engine,
            inbox: Inbox::default(),
            unsent: Vec::new(),
            sent: 0,
            children: Vec::new(),
            next_id: 0,
        };
        append(&ToEngine::Hello { version: VERSION }, &mut keeper.unsent);
        Ok(keeper)
    }

    /// Serves the engine until it goes away, then stops whatever it has left running.
    pub fn run(mut self, attendance: &mut impl Attendance) {
        while self.exchange() {
            for ready in self.wait(attendance) {
                match ready {
                    Ready::Attendance => attendance.attend(&self.leaders()),
                    Ready::Ending(at) => self.of(at, |child, tell| child.look(tell)),
                    Ready::Output(at, stream) => self.of(at, |child, tell| {
                        child.read(stream, tell);
                    }),
                }
            }
        }
        self.stop_everything();
    }

    fn leaders(&self) -> Vec<i32> {
        self.children.iter().map(|child| child.kinship.leader).collect()
    }

    fn of(&mut self, at: usize, act: impl FnOnce(&mut Kept, &mut dyn FnMut(&ToEngine))) {
        let unsent = &mut self.unsent;
        act(&mut self.children[at], &mut |message| append(message, unsent));
    }

    /// Waits until something is ready, and says what.
    fn wait(&self, attendance: &impl Attendance) -> Vec<Ready> {
        let mut asked = vec![PollFd::new(self.engine.as_fd(), self.engine_flags())];
        let mut meanings = Vec::new();
        if let Some(descriptor) = attendance.descriptor() {
            asked.push(PollFd::new(descriptor, PollFlags::POLLIN));
            meanings.push(Ready::Attendance);
        }
        let has_room = self.unsent.len() - self.sent < MOST_UNSENT_BYTES;
        let mut looks = false;
        for (at, child) in self.children.iter().enumerate() {
            looks |= child.must_be_looked_at();
            if let Some(descriptor) = child.ending() {
                asked.push(PollFd::new(descriptor, PollFlags::POLLIN));
                meanings.push(Ready::Ending(at));
            }
            for (stream, pipe) in child.pipes().filter(|_| has_room) {
                asked.push(PollFd::new(pipe, PollFlags::POLLIN));
                meanings.push(Ready::Output(at, stream));
            }
        }
        let timeout = match looks {
            true => PollTimeout::from(LOOK_MS),
            false => PollTimeout::NONE,
        };
        match poll(&mut asked, timeout) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Vec::new(),
            // Out of memory for the moment; the next try may do better, but not at once.
            Err(_) => std::thread::sleep(Duration::from_millis(LOOK_MS.into())),
        }
        let is_ready = |descriptor: &PollFd<'_>| descriptor.any().unwrap_or(false);
        let ready = asked[1..].iter().zip(meanings);
        let mut ready: Vec<Ready> = ready
            .filter(|(descriptor, _)| is_ready(descriptor))
            .map(|(_, meaning)| meaning)
            .collect();
        let unwatched = (0..self.children.len()).filter(|at| self.children[*at].must_be_looked_at());
        ready.extend(unwatched.map(Ready::Ending));
        ready
    }

    fn engine_flags(&self) -> PollFlags {
        match self.unsent.is_empty() {
            true => PollFlags::POLLIN,
            false => PollFlags::POLLIN | PollFlags::POLLOUT,
        }
    }

    /// Reads what the engine asks, does it, and sends what can be sent. False once the engine is gone.
    fn exchange(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.engine.read(&mut buffer) {
                Ok(0) => return false,
                Ok(count) => self.inbox.push(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        while let Some(message) = self.inbox.take() {
            match message {
                Ok(message) => {
                    if !self.obey(message) {
                        return false;
                    }
                }
                // An engine that talks nonsense once may still be right the next time; one that has lost its way may not.
                Err(Malformed::Unknown(_)) => {}
                Err(Malformed::TooLong(_)) => return false,
            }
        }
        self.send()
    }

    fn send(&mut self) -> bool {
        while self.sent < self.unsent.len() {
            match self.engine.write(&self.unsent[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
        }
        self.unsent.clear();
        // One burst must not cost its memory for ever.
        self.unsent.shrink_to(MOST_UNSENT_BYTES);
        self.sent = 0;
        true
    }

    fn obey(&mut self, message: ToKeeper) -> bool {
        match message {
            ToKeeper::Hello { version } => return version == VERSION,
            ToKeeper::Spawn { request, spec } => self.spawn(request, spec.into()),
            ToKeeper::Forget { child } => {
                let found = self.children.iter().position(|kept| kept.id == child);
                if let Some(at) = found {
                    let unsent = &mut self.unsent;
                    let kept = self.children.swap_remove(at);
                    kept.forget(&mut |message| append(message, unsent));
                }
            }
        }
        true
    }

    fn spawn(&mut self, request: u64, spec: SpawnSpec) {
        let answer = match launch(&spec) {
            Ok(launched) => {
                let (child, pid) = (self.next_id, launched.pid);
                self.next_id += 1;
                self.children.push(Kept::new(child, launched, spec.token));
                ToEngine::Spawned { request, child, pid }
            }
            Err(error) => ToEngine::SpawnFailed {
                request,
                reason: Refusal::from(&error),
            },
        };
        append(&answer, &mut self.unsent);
    }

    /// Nobody is left who knows what the processes are for: they are stopped rather than left behind.
    fn stop_everything(mut self) {
        self.signal_all(Signal::SIGTERM);
        if !self.are_gone_within(GRACE, None) {
            self.are_gone_within(LONGEST_KILL, Some(Signal::SIGKILL));
        }
        self.children
            .drain(..)
            .for_each(|child| child.forget(&mut |_| ()));
    }

    fn signal_all(&self, signal: Signal) {
        for child in &self.children {
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
            for child in &mut self.children {
                child.empty(&mut |_| ());
            }
            let is_gone = |child: &Kept| kin::members(&child.kinship).is_empty();
            if self.children.iter().all(is_gone) {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(LOOK_MS.into()));
        }
    }
}
