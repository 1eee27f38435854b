//! What the engine knows of its keeper's children, and who waits for one.

use std::collections::{BTreeMap, HashMap};

use tokio::sync::{mpsc, oneshot, watch};

use super::message::{ToEngine, VERSION};
use crate::clock::Timestamp;
use crate::host::{Child, ChildId, Exit, Heir, Kinship, Log, LogLine, Role, SpawnError, Stream};

#[derive(Debug, Default)]
pub(super) struct Book {
    pub waiting: HashMap<u64, Waiting>,
    pub children: HashMap<u64, Known>,
    pub logs: BTreeMap<u64, Log>,
    /// Children of an earlier engine, until they are taken over.
    pub heirs: Vec<Heir>,
    /// The keeper is gone.
    pub lost: bool,
    /// Engines that have retired and have not ended yet.
    pub retired: Vec<i32>,
    /// A successor may stand beside this engine.
    pub upgrading: bool,
    /// Who waits to hear whether there is a successor.
    pub successor: Option<oneshot::Sender<Result<String, String>>>,
    /// Whether the keeper has become the program of this engine, once that is known.
    pub replaced: watch::Sender<Option<Result<(), String>>>,
}

#[derive(Debug)]
pub(super) struct Waiting {
    pub token: String,
    pub answer: oneshot::Sender<Result<Child, SpawnError>>,
}

#[derive(Debug)]
pub(super) struct Known {
    pub kinship: Kinship,
    /// Gone once nobody is left who could write.
    pub exit: Option<mpsc::Sender<Exit>>,
    /// The engine has let go of it.
    pub forgotten: bool,
}

impl Book {
    /// Takes in a message; false if this keeper cannot be understood.
    pub fn take(&mut self, message: ToEngine) -> bool {
        match message {
            ToEngine::Hello { version } => return version == VERSION,
            ToEngine::Log { log, most_lines } => {
                self.logs.insert(log, Log::new(log, most_lines));
            }
            ToEngine::Kept {
                child,
                pid,
                token,
                log,
                role,
            } => self.inherit(child, pid, token, log, role),
            ToEngine::Spawned { request, child, pid } => {
                if let Some(waiting) = self.waiting.remove(&request) {
                    let child = self.enter(child, pid, waiting.token);
                    // A supervisor that went away meanwhile cannot stop it; its kin are known here, for the end of the
                    // keeper.
                    let _ = waiting.answer.send(Ok(child));
                }
            }
            ToEngine::SpawnFailed { request, reason } => {
                if let Some(waiting) = self.waiting.remove(&request) {
                    // Whoever asked may have lost interest.
                    let _ = waiting.answer.send(Err(reason.into()));
                }
            }
            ToEngine::Line {
                log,
                seq,
                at,
                stderr,
                line,
            } => {
                if let Some(log) = self.logs.get(&log) {
                    log.keep(LogLine {
                        seq,
                        at: Timestamp::from_ms(at),
                        stream: if stderr { Stream::Stderr } else { Stream::Stdout },
                        line,
                    });
                }
            }
            ToEngine::Exited { child, exit } => {
                let sender = self.children.get(&child).and_then(|known| known.exit.as_ref());
                if let Some(sender) = sender {
                    // There is room for the one exit; a supervisor that is gone needs none.
                    let _ = sender.try_send(exit);
                }
            }
            ToEngine::Silent { child } => {
                if let Some(known) = self.children.get_mut(&child) {
                    known.exit = None;
                }
            }
            ToEngine::Forgotten { child } => drop(self.children.remove(&child)),
            ToEngine::SuccessorReady { version } => self.tell_successor(Ok(version)),
            ToEngine::SuccessorFailed { reason } => self.tell_successor(Err(reason)),
            ToEngine::KeeperReplaced { failure } => {
                self.replaced.send_replace(Some(failure.map_or(Ok(()), Err)));
            }
            // Only told to an engine that begins.
            ToEngine::Listener { .. }
            | ToEngine::Noted { .. }
            | ToEngine::Rehearsed {}
            | ToEngine::Restored { .. } => {}
        }
        true
    }

    fn tell_successor(&mut self, outcome: Result<String, String>) {
        if let Some(waiting) = self.successor.take() {
            // Whoever asked may have lost interest.
            let _ = waiting.send(outcome);
        }
    }

    /// The keeper is gone.
    pub fn lose(&mut self) {
        self.lost = true;
        // Whoever waits for a start learns of it when the sender is dropped.
        self.waiting.clear();
        self.successor = None;
    }

    fn inherit(&mut self, child: u64, pid: i32, token: String, log: u64, role: Role) {
        let child = self.enter(child, pid, token);
        self.heirs.push(Heir { child, log, role });
    }

    fn enter(&mut self, child: u64, pid: i32, token: String) -> Child {
        let (sender, exit) = mpsc::channel(1);
        let known = Known {
            kinship: Kinship { leader: pid, token },
            exit: Some(sender),
            forgotten: false,
        };
        self.children.insert(child, known);
        let id = ChildId(child);
        Child { id, pid, exit }
    }
}
