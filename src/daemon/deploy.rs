//! A deploy: the thin loop around [`Sequence`], one method a phase.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::time::Instant;

use super::request::{Naming, pin};
use super::sequence::{Next, Outcome, Sequence};
use super::standing::{Standing, keeps_port, services, singletons};
use super::turn::{Cancel, Held};
use super::{DeployFailure, DeployRequest, Engine, EngineError};
use crate::clock::Timestamp;
use crate::config::ProcessDefinition;
use crate::error::plain;
use crate::events::Milestone;
use crate::process::{Launch, ManagedProcess, Scope, StartReason};
use crate::release::health::Target;
use crate::release::lifecycle::Phase;
use crate::release::ports::try_bind;
use crate::release::{
    Blueprint, Cause, DeployPhase, Detail, Failure, Progress, Release, ReleaseKey, start, stop_all,
};

/// What a deploy came to.
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
        self.refuse_when_closing("deploy")?;
        let naming = request.naming(Timestamp::now())?;
        let description = format!("the deploy of {}", naming.id);
        let held = match request.wait {
            true => self.inner.turn.wait(&description, Some(&naming.id)).await,
            false => self
                .inner
                .turn
                .take(&description, Some(&naming.id))
                .map_err(|running| EngineError::DeployInProgress { running })?,
        };
        // A shutdown may have begun while this one stood in the queue.
        self.refuse_when_closing("deploy")?;
        let deploy = Deploy {
            engine: self.clone(),
            reason: StartReason::Deploy,
            progress,
            naming,
            asked_path: request.release_path,
            path: PathBuf::new(),
            ports: BTreeMap::new(),
            reserved: Vec::new(),
            release: None,
            started_services: Vec::new(),
        };
        match tokio::spawn(deploy.run(held)).await {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    fn refuse_when_closing(&self, what: &'static str) -> Result<(), EngineError> {
        match self.inner.closing.is_cancelled() {
            true => Err(EngineError::ShuttingDown(what)),
            false => Ok(()),
        }
    }
}

/// One deploy and what it has done so far.
struct Deploy {
    engine: Engine,
    reason: StartReason,
    progress: Progress,
    naming: Naming,
    asked_path: PathBuf,
    /// The release path with its links followed; set by the first phase.
    path: PathBuf,
    ports: BTreeMap<String, u16>,
    /// Ports this deploy reserved, and whether a process keeps them after the release.
    reserved: Vec<(u16, bool)>,
    release: Option<Arc<Release>>,
    started_services: Vec<ManagedProcess>,
}

impl Deploy {
    async fn run(mut self, held: Held) -> Result<Outgoing, EngineError> {
        let begun = Instant::now();
        self.engine.record(Milestone::DeployStarting {
            release_id: self.naming.id.clone(),
            release_path: self.asked_path.display().to_string(),
            revision: self.naming.revision.clone(),
        });
        self.engine
            .book()
            .releases
            .retain(|release| release.phase() != Phase::Failed);
        let previous = self.engine.book().active();
        let (mut sequence, mut next) = Sequence::begin();
        loop {
            let Next::Perform(phase) = next else {
                unreachable!("only `Perform` goes on")
            };
            let failure = self.perform_unless_cancelled(phase, &held.cancel).await;
            let outcome = match &failure {
                Ok(()) => Outcome::Done,
                Err(failure) if matches!(failure.cause, Cause::Cancelled(_)) => Outcome::Cancelled,
                Err(_) => Outcome::Failed,
            };
            next = sequence.next(outcome);
            match (next, failure) {
                (Next::Perform(_), _) => {}
                (Next::Undo, Err(failure)) => return Err(self.fail(phase, failure).await),
                (Next::FinishDespiteFailure, Err(failure)) => {
                    self.retire(previous.as_ref());
                    return Err(self.fail_behind_switch(phase, failure));
                }
                (Next::Finish, _) | (_, Ok(())) => break,
            }
        }
        self.retire(previous.as_ref());
        let release_id = self.naming.id;
        let elapsed_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.engine.record(Milestone::DeployFinished {
            release_id: release_id.clone(),
            elapsed_ms,
        });
        let previous_release_id = previous.as_ref().map(|release| release.key().id.clone());
        Ok(Outgoing {
            deployed: Deployed {
                active_release_id: release_id,
                previous_release_id,
            },
            previous,
        })
    }

    async fn perform_unless_cancelled(&mut self, phase: DeployPhase, cancel: &Cancel) -> Result<(), Failure> {
        if !Sequence::may_interrupt(phase) {
            return self.perform(phase).await;
        }
        tokio::select! {
            biased;
            by = cancel.pressed() => Err(Failure::general(Cause::Cancelled(by))),
            outcome = self.perform(phase) => outcome,
        }
    }

    async fn perform(&mut self, phase: DeployPhase) -> Result<(), Failure> {
        match phase {
            DeployPhase::Config => self.check_path(),
            DeployPhase::Ports => self.reserve_ports().await,
            DeployPhase::Services => self.start_services().await,
            DeployPhase::Companions => self.release().start_companions(self.reason, &self.progress).await,
            DeployPhase::Proxied => self.release().start_proxied(self.reason, &self.progress).await,
            DeployPhase::Health => self.release().wait_until_healthy(&self.progress).await,
            DeployPhase::Switch => {
                self.switch().await;
                Ok(())
            }
            DeployPhase::Singletons => self.replace_singletons().await,
        }
    }

    fn release(&self) -> Arc<Release> {
        self.release.clone().expect("the phase `ports` made the release")
    }

    fn check_path(&mut self) -> Result<(), Failure> {
        let asked = self.asked_path.display().to_string();
        self.path = pin(&self.asked_path)
            .map_err(|reason| Failure::general(Cause::ReleasePath { path: asked, reason }))?;
        let message = format!("deploying {} from {}", self.naming.id, self.path.display());
        self.progress.tell(DeployPhase::Config, message);
        Ok(())
    }

    /// Reserves every port the release's processes need and puts the release on the books.
    async fn reserve_ports(&mut self) -> Result<(), Failure> {
        let config = self.engine.inner.config.clone();
        let host = self.resolve_upstream(0).await?.ip();
        for definition in &config.processes {
            self.reserve_port(definition, host)?;
        }
        let proxied = config.proxied();
        let port = *self
            .ports
            .get(&proxied.id)
            .expect("a checked config gives the proxied process a port");
        let upstream = &config.proxy.upstream_host;
        let bracketed = if upstream.contains(':') {
            format!("[{upstream}]")
        } else {
            upstream.clone()
        };
        let target = Target {
            address: SocketAddr::new(host, port),
            authority: format!("{bracketed}:{port}"),
        };
        let message = self
            .ports
            .iter()
            .map(|(id, port)| format!("{id} {port}"))
            .collect::<Vec<_>>()
            .join(", ");
        self.progress.tell(DeployPhase::Ports, message);

        let mut book = self.engine.book();
        let id = self.naming.id.clone();
        let instances = book.releases.iter().filter(|release| release.key().id == id);
        let instance = instances.map(|release| release.key().instance).max().unwrap_or(0) + 1;
        let key = ReleaseKey { id, instance };
        let scope = Arc::new(Scope {
            application: config.application.clone(),
            release_id: self.naming.id.clone(),
            release_path: self.path.clone(),
            revision: self.naming.revision.clone(),
            ports: self.ports.clone(),
            proxy_host: config.proxy.host.clone(),
            proxy_port: self.engine.inner.proxy.local_address().port(),
            upstream_host: config.proxy.upstream_host.clone(),
            environment: self.engine.inner.environment.clone(),
        });
        let blueprint = Blueprint {
            key,
            path: self.path.clone(),
            revision: self.naming.revision.clone(),
            config: config.clone(),
            ports: self.ports.clone(),
            scope,
            target,
        };
        let release = Release::new(blueprint, &self.engine.inner.host, &self.engine.inner.events);
        book.releases.push(release.clone());
        drop(book);
        self.engine
            .follow_to_its_end(&release, self.reserved_for_release());
        self.release = Some(release);
        Ok(())
    }

    fn reserve_port(&mut self, definition: &ProcessDefinition, host: IpAddr) -> Result<(), Failure> {
        let Some(spec) = &definition.port else {
            return Ok(());
        };
        let mut book = self.engine.book();
        let standing = book.services.iter().chain(&book.singletons);
        let kept = standing.filter(|standing| standing.id == definition.id);
        if let Some(port) = kept.filter_map(|standing| standing.process.status().port).next() {
            self.ports.insert(definition.id.clone(), port);
            return Ok(());
        }
        let port = book
            .ports
            .reserve(&definition.id, spec, |port| try_bind(host, port))
            .map_err(|error| Failure::port(&definition.id, &error))?;
        self.ports.insert(definition.id.clone(), port);
        self.reserved.push((port, keeps_port(definition)));
        Ok(())
    }

    fn reserved_for_release(&self) -> Vec<u16> {
        self.reserved
            .iter()
            .filter(|(_, kept)| !kept)
            .map(|(port, _)| *port)
            .collect()
    }

    async fn resolve_upstream(&self, port: u16) -> Result<SocketAddr, Failure> {
        let host = &self.engine.inner.config.proxy.upstream_host;
        let none = |reason: String| {
            Failure::general(Cause::UpstreamHost {
                host: host.clone(),
                reason,
            })
        };
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(SocketAddr::new(address, port));
        }
        let mut addresses: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), port))
            .await
            .map_err(|error| none(plain(&error)))?
            .collect();
        // `localhost` often has both: most apps listen on the IPv4 one when told so by name.
        addresses.sort_by_key(|address| !address.is_ipv4());
        let fallback = || match host.as_str() {
            "localhost" => Some(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)),
            _ => None,
        };
        addresses
            .first()
            .copied()
            .or_else(fallback)
            .ok_or_else(|| none("it resolves to nothing".to_owned()))
    }

    /// Starts the persistent services that do not run yet, then the release's own handoff services.
    async fn start_services(&mut self) -> Result<(), Failure> {
        let release = self.release();
        for definition in services(&release.blueprint().config) {
            let known = self
                .engine
                .book()
                .services
                .iter()
                .any(|service| service.id == definition.id);
            if known {
                continue;
            }
            let process = self.stand_beside(definition, &release);
            self.started_services.push(process.clone());
            self.engine.book().services.push(Standing {
                id: definition.id.clone(),
                process: process.clone(),
            });
            start(&process, self.reason, DeployPhase::Services, &self.progress).await?;
        }
        release.start_handoffs(self.reason, &self.progress).await
    }

    fn stand_beside(&self, definition: &ProcessDefinition, release: &Release) -> ManagedProcess {
        let (host, events) = (self.engine.inner.host.clone(), self.engine.inner.events.clone());
        let launch = Launch::single(definition, &release.blueprint().scope);
        ManagedProcess::supervise(host, events, launch, true)
    }

    async fn switch(&self) {
        let release = self.release();
        self.engine
            .inner
            .proxy
            .switch(Some(release.route().clone()))
            .await;
        let key = release.key().clone();
        let previous = self.engine.book().active.replace(key.clone());
        release.activated();
        release.watch_proxied();
        self.progress
            .tell(DeployPhase::Switch, format!("traffic is on {}", key.id));
        self.engine.record(Milestone::TrafficSwitched {
            release_id: key.id,
            instance: key.instance,
            previous_release_id: previous.map(|key| key.id),
        });
    }

    /// Points services at the new release for their next start, then replaces singletons one at a time.
    async fn replace_singletons(&mut self) -> Result<(), Failure> {
        let release = self.release();
        let scope = &release.blueprint().scope;
        let config = &release.blueprint().config;
        for service in self.engine.book().services.iter() {
            if let Some(definition) = config.process(&service.id) {
                service.process.refresh(Launch::single(definition, scope));
            }
        }
        for definition in singletons(config) {
            let known = self
                .engine
                .book()
                .singletons
                .iter()
                .find(|one| one.id == definition.id)
                .cloned();
            let replaced = known.is_some();
            let process = match known {
                Some(standing) => {
                    standing.process.refresh(Launch::single(definition, scope));
                    standing.process
                }
                None => {
                    let process = self.stand_beside(definition, &release);
                    let standing = Standing {
                        id: definition.id.clone(),
                        process: process.clone(),
                    };
                    self.engine.book().singletons.push(standing);
                    process
                }
            };
            // One task owns the process, so the old one has no live member left before the new one is spawned.
            process
                .restart(self.reason)
                .await
                .map_err(|error| Failure::start(&process, error))?;
            let status = process.status();
            let detail = Detail::Started {
                pid: status.pid,
                port: status.port,
            };
            let message = format!(
                "{} {}",
                definition.id,
                if replaced { "replaced" } else { "started" }
            );
            self.progress
                .tell_of(DeployPhase::Singletons, &definition.id, message, detail);
        }
        Ok(())
    }

    fn retire(&self, previous: Option<&Arc<Release>>) {
        if let Some(previous) = previous {
            previous.retired(self.engine.inner.config.proxy.drain_timeout);
        }
    }

    /// Undoes exactly what this deploy started, and makes the error.
    async fn fail(self, phase: DeployPhase, failure: Failure) -> EngineError {
        self.progress.tell(phase, format!("failed: {failure}; undoing"));
        let services = self
            .started_services
            .iter()
            .map(|process| process.identity().base_id.clone());
        let services: Vec<String> = services.collect();
        match &self.release {
            Some(release) => release.undo().await,
            None => self.engine.book().ports.release(self.reserved_for_release()),
        }
        stop_all(self.started_services.iter()).await;
        {
            let mut book = self.engine.book();
            book.services.retain(|service| !services.contains(&service.id));
            book.ports.release(
                self.reserved
                    .iter()
                    .filter(|(_, kept)| *kept)
                    .map(|(port, _)| *port),
            );
        }
        self.report(phase, failure)
    }

    fn fail_behind_switch(self, phase: DeployPhase, failure: Failure) -> EngineError {
        self.progress.tell(phase, format!("failed: {failure}"));
        self.report(phase, failure)
    }

    fn report(self, phase: DeployPhase, failure: Failure) -> EngineError {
        let active_release_id = self.engine.book().active.as_ref().map(|key| key.id.clone());
        let failed = DeployFailure {
            release_id: self.naming.id,
            phase,
            failure,
            active_release_id,
        };
        let process_id = failed.failure.process_id.clone();
        let (release_id, phase) = (failed.release_id.clone(), phase.as_str().to_owned());
        let error = EngineError::Deploy(Box::new(failed));
        let code = error.code().as_str().to_owned();
        self.engine.record(Milestone::DeployFailed {
            release_id,
            phase,
            code,
            process_id,
        });
        error
    }
}
