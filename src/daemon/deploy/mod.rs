//! Deploys and rollbacks: the thin loop around [`Sequence`]. `phases` carries the phases out, `ports` finds the ports.

mod exclusive;
mod noting;
mod phases;
mod ports;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::request::Naming;
use super::sequence::{Next, Outcome, Sequence};
use super::turn::{Cancel, Held};
use super::{DeployFailure, DeployRequest, Engine, EngineError, RollbackRequest};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::events::Milestone;
use crate::fail_point;
use crate::process::{ManagedProcess, StartReason};
use crate::release::lifecycle::Phase;
use crate::release::{Cause, DeployPhase, Failure, Progress, Release, stop_all};
pub(super) use noting::Interrupted;

/// What a deploy or rollback came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployed {
    /// The release that serves now.
    pub active_release_id: String,
    /// The one that served before.
    pub previous_release_id: Option<String>,
}

/// A deploy that is done, with the release it took over from.
#[derive(Debug)]
pub struct Outgoing {
    /// What it came to.
    pub deployed: Deployed,
    /// The release that drains now, if there was one.
    pub previous: Option<Arc<Release>>,
}

impl Engine {
    /// Deploys a release. Once begun it goes on to its end even if the caller stops waiting.
    pub async fn deploy(&self, request: DeployRequest, progress: Progress) -> Result<Outgoing, EngineError> {
        let naming = request.naming(Timestamp::now())?;
        let description = format!("the deploy of {}", naming.id);
        let held = self
            .take_turn(&description, Some(&naming.id), request.wait, "deploy")
            .await?;
        let (release_id, revision) = (naming.id.clone(), naming.revision.clone());
        let release_path = request.release_path.display().to_string();
        self.record(Milestone::DeployStarting {
            release_id,
            release_path,
            revision,
        });
        let deploy = Deploy::new(
            self,
            StartReason::Deploy,
            naming,
            request.release_path,
            None,
            progress,
        );
        run_to_the_end(deploy, held).await
    }

    /// Goes back to an earlier release: the one that was active before, or the one asked for.
    pub async fn rollback(
        &self,
        request: RollbackRequest,
        progress: Progress,
    ) -> Result<Outgoing, EngineError> {
        let asked = request.release_id.as_deref();
        let description =
            asked.map_or_else(|| "the rollback".to_owned(), |id| format!("the rollback to {id}"));
        let held = self
            .take_turn(&description, asked, request.wait, "rollback")
            .await?;
        let target = self.rollback_target(asked)?;
        let key = target.key().clone();
        held.starts(&key.id);
        self.record(Milestone::RollbackStarting {
            release_id: key.id.clone(),
            instance: key.instance,
        });
        let blueprint = target.blueprint();
        let naming = Naming {
            id: key.id,
            revision: blueprint.revision.clone(),
        };
        let path = blueprint.path.clone();
        let deploy = Deploy::new(self, StartReason::Rollback, naming, path, Some(target), progress);
        run_to_the_end(deploy, held).await
    }

    async fn take_turn(
        &self,
        description: &str,
        release_id: Option<&str>,
        wait: bool,
        what: &'static str,
    ) -> Result<Held, EngineError> {
        self.refuse_when_closing(what)?;
        let turn = &self.inner.turn;
        let held = match wait {
            true => self.wait_for_turn(description, release_id).await?,
            false => {
                let taken = turn.take(description, release_id);
                taken.map_err(|running| EngineError::DeployInProgress { running })?
            }
        };
        // A shutdown may have begun while this one stood in the queue.
        self.refuse_when_closing(what)?;
        Ok(held)
    }
}

async fn run_to_the_end(deploy: Deploy, held: Held) -> Result<Outgoing, EngineError> {
    match tokio::spawn(deploy.run(held)).await {
        Ok(outcome) => outcome,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// One deploy or rollback, and what it has done so far.
struct Deploy {
    engine: Engine,
    /// Why processes are started: tells a rollback from a deploy.
    reason: StartReason,
    naming: Naming,
    asked_path: PathBuf,
    /// The release a rollback goes back to; put back as it is if it still drains and answers.
    target: Option<Arc<Release>>,
    progress: Progress,
    /// How others cancel it.
    cancel: Cancel,
    /// The config in force until this deploy switches; from the first phase on, the one it goes by.
    config: Arc<Config>,
    /// The release path with its links followed; set by the first phase.
    path: PathBuf,
    ports: BTreeMap<String, u16>,
    /// Ports that are given back with the release.
    reserved: Vec<u16>,
    /// Ports that standing processes will keep for the daemon's life, by id.
    to_keep: BTreeMap<String, u16>,
    /// The release that is being started; set by the phase `ports`.
    release: Option<Arc<Release>>,
    started_services: Vec<ManagedProcess>,
    /// The release that serves until the switch.
    previous: Option<Arc<Release>>,
    /// Where it has come to.
    phase: DeployPhase,
    /// Every proxy worker has acknowledged the new release.
    switched: bool,
    /// Those of them that had no place before this deploy, by id.
    new_services: Vec<String>,
}

impl Deploy {
    fn new(
        engine: &Engine,
        reason: StartReason,
        naming: Naming,
        asked_path: PathBuf,
        target: Option<Arc<Release>>,
        progress: Progress,
    ) -> Deploy {
        Deploy {
            engine: engine.clone(),
            reason,
            naming,
            asked_path,
            target,
            progress,
            cancel: Cancel::default(),
            config: engine.config(),
            path: PathBuf::new(),
            ports: BTreeMap::new(),
            reserved: Vec::new(),
            to_keep: BTreeMap::new(),
            release: None,
            started_services: Vec::new(),
            previous: None,
            phase: DeployPhase::ALL[0],
            switched: false,
            new_services: Vec::new(),
        }
    }

    async fn run(mut self, held: Held) -> Result<Outgoing, EngineError> {
        let begun = Instant::now();
        self.cancel = held.cancel.clone();
        self.previous = {
            let mut book = self.engine.book();
            book.releases.retain(|release| release.phase() != Phase::Failed);
            self.engine.note_book(&book);
            book.active()
        };
        let previous = self.previous.clone();
        let (mut sequence, mut next) = Sequence::begin();
        while let Next::Perform(phase) = next {
            self.phase = phase;
            self.note();
            fail_point::reached(&format!("before {}", phase.as_str())).await;
            let performed = self.perform_unless_cancelled(phase).await;
            fail_point::reached(&format!("after {}", phase.as_str())).await;
            let failure = performed.err();
            next = sequence.next(match &failure {
                None => Outcome::Done,
                Some(Failure {
                    cause: Cause::Cancelled(_),
                    ..
                }) => Outcome::Cancelled,
                Some(_) => Outcome::Failed,
            });
            if let Some(failure) = failure {
                match next {
                    Next::FinishDespiteFailure => self.retire(previous.as_ref()),
                    _ => self.undo(phase).await,
                }
                return Err(self.fail(phase, failure));
            }
        }
        self.retire(previous.as_ref());
        fail_point::reached("after retire").await;
        self.record_finished(Some(begun.elapsed()));
        let release_id = self.naming.id;
        let previous_release_id = previous.as_ref().map(|release| release.key().id.clone());
        Ok(Outgoing {
            deployed: Deployed {
                active_release_id: release_id,
                previous_release_id,
            },
            previous,
        })
    }

    /// Tells that all is done; without `elapsed` an earlier engine began it.
    fn record_finished(&self, elapsed: Option<Duration>) {
        self.forget_note();
        let release_id = self.naming.id.clone();
        let elapsed = elapsed.unwrap_or_default();
        let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        self.engine.record(match self.reason {
            StartReason::Rollback => Milestone::RollbackFinished {
                release_id,
                elapsed_ms,
            },
            _ => Milestone::DeployFinished {
                release_id,
                elapsed_ms,
            },
        });
    }

    async fn perform_unless_cancelled(&mut self, phase: DeployPhase) -> Result<(), Failure> {
        let cancel = self.cancel.clone();
        if !Sequence::may_interrupt(phase) {
            cancel.expire();
            return self.perform(phase).await;
        }
        tokio::select! {
            biased;
            by = cancel.pressed() => Err(Failure::general(Cause::Cancelled(by))),
            outcome = self.perform(phase) => outcome,
        }
    }

    fn retire(&self, previous: Option<&Arc<Release>>) {
        if let Some(previous) = previous {
            previous.retired(&self.config);
        }
    }

    /// Undoes exactly what this deploy started; returns once nothing of that runs.
    async fn undo(&self, phase: DeployPhase) {
        self.progress.tell(phase, "failed; undoing what was started");
        match &self.release {
            // It goes on draining where it was, by the config that is still in force.
            Some(release) if release.phase() == Phase::Returning => release.retired(&self.engine.config()),
            // Its ports follow when it is over.
            Some(release) => release.undo().await,
            None => self.engine.book().ports.release(self.reserved.iter().copied()),
        }
        stop_all(self.started_services.iter()).await;
        let mut book = self.engine.book();
        book.ports.release(self.to_keep.values().copied());
        // A service that had a place before this deploy keeps it.
        book.services
            .retain(|service| !self.new_services.contains(&service.id));
        self.engine.note_book(&book);
    }

    fn fail(self, phase: DeployPhase, failure: Failure) -> EngineError {
        self.forget_note();
        let active_release_id = self.engine.book().active.as_ref().map(|key| key.id.clone());
        let is_rollback = self.reason == StartReason::Rollback;
        let release_id = self.naming.id;
        let process_id = failure.process_id.clone();
        let failed = DeployFailure {
            release_id: release_id.clone(),
            is_rollback,
            phase,
            failure,
            active_release_id,
        };
        let error = EngineError::Deploy(Box::new(failed));
        let (phase, code) = (phase.as_str().to_owned(), error.code().as_str().to_owned());
        self.engine.record(match is_rollback {
            true => Milestone::RollbackFailed {
                release_id,
                phase,
                code,
                process_id,
            },
            false => Milestone::DeployFailed {
                release_id,
                phase,
                code,
                process_id,
            },
        });
        error
    }
}
