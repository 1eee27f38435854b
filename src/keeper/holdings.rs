//! What the keeper holds for its engines: what must outlive each of them.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use super::child::{Kept, News};
use super::link::Link;
use super::message::{Past, Refusal, ToEngine, VERSION};
use crate::clock::Timestamp;
use crate::host::{LogLine, Note, Ring, Role, SpawnSpec, Stream, launch};

/// What the names of sockets begin with through which a retired engine hands over its connections.
pub const HANDOVER_PREFIX: &str = "handover/";

/// The name of the standard error of the daemon.
pub const STDERR: &str = "stderr";

/// Everything a new engine is told.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    pub children: Vec<Kept>,
    pub next_child: u64,
    pub rings: BTreeMap<u64, Ring>,
    pub notes: BTreeMap<String, String>,
    /// Listeners and other sockets, by what they are for.
    pub listeners: BTreeMap<String, OwnedFd>,
    pub next_handover: u64,
    /// The engine, while there is one.
    pub link: Option<Link>,
    /// The engine takes nothing in: lines go into their rings alone until it does again.
    pub lags: bool,
}

impl Holdings {
    /// Connects a new engine: it is told all there is.
    pub fn connect(&mut self, socket: UnixStream, past: Past) -> io::Result<()> {
        self.tell_all(Link::new(socket)?, past)
    }

    /// Connects an engine that may become a successor: it is told the notes alone.
    pub fn rehearse(&self, socket: UnixStream) -> io::Result<Link> {
        let mut link = Link::new(socket)?;
        link.tell(&ToEngine::Hello { version: VERSION });
        self.tell_notes(&mut link);
        link.tell(&ToEngine::Rehearsed {});
        Ok(link)
    }

    fn tell_notes(&self, link: &mut Link) {
        for (key, text) in &self.notes {
            let (key, text) = (key.clone(), text.clone());
            link.tell(&ToEngine::Noted { key, text });
        }
    }

    /// Tells an engine all there is. Nothing may wait to be sent to it.
    pub fn tell_all(&mut self, mut link: Link, past: Past) -> io::Result<()> {
        link.tell(&ToEngine::Hello { version: VERSION });
        // A fresh socket takes the little there is before the notes at once.
        if link.send().is_err() || link.has_unsent() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        for (name, listener) in &self.listeners {
            let name = name.clone();
            link.pass(&ToEngine::Listener { name }, listener.as_fd())?;
        }
        if past.upgrade.is_some() {
            // A successor has written elsewhere so far.
            let name = STDERR.to_owned();
            link.pass(&ToEngine::Listener { name }, io::stderr().as_fd())?;
        }
        self.tell_notes(&mut link);
        for (log, ring) in &self.rings {
            let most_lines = ring.most_lines();
            link.tell(&ToEngine::Log {
                log: *log,
                most_lines,
            });
            ring.all().for_each(|line| link.tell(&told(*log, line)));
        }
        for child in &self.children {
            link.tell(&ToEngine::Kept {
                child: child.id,
                pid: child.kinship.leader,
                token: child.kinship.token.clone(),
                log: child.log,
                role: child.role,
            });
            if let Some(exit) = child.exit {
                link.tell(&ToEngine::Exited {
                    child: child.id,
                    exit,
                });
            }
            if child.silent {
                link.tell(&ToEngine::Silent { child: child.id });
            }
        }
        link.tell(&ToEngine::Restored { past });
        self.link = Some(link);
        self.lags = false;
        Ok(())
    }

    /// Lets `act` work on one child, and passes on what the child has to tell.
    pub fn of(&mut self, at: usize, act: impl FnOnce(&mut Kept, &mut dyn FnMut(News))) {
        let child = &mut self.children[at];
        let mut outlet = Outlet {
            child: child.id,
            log: child.log,
            rings: &mut self.rings,
            link: self.link.as_mut(),
            lags: self.lags,
        };
        act(child, &mut |news| outlet.take(news));
    }

    pub fn spawn(&mut self, request: u64, spec: &SpawnSpec, log: u64, most_lines: usize, role: Role) {
        let answer = match launch(spec) {
            Ok(launched) => {
                let (child, pid) = (self.next_child, launched.pid);
                self.next_child += 1;
                self.rings.entry(log).or_insert_with(|| Ring::new(most_lines));
                self.children
                    .push(Kept::new(child, log, role, launched, spec.token.clone()));
                ToEngine::Spawned { request, child, pid }
            }
            Err(error) => ToEngine::SpawnFailed {
                request,
                reason: Refusal::from(&error),
            },
        };
        self.tell(&answer);
    }

    pub fn forget(&mut self, child: u64) {
        let Some(at) = self.children.iter().position(|kept| kept.id == child) else {
            return;
        };
        let kept = self.children.swap_remove(at);
        let mut outlet = Outlet {
            child,
            log: kept.log,
            rings: &mut self.rings,
            link: self.link.as_mut(),
            lags: self.lags,
        };
        kept.forget(&mut |news| outlet.take(news));
        self.tell(&ToEngine::Forgotten { child });
    }

    pub fn close_log(&mut self, log: u64) {
        self.rings.remove(&log);
    }

    pub fn note(&mut self, notes: Vec<Note>) {
        for (key, text) in notes {
            match text {
                Some(text) => drop(self.notes.insert(key, text)),
                None => drop(self.notes.remove(&key)),
            }
        }
    }

    /// The engine takes nothing in, and has not for a while: nobody is to wait for it.
    pub fn lag(&mut self) {
        self.lags = true;
    }

    /// The engine takes in again what it is told: it is told the lines it has missed, as far as they are there.
    pub fn catch_up(&mut self) {
        if !std::mem::take(&mut self.lags) {
            return;
        }
        if let Some(link) = &mut self.link {
            for (log, ring) in &self.rings {
                ring.all().for_each(|line| link.tell(&told(*log, line)));
            }
        }
    }

    pub fn hold(&mut self, name: String, listener: OwnedFd) {
        self.listeners.insert(name, listener);
    }

    /// Holds the socket of an engine that retires, under a name of its own.
    pub fn hold_handover(&mut self, socket: OwnedFd) {
        let name = format!("{HANDOVER_PREFIX}{}", self.next_handover);
        self.next_handover += 1;
        self.hold(name, socket);
    }

    pub fn let_go(&mut self, name: &str) {
        self.listeners.remove(name);
    }

    pub fn tell(&mut self, message: &ToEngine) {
        if let Some(link) = &mut self.link {
            link.tell(message);
        }
    }
}

/// Where the news of one child go: lines into its ring, and everything to the engine, if there is one.
struct Outlet<'a> {
    child: u64,
    log: u64,
    rings: &'a mut BTreeMap<u64, Ring>,
    link: Option<&'a mut Link>,
    pub lags: bool,
}

impl Outlet<'_> {
    fn take(&mut self, news: News) {
        let child = self.child;
        let message = match news {
            News::Line(stream, line) => {
                let Some(ring) = self.rings.get_mut(&self.log) else {
                    return;
                };
                let line = ring.number(stream, line, Timestamp::now());
                if self.lags {
                    return;
                }
                told(self.log, &line)
            }
            News::Exited(exit) => ToEngine::Exited { child, exit },
            News::Silent => ToEngine::Silent { child },
        };
        if let Some(link) = &mut self.link {
            link.tell(&message);
        }
    }
}

fn told(log: u64, line: &LogLine) -> ToEngine {
    ToEngine::Line {
        log,
        seq: line.seq,
        at: line.at.as_ms(),
        stderr: line.stream == Stream::Stderr,
        line: line.line.clone(),
    }
}
