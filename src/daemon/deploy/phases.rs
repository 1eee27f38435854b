//! What each phase of a deploy does.

use std::sync::Arc;

use super::Deploy;
use crate::config::{ProcessDefinition, check_reload};
use crate::daemon::request::pin;
use crate::daemon::standing::{Standing, services, singletons};
use crate::events::Milestone;
use crate::fail_point;
use crate::process::{Condition, Launch, ManagedProcess, Scope, StartReason};
use crate::release::{Cause, DeployPhase, Failure, Release, start, tell_started};

impl Deploy {
    pub(super) async fn perform(&mut self, phase: DeployPhase) -> Result<(), Failure> {
        match phase {
            DeployPhase::Config => self.reload().await,
            DeployPhase::Ports => self.prepare().await,
            DeployPhase::Services => self.start_services().await,
            DeployPhase::Companions => self.release().start_companions(self.reason, &self.progress).await,
            DeployPhase::Proxied => self.release().start_proxied(self.reason, &self.progress).await,
            DeployPhase::Health => self.check_health().await,
            DeployPhase::Switch => {
                self.switch().await;
                Ok(())
            }
            DeployPhase::Singletons => self.replace_singletons().await,
        }
    }

    pub(super) fn release(&self) -> Arc<Release> {
        self.release.clone().expect("the phase `ports` set the release")
    }

    /// Reads the config anew, and makes sure that this daemon can go by it and that the release is there.
    async fn reload(&mut self) -> Result<(), Failure> {
        let asked = self.asked_path.display().to_string();
        self.path = pin(&self.asked_path)
            .map_err(|reason| Failure::general(Cause::ReleasePath { path: asked, reason }))?;
        let config = self.engine.inner.source.load(&self.config).await;
        let config = config.map_err(|error| Failure::general(Cause::config(error.code(), &error)))?;
        check_reload(&self.config, &config)
            .map_err(|error| Failure::general(Cause::config(error.code(), &error)))?;
        self.config = config;
        let what = match self.reason {
            StartReason::Rollback => "rolling back to",
            _ => "deploying",
        };
        self.progress.tell(
            DeployPhase::Config,
            format!("{what} {} from {}", self.naming.id, self.path.display()),
        );
        Ok(())
    }

    /// Settles what is to be started: the release that still drains, as it is, or a new instance with ports of its own.
    async fn prepare(&mut self) -> Result<(), Failure> {
        if let Some(target) = self.target.clone().filter(|target| target.reclaim()) {
            // Noted first, so that a cancel lets it drain again.
            self.release = Some(target.clone());
            self.note();
            self.cancel.concerns(&target);
            if target.answers().await {
                let message = format!(
                    "{} is still there and healthy: it is put back as it is",
                    self.naming.id
                );
                self.progress.tell(DeployPhase::Ports, message);
                return self.reserve_standing_ports().await;
            }
            self.release = None;
            self.note();
            // By the config in force: this rollback has not brought its own into force yet.
            target.retired(&self.engine.config());
        }
        self.reserve_ports().await
    }

    /// Starts the persistent services that do not run, then the release's own handoff services.
    async fn start_services(&mut self) -> Result<(), Failure> {
        self.start_standing_services().await?;
        self.release().start_handoffs(self.reason, &self.progress).await
    }

    /// Starts the persistent services that do not run.
    pub(super) async fn start_standing_services(&mut self) -> Result<(), Failure> {
        let scope = self.standing_scope();
        let config = self.config.clone();
        for definition in services(&config).filter(|one| !self.engine.leaves_to_owner(one)) {
            let known = self
                .engine
                .book()
                .services
                .iter()
                .find(|service| service.id == definition.id)
                .cloned();
            let process = match known {
                Some(service) if !service.process.status().condition.is_at_rest() => continue,
                Some(service) => {
                    // Given up or stopped: what it was last started from may be gone.
                    service.process.refresh(Launch::single(definition, &scope));
                    service.process
                }
                None => {
                    let process = self.stand_beside(definition, &scope);
                    let standing = Standing {
                        id: definition.id.clone(),
                        process: process.clone(),
                    };
                    let mut book = self.engine.book();
                    book.services.push(standing);
                    self.engine.note_book(&book);
                    drop(book);
                    self.new_services.push(definition.id.clone());
                    process
                }
            };
            self.started_services.push(process.clone());
            self.note();
            start(&process, self.reason, DeployPhase::Services, &self.progress).await?;
        }
        Ok(())
    }

    fn stand_beside(&self, definition: &ProcessDefinition, scope: &Arc<Scope>) -> ManagedProcess {
        let (host, events) = (self.engine.inner.host.clone(), self.engine.inner.events.clone());
        ManagedProcess::supervise(host, events, Launch::single(definition, scope), true)
    }

    /// The release's scope with the ports of today: a release that is put back does not know those of the services and
    /// singletons that came after it.
    fn standing_scope(&self) -> Arc<Scope> {
        let release = self.release();
        let mut scope = Scope::clone(&release.blueprint().scope);
        scope.ports = self.ports.clone();
        Arc::new(scope)
    }

    async fn check_health(&self) -> Result<(), Failure> {
        // Also where a release is put back: its web process may have ended while its companions were started again.
        self.release()
            .wait_until_healthy(&self.started_services, &self.progress)
            .await
    }

    async fn switch(&mut self) {
        let release = self.release();
        let key = release.key().clone();
        let proxy = &self.engine.inner.proxy;
        proxy.switch(Some(release.route().clone())).await;
        self.engine.adopt(&self.config);
        self.switched = true;
        {
            let mut book = self.engine.book();
            book.kept_ports.extend(self.to_keep.clone());
            book.activations.push(key.clone());
            book.active = Some(key.clone());
            // One note of both: from here on every engine finishes this deploy.
            let notes = vec![self.to_note(), self.engine.book_note(&book)];
            self.engine.inner.host.note(notes);
        }
        // Not told to anybody before it is certain.
        self.engine.inner.host.settled().await;
        fail_point::reached("switch acknowledged").await;
        self.take_office(&release);
        self.progress
            .tell(DeployPhase::Switch, format!("traffic is on {}", key.id));
    }

    pub(super) fn record_switch(&self, release: &Release) {
        let key = release.key().clone();
        self.engine.record(Milestone::TrafficSwitched {
            release_id: key.id,
            instance: key.instance,
            previous_release_id: self.previous.as_ref().map(|release| release.key().id.clone()),
        });
    }

    /// Points services at the new release for their next start, then replaces singletons one at a time. One that fails
    /// does not keep the others on the old release.
    pub(super) async fn replace_singletons(&self) -> Result<(), Failure> {
        let scope = self.standing_scope();
        let config = self.config.clone();
        for service in self.engine.book().services.iter() {
            if let Some(definition) = config.process(&service.id) {
                service.process.refresh(Launch::single(definition, &scope));
            }
        }
        let mut first_failure = Ok(());
        for definition in singletons(&config).filter(|one| !self.engine.leaves_to_owner(one)) {
            if self.engine.inner.closing.is_cancelled() {
                let by = "a shutdown".to_owned();
                return first_failure.and(Err(Failure::general(Cause::Cancelled(by))));
            }
            let replaced = self.replace_singleton(definition, &scope).await;
            first_failure = first_failure.and(replaced);
        }
        first_failure
    }

    async fn replace_singleton(
        &self,
        definition: &ProcessDefinition,
        scope: &Arc<Scope>,
    ) -> Result<(), Failure> {
        let known = self
            .engine
            .book()
            .singletons
            .iter()
            .find(|one| one.id == definition.id)
            .cloned();
        let how = if known.is_some() { "replaced" } else { "started" };
        let process = match known {
            // By the engine before this one.
            Some(standing) if is_of(&standing.process, scope) => {
                standing.process.refresh(Launch::single(definition, scope));
                return Ok(());
            }
            Some(standing) => {
                standing.process.refresh(Launch::single(definition, scope));
                standing.process
            }
            None => {
                let process = self.stand_beside(definition, scope);
                let standing = Standing {
                    id: definition.id.clone(),
                    process: process.clone(),
                };
                let mut book = self.engine.book();
                book.singletons.push(standing);
                self.engine.note_book(&book);
                process
            }
        };
        fail_point::reached("before a singleton is replaced").await;
        // One task owns the process, so the old one has no live member left before the new one is spawned.
        process
            .restart(self.reason)
            .await
            .map_err(|error| Failure::start(&process, error))?;
        tell_started(&process, how, DeployPhase::Singletons, &self.progress);
        Ok(())
    }
}

/// Whether what runs, or last ran, was started for the release of `scope`. One that is being stopped is on its way from an
/// earlier release to this one.
fn is_of(process: &ManagedProcess, scope: &Scope) -> bool {
    let status = process.status();
    let is_there = !status.condition.is_at_rest() && status.condition != Condition::Stopping;
    is_there && status.release_id == scope.release_id && status.instance == scope.instance
}
