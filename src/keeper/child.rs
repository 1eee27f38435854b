//! One child of the keeper: its pipes, and whether its leader has ended.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::message::{Ending, ToEngine};
use crate::clock::Timestamp;
use crate::host::{Exit, Kinship, Launched, Stream, Writer, ends_readable, kin};

/// How much is read from a pipe at once: what a pipe holds by default.
const CHUNK_BYTES: usize = 64 * 1024;

/// How many chunks are read on after the leader's end: a grandchild that goes on writing must not hold up the news.
const LAST_CHUNKS: usize = 16;

/// A process that was started, until it is forgotten.
#[derive(Debug)]
pub(super) struct Kept {
    /// Its name towards the engine.
    pub id: u64,
    /// What its members are known by.
    pub kinship: Kinship,
    writer: Writer,
    stdout: Option<File>,
    stderr: Option<File>,
    /// Readable once the leader has ended; none where the system has nothing of the kind.
    ending: Option<OwnedFd>,
    ended: bool,
    /// The engine knows that nobody is left who could write.
    silent: bool,
}

impl Kept {
    /// Takes over what was just started.
    pub fn new(id: u64, launched: Launched, token: String) -> Kept {
        Kept {
            id,
            kinship: Kinship {
                leader: launched.pid,
                token,
            },
            writer: Writer::default(),
            stdout: without_blocking(launched.stdout),
            stderr: without_blocking(launched.stderr),
            ending: ends_readable(launched.pid).ok(),
            ended: false,
            silent: false,
        }
    }

    /// What to wait for, besides output.
    pub fn ending(&self) -> Option<BorrowedFd<'_>> {
        self.ending.as_ref().filter(|_| !self.ended).map(AsFd::as_fd)
    }

    /// Whether its end must be looked for, since there is nothing to wait for.
    pub fn must_be_looked_at(&self) -> bool {
        self.ending.is_none() && !self.ended
    }

    /// The pipes that may still bring something.
    pub fn pipes(&self) -> impl Iterator<Item = (Stream, BorrowedFd<'_>)> {
        let stdout = self.stdout.as_ref().map(|pipe| (Stream::Stdout, pipe.as_fd()));
        let stderr = self.stderr.as_ref().map(|pipe| (Stream::Stderr, pipe.as_fd()));
        stdout.into_iter().chain(stderr)
    }

    /// Reads a chunk of one pipe. Returns whether there may be more at this moment.
    pub fn read(&mut self, stream: Stream, tell: &mut dyn FnMut(&ToEngine)) -> bool {
        let pipe = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let Some(open) = pipe else { return false };
        let mut buffer = [0; CHUNK_BYTES];
        match open.read(&mut buffer) {
            Ok(count) if count > 0 => {
                let (id, at) = (self.id, Timestamp::now());
                self.writer
                    .push(stream, &buffer[..count], |line| tell(&told(id, at, stream, line)));
                true
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Ok(_) | Err(_) => {
                *pipe = None;
                self.tell_silence(tell);
                false
            }
        }
    }

    /// Looks whether the leader has ended, and if so tells it after its last words.
    pub fn look(&mut self, tell: &mut dyn FnMut(&ToEngine)) {
        if self.ended {
            return;
        }
        let Some(exit) = kin::exit_of(self.kinship.leader) else {
            return;
        };
        self.empty(tell);
        self.finish(tell);
        tell(&ToEngine::Exited {
            child: self.id,
            ending: match exit {
                Exit::Code(code) => Ending::Code(code),
                Exit::Signal(number) => Ending::Signal(number),
                Exit::Unknown => Ending::Unknown,
            },
        });
        self.ended = true;
        self.tell_silence(tell);
    }

    /// Tells its last words, reaps its leader and lets go of its pipes.
    pub fn forget(mut self, tell: &mut dyn FnMut(&ToEngine)) {
        self.empty(tell);
        self.finish(tell);
        kin::reap(self.kinship.leader);
        tell(&ToEngine::Forgotten { child: self.id });
    }

    /// Reads what the pipes hold at this moment.
    pub fn empty(&mut self, tell: &mut dyn FnMut(&ToEngine)) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            for _ in 0..LAST_CHUNKS {
                if !self.read(stream, tell) {
                    break;
                }
            }
        }
    }

    fn finish(&mut self, tell: &mut dyn FnMut(&ToEngine)) {
        let (id, at) = (self.id, Timestamp::now());
        self.writer
            .finish(|stream, line| tell(&told(id, at, stream, line)));
    }

    fn tell_silence(&mut self, tell: &mut dyn FnMut(&ToEngine)) {
        if self.ended && !self.silent && self.stdout.is_none() && self.stderr.is_none() {
            self.silent = true;
            self.finish(tell);
            tell(&ToEngine::Silent { child: self.id });
        }
    }
}

fn told(child: u64, at: Timestamp, stream: Stream, line: String) -> ToEngine {
    ToEngine::Line {
        child,
        at: at.as_ms(),
        stderr: stream == Stream::Stderr,
        line,
    }
}

/// A pipe that never blocks its reader; nothing if the system refuses that, for a keeper must not hang.
fn without_blocking(pipe: OwnedFd) -> Option<File> {
    let flags = OFlag::from_bits_retain(fcntl(&pipe, FcntlArg::F_GETFL).ok()?);
    fcntl(&pipe, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).ok()?;
    Some(File::from(pipe))
}
