//! One child of the keeper: its pipes, and whether its leader has ended.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::host::platform::ends_readable;
use crate::host::{Exit, Kinship, Launched, Role, Stream, Writer, kin};

/// How much is read from a pipe at once: what a pipe holds by default.
const CHUNK_BYTES: usize = 64 * 1024;

/// How many chunks are read on after the leader's end: a grandchild that goes on writing must not hold up the news.
const LAST_CHUNKS: usize = 16;

/// What a child makes known.
#[derive(Debug)]
pub(super) enum News {
    /// It wrote a whole line.
    Line(Stream, String),
    /// Its leader ended; all that the leader wrote has been told.
    Exited(Exit),
    /// Nobody is left who could write.
    Silent,
}

/// Where news go.
pub(super) type Tell<'a> = &'a mut dyn FnMut(News);

/// A process that was started, until it is forgotten.
#[derive(Debug)]
pub(super) struct Kept {
    /// Its name towards the engine.
    pub id: u64,
    /// Where its output goes, and whose it is.
    pub log: u64,
    /// What it is for.
    pub role: Role,
    /// What its members are known by.
    pub kinship: Kinship,
    writer: Writer,
    stdout: Option<File>,
    stderr: Option<File>,
    /// Readable once the leader has ended; none where the system has nothing of the kind.
    ending: Option<OwnedFd>,
    /// How the leader ended, once it has.
    pub exit: Option<Exit>,
    /// It has been told that nobody is left who could write.
    pub silent: bool,
}

impl Kept {
    /// Takes over what was just started.
    pub fn new(id: u64, log: u64, role: Role, launched: Launched, token: String) -> Kept {
        Kept {
            id,
            log,
            role,
            kinship: Kinship {
                leader: launched.pid,
                token,
            },
            writer: Writer::default(),
            stdout: without_blocking(launched.stdout),
            stderr: without_blocking(launched.stderr),
            ending: ends_readable(launched.pid).ok(),
            exit: None,
            silent: false,
        }
    }

    /// Goes on with one that another program has kept.
    pub fn again(
        (id, log, role): (u64, u64, Role),
        (leader, token): (i32, String),
        writer: Writer,
        [stdout, stderr, ending]: [Option<OwnedFd>; 3],
        (exit, silent): (Option<Exit>, bool),
    ) -> Kept {
        Kept {
            id,
            log,
            role,
            kinship: Kinship { leader, token },
            writer,
            stdout: stdout.map(File::from),
            stderr: stderr.map(File::from),
            ending,
            exit,
            silent,
        }
    }

    /// What it has begun to write.
    pub fn writer(&self) -> &Writer {
        &self.writer
    }

    /// Its pipes, and what tells the end of its leader.
    pub fn descriptors(&self) -> [Option<RawFd>; 3] {
        let pipe = |pipe: &Option<File>| pipe.as_ref().map(AsRawFd::as_raw_fd);
        let ending = self.ending.as_ref().map(AsRawFd::as_raw_fd);
        [pipe(&self.stdout), pipe(&self.stderr), ending]
    }

    /// What to wait for, besides output.
    pub fn ending(&self) -> Option<BorrowedFd<'_>> {
        self.ending
            .as_ref()
            .filter(|_| self.exit.is_none())
            .map(AsFd::as_fd)
    }

    /// Whether its end must be looked for, since there is nothing to wait for.
    pub fn must_be_looked_at(&self) -> bool {
        self.ending.is_none() && self.exit.is_none()
    }

    /// The pipes that may still bring something.
    pub fn pipes(&self) -> impl Iterator<Item = (Stream, BorrowedFd<'_>)> {
        let stdout = self.stdout.as_ref().map(|pipe| (Stream::Stdout, pipe.as_fd()));
        let stderr = self.stderr.as_ref().map(|pipe| (Stream::Stderr, pipe.as_fd()));
        stdout.into_iter().chain(stderr)
    }

    /// Reads a chunk of one pipe. Returns whether there may be more at this moment.
    pub fn read(&mut self, stream: Stream, tell: Tell<'_>) -> bool {
        let pipe = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let Some(open) = pipe else { return false };
        let mut buffer = [0; CHUNK_BYTES];
        match open.read(&mut buffer) {
            Ok(count) if count > 0 => {
                let bytes = &buffer[..count];
                self.writer
                    .push(stream, bytes, |line| tell(News::Line(stream, line)));
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
    pub fn look(&mut self, tell: Tell<'_>) {
        if self.exit.is_some() {
            return;
        }
        let Some(exit) = kin::exit_of(self.kinship.leader) else {
            return;
        };
        self.empty(tell);
        self.finish(tell);
        self.exit = Some(exit);
        tell(News::Exited(exit));
        self.tell_silence(tell);
    }

    /// Tells its last words, reaps its leader and lets go of its pipes.
    pub fn forget(mut self, tell: Tell<'_>) {
        self.empty(tell);
        self.finish(tell);
        kin::reap(self.kinship.leader);
    }

    /// Reads what the pipes hold at this moment.
    pub fn empty(&mut self, tell: Tell<'_>) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            for _ in 0..LAST_CHUNKS {
                if !self.read(stream, tell) {
                    break;
                }
            }
        }
    }

    fn finish(&mut self, tell: Tell<'_>) {
        self.writer.finish(|stream, line| tell(News::Line(stream, line)));
    }

    fn tell_silence(&mut self, tell: Tell<'_>) {
        if self.exit.is_some() && !self.silent && self.stdout.is_none() && self.stderr.is_none() {
            self.silent = true;
            self.finish(tell);
            tell(News::Silent);
        }
    }
}

/// A pipe that never blocks its reader; nothing if the system refuses that, for a keeper must not hang.
fn without_blocking(pipe: OwnedFd) -> Option<File> {
    let flags = OFlag::from_bits_retain(fcntl(&pipe, FcntlArg::F_GETFL).ok()?);
    fcntl(&pipe, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK)).ok()?;
    Some(File::from(pipe))
}
