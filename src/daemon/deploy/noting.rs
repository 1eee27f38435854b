//! What the next engine must know of a deploy or rollback under way, and how it brings that to its end: undone, if traffic
//! had not been switched, else finished.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Deploy;
use crate::config::os_text;
use crate::daemon::request::Naming;
use crate::daemon::turn::Held;
use crate::daemon::{Engine, EngineError};
use crate::host::{Estate, Note, Unreadable, note_of};
use crate::process::{ManagedProcess, StartReason};
use crate::release::lifecycle::Phase;
use crate::release::{Cause, DeployPhase, Failure, Progress, Release, ReleaseKey};

/// The key of the note.
const KEY: &str = "deploy";

/// A deploy or rollback under way.
#[derive(Serialize, Deserialize)]
struct DeployNote {
    reason: StartReason,
    release_id: String,
    revision: String,
    phase: DeployPhase,
    /// Every proxy worker has acknowledged the new release.
    switched: bool,
    #[serde(with = "os_text")]
    path: PathBuf,
    ports: BTreeMap<String, u16>,
    reserved: Vec<u16>,
    to_keep: BTreeMap<String, u16>,
    release: Option<ReleaseKey>,
    previous: Option<ReleaseKey>,
    started_services: Vec<u64>,
    new_services: Vec<String>,
}

impl Deploy {
    pub(super) fn note(&self) {
        self.engine.inner.host.note(vec![self.to_note()]);
    }

    pub(super) fn to_note(&self) -> Note {
        let note = DeployNote {
            reason: self.reason,
            release_id: self.naming.id.clone(),
            revision: self.naming.revision.clone(),
            phase: self.phase,
            switched: self.switched,
            path: self.path.clone(),
            ports: self.ports.clone(),
            reserved: self.reserved.clone(),
            to_keep: self.to_keep.clone(),
            release: self.release.as_ref().map(|release| release.key().clone()),
            previous: self.previous.as_ref().map(|release| release.key().clone()),
            started_services: self.started_services.iter().map(ManagedProcess::number).collect(),
            new_services: self.new_services.clone(),
        };
        note_of(KEY.to_owned(), &note)
    }

    /// It has come to its end: there is nothing left for another engine to do.
    pub(super) fn forget_note(&self) {
        self.engine.inner.host.note(vec![(KEY.to_owned(), None)]);
    }
}

/// A deploy that an earlier engine did not live to end.
pub(in crate::daemon) struct Interrupted(Deploy);

impl Interrupted {
    /// The one that is noted, if there is one. The releases must be on the books.
    pub fn find(engine: &Engine, estate: &Estate) -> Result<Option<Interrupted>, Unreadable> {
        let Some(note) = estate.find::<DeployNote>(KEY)? else {
            return Ok(None);
        };
        let naming = Naming {
            id: note.release_id,
            revision: note.revision,
        };
        let mut deploy = Deploy::new(
            engine,
            note.reason,
            naming,
            note.path.clone(),
            None,
            Progress::default(),
        );
        let book = engine.book();
        let services = book.services.iter().map(|one| &one.process);
        let was_started = |process: &&ManagedProcess| note.started_services.contains(&process.number());
        deploy.started_services = services.filter(was_started).cloned().collect();
        deploy.release = note.release.as_ref().and_then(|key| book.release(key));
        deploy.previous = note.previous.as_ref().and_then(|key| book.release(key));
        drop(book);
        if let (true, Some(release)) = (note.switched, &deploy.release) {
            deploy.config = release.blueprint().config.clone();
        }
        deploy.phase = note.phase;
        deploy.switched = note.switched;
        deploy.path = note.path;
        deploy.ports = note.ports;
        deploy.reserved = note.reserved;
        deploy.to_keep = note.to_keep;
        deploy.new_services = note.new_services;
        Ok(Some(Interrupted(deploy)))
    }

    /// Whether the note can be read, if there is one.
    pub fn check_note(estate: &Estate) -> Result<(), Unreadable> {
        estate.find::<DeployNote>(KEY).map(drop)
    }

    /// What has the turn, for messages.
    pub fn description(&self) -> String {
        let what = match self.0.reason {
            StartReason::Rollback => "rollback to",
            _ => "deploy of",
        };
        format!("the {what} {} that was interrupted", self.0.naming.id)
    }

    /// Ports that processes of the daemon will keep, if it is finished.
    pub fn ports(&self) -> impl Iterator<Item = (&String, &u16)> {
        self.0.to_keep.iter()
    }

    /// Whether it decides what becomes of this release.
    pub fn concerns(&self, release: &Arc<Release>) -> bool {
        self.0
            .release
            .as_ref()
            .is_some_and(|own| Arc::ptr_eq(own, release))
            || self
                .0
                .previous
                .as_ref()
                .is_some_and(|own| Arc::ptr_eq(own, release))
    }

    /// Lets it be.
    pub fn forget(self) {
        self.0.forget_note();
    }

    /// Brings it to its end. Nobody waits for the outcome any more but the readers of events.
    pub async fn conclude(self, held: Held) {
        let mut deploy = self.0;
        deploy.cancel = held.cancel.clone();
        let outcome: Result<(), EngineError> = match deploy.switched {
            true => deploy.finish_interrupted().await,
            false => {
                let phase = deploy.phase;
                deploy.undo(phase).await;
                let failure = Failure::general(Cause::Interrupted);
                Err(deploy.fail(phase, failure))
            }
        };
        // It is told by an event.
        drop(outcome);
        drop(held);
    }
}

impl Deploy {
    /// Traffic is on the new release: what follows the switch is done, as far as it was not.
    async fn finish_interrupted(self) -> Result<(), EngineError> {
        if let Some(release) = self.release.clone() {
            self.take_office(&release);
        }
        let replaced = self.replace_singletons().await;
        let previous = self.previous.clone();
        self.retire(previous.as_ref());
        match replaced {
            Ok(()) => {
                self.record_finished(None);
                Ok(())
            }
            Err(failure) => Err(self.fail(DeployPhase::Singletons, failure)),
        }
    }

    /// The release's own part of the switch, unless it is done.
    pub(super) fn take_office(&self, release: &Arc<Release>) {
        if let Some(previous) = self.previous.as_ref().filter(|one| one.phase() == Phase::Active) {
            previous.superseded();
        }
        if release.phase() != Phase::Active {
            release.activated();
            self.record_switch(release);
        }
    }
}
