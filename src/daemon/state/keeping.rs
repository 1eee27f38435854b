//! The task that keeps the state file up to date, and what a daemon knows of the processes an earlier one left over.
//!
//! Every change comes with an event, so events are what it waits for. Changes that come while it writes are written
//! together. A file that cannot be written is told once, tried again, and never stops anything.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, oneshot};

use super::file::{Reading, StateFile, text};
use super::record::{RECORDED_EVENTS, Record, Snapshot};
use crate::daemon::Engine;
use crate::error::plain;
use crate::events::{Event, Milestone};
use crate::host::ProcessIdentity;

/// When we look once more after an event, for what changed a moment after it.
const SETTLED: Duration = Duration::from_millis(100);

/// When writing is tried again if nothing happens.
const NEXT_TRY: Duration = Duration::from_secs(5);

/// How long a shutdown waits for a disk that does not answer.
const LAST_WRITE: Duration = Duration::from_secs(5);

/// The handle on the task.
#[derive(Debug)]
pub(in crate::daemon) struct Keeping {
    conclude: mpsc::Sender<(End, oneshot::Sender<()>)>,
}

/// How the task ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The daemon ends.
    Conclude,
    /// Another engine goes on with the file.
    LetGo,
}

impl Keeping {
    /// Ends the task without a word about the end: another engine goes on with the file.
    pub async fn let_go(&self) {
        self.end(End::LetGo).await;
    }

    /// Ends the task in good order: without orphans the file goes, with orphans it holds those.
    pub async fn conclude(&self) {
        self.end(End::Conclude).await;
    }

    async fn end(&self, end: End) {
        let (done, wait) = oneshot::channel();
        // A task that is gone has concluded.
        if self.conclude.send((end, done)).await.is_ok() {
            let _ = tokio::time::timeout(LAST_WRITE, wait).await;
        }
    }
}

impl Engine {
    /// Begins to keep the state file that the config names, if it does: reads what an earlier daemon left, tells of it,
    /// and records every change from here on. For whoever owns the control socket: there is one daemon to a file.
    pub fn keep_state(&self) {
        let config = self.config();
        let Some(path) = &config.state_path else { return };
        // The file is the successor's where there is one.
        if self.inner.state.get().is_some() || self.has_left() {
            return;
        }
        let file = StateFile::new(path, &config.application);
        let (_, changes) = self.events().follow(None, Some(0));
        let may_write = match self.inner.past.is_there() {
            false => {
                let (orphans, may_write) = self.take_over(&file);
                *self.recorded() = orphans;
                self.note_book(&self.book());
                may_write
            }
            // It is the file of this very daemon.
            true => true,
        };
        let (conclude, concluding) = mpsc::channel(1);
        let keeping = Keeping { conclude };
        if self.inner.state.set(keeping).is_err() || !may_write {
            return;
        }
        let task = Task {
            engine: self.clone(),
            file,
            own: self.inner.daemon.clone(),
            written: None,
            failing: false,
        };
        tokio::spawn(task.run(changes, concluding));
    }

    /// What the earlier daemon left over, and whether its file may be replaced.
    fn take_over(&self, file: &StateFile) -> (Vec<Record>, bool) {
        let orphans = match file.read() {
            Reading::Missing => Vec::new(),
            // A daemon that is still shutting down stops its processes itself.
            Reading::Found(remains) if remains.writer_is_alive() => Vec::new(),
            Reading::Found(remains) => remains.survivors(),
            Reading::Refused(error) => {
                let aside = file.set_aside();
                self.record(Milestone::StateFileRefused {
                    path: file.path().display().to_string(),
                    reason: error.to_string(),
                    kept_as: aside.as_ref().ok().map(|name| name.display().to_string()),
                });
                // What could not be set aside would be lost by writing.
                return (Vec::new(), aside.is_ok());
            }
        };
        for orphan in &orphans {
            self.record(Milestone::OrphanFound {
                process_id: orphan.id.clone(),
                release_id: orphan.release_id.clone(),
                pid: orphan.process.pid,
            });
        }
        (orphans, true)
    }

    /// What an earlier daemon left over and is still alive.
    pub(in crate::daemon) fn orphans(&self) -> Vec<Record> {
        let recorded = self.recorded_orphans();
        if recorded.is_empty() {
            return Vec::new();
        }
        let own: Vec<i32> = self
            .processes()
            .iter()
            .filter_map(|process| process.status().pid)
            .collect();
        let counts = |record: &&Record| !own.contains(&record.process.pid) && record.process.is_alive();
        recorded.iter().filter(counts).cloned().collect()
    }

    fn snapshot(&self, own: Option<&ProcessIdentity>) -> Snapshot {
        let orphans = self.orphans();
        let events = self.events().recent(None, Some(RECORDED_EVENTS));
        Snapshot::of(&self.config().application, own, &self.book(), &orphans, &events)
    }
}

struct Task {
    engine: Engine,
    file: StateFile,
    /// This daemon.
    own: Option<ProcessIdentity>,
    /// What the file says by now.
    written: Option<String>,
    failing: bool,
}

impl Task {
    async fn run(
        mut self,
        mut changes: broadcast::Receiver<Arc<Event>>,
        mut concluding: mpsc::Receiver<(End, oneshot::Sender<()>)>,
    ) {
        let mut settled = false;
        loop {
            self.write().await;
            let pause = match (self.failing, settled) {
                (true, _) => Some(NEXT_TRY),
                (false, false) => Some(SETTLED),
                (false, true) => None,
            };
            tokio::select! {
                biased;
                asked = concluding.recv() => {
                    let Some((end, done)) = asked else { return };
                    if end == End::Conclude {
                        self.conclude().await;
                    }
                    // Whoever asked may have lost patience.
                    let _ = done.send(());
                    return;
                }
                _ = changes.recv() => settled = false,
                () = sleep(pause) => settled = true,
            }
            // One write serves all that has happened up to now.
            changes = changes.resubscribe();
        }
    }

    async fn write(&mut self) {
        let snapshot = self.engine.snapshot(self.own.as_ref());
        let text = text(&snapshot);
        if self.written.as_ref() == Some(&text) {
            return;
        }
        let file = self.file.clone();
        let own = self.own.clone();
        let copy = text.clone();
        let outcome = on_disk(move || match is_of_another(&file, own.as_ref()) {
            true => Err(io::Error::other("another daemon that runs writes it too")),
            false => file.write(&copy),
        })
        .await;
        let was_failing = std::mem::replace(&mut self.failing, outcome.is_err());
        match outcome {
            Ok(()) => self.written = Some(text),
            Err(error) if !was_failing => self.engine.record(Milestone::StateFileNotWritten {
                path: self.file.path().display().to_string(),
                reason: plain(&error),
            }),
            Err(_) => {}
        }
    }

    async fn conclude(&mut self) {
        let orphans = self.engine.orphans();
        let (file, own) = (self.file.clone(), self.own.clone());
        let outcome = on_disk(move || match orphans.as_slice() {
            _ if is_of_another(&file, own.as_ref()) => Ok(()),
            [] => file.remove(),
            orphans => file.write(&text(&Snapshot::of_orphans(file.application(), orphans))),
        })
        .await;
        if let Err(error) = outcome {
            self.engine.record(Milestone::StateFileNotWritten {
                path: self.file.path().display().to_string(),
                reason: plain(&error),
            });
        }
    }
}

/// Whether the file is that of a daemon that runs and is not this one: one that is shutting down while its successor has
/// started already leaves the file to that.
fn is_of_another(file: &StateFile, own: Option<&ProcessIdentity>) -> bool {
    let Reading::Found(remains) = file.read() else {
        return false;
    };
    remains.daemon.as_ref() != own && remains.writer_is_alive()
}

async fn on_disk(work: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(failed) => Err(io::Error::other(failed)),
    }
}

async fn sleep(pause: Option<Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}
