//! One release: its processes in their start order, its ports, its health check, its drain.
//!
//! A release never knows of another one. What it does next is decided by the pure machine in [`lifecycle`].

mod checks;
mod failure;
pub mod health;
pub mod lifecycle;
mod noting;
pub mod ports;
mod progress;
pub mod retention;
mod start;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::clock::{SteadyClock, Timestamp};
use crate::config::{Config, DeployStrategy, Policy, ProcessDefinition};
use crate::events::{EventLog, Milestone};
use crate::host::ProcessHost;
use crate::process::{Condition, Launch, ManagedProcess, Rules, Scope, StartReason};
use crate::proxy::Route;

pub use failure::{Cause, Failure};
pub use noting::Surroundings;
pub use progress::{DeployPhase, Detail, Progress, Step};
pub use start::{start, stop_all, tell_started};

use health::Target;
use lifecycle::{Action, Input, Life, Phase};
use start::start_all;

/// Names one instance of a release: the same id deployed again is another instance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReleaseKey {
    /// The release id.
    pub id: String,
    /// Counts the deploys of that id, from 1.
    pub instance: u64,
}

impl fmt::Display for ReleaseKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.instance {
            1 => formatter.write_str(&self.id),
            instance => write!(formatter, "{} (instance {instance})", self.id),
        }
    }
}

/// What a release is made of.
#[derive(Clone, Debug)]
pub struct Blueprint {
    /// Its name.
    pub key: ReleaseKey,
    /// Its folder, absolute and free of links.
    pub path: PathBuf,
    /// Its revision.
    pub revision: String,
    /// The config it was deployed with.
    pub config: Arc<Config>,
    /// The port of every process that has one, by base id.
    pub ports: BTreeMap<String, u16>,
    /// Those of them that are given back when it is over.
    pub reserved: Vec<u16>,
    /// What its processes' templates and environment are made from.
    pub scope: Arc<Scope>,
    /// Where its web process listens.
    pub target: Target,
}

/// Its processes, by when they are started and stopped.
struct Parts {
    handoffs: Vec<ManagedProcess>,
    companions: Vec<ManagedProcess>,
    proxied: ManagedProcess,
}

/// One deployed version and its processes.
#[derive(Debug)]
pub struct Release {
    blueprint: Blueprint,
    host: Arc<dyn ProcessHost>,
    handoffs: Vec<ManagedProcess>,
    companions: Vec<ManagedProcess>,
    proxied: ManagedProcess,
    route: Route,
    events: Arc<EventLog>,
    life: Mutex<Life>,
    /// What a drain is measured by, whatever is done to the system's clock and whichever engine goes on with it.
    clock: SteadyClock,
    phase: watch::Sender<Phase>,
    drain_watch: Mutex<Option<AbortHandle>>,
    /// The config it retires by: its own, until another release takes over with a newer one.
    retires_by: Mutex<Arc<Config>>,
}

impl Release {
    /// A release whose processes are not started yet.
    pub fn new(blueprint: Blueprint, host: &Arc<dyn ProcessHost>, events: &Arc<EventLog>) -> Arc<Release> {
        let supervise = |launch: Launch, restarts_allowed: bool| {
            ManagedProcess::supervise(host.clone(), events.clone(), launch, restarts_allowed)
        };
        let of = |wanted: fn(&ProcessDefinition) -> bool| {
            let definitions = blueprint
                .config
                .processes
                .iter()
                .filter(move |definition| wanted(definition));
            definitions.flat_map(|definition| Launch::replicas(definition, &blueprint.scope))
        };
        let proxied = of(|definition| definition.policy == Policy::Proxied).next();
        let parts = Parts {
            handoffs: of(is_handoff).map(|launch| supervise(launch, true)).collect(),
            companions: of(|definition| definition.policy == Policy::Companion)
                .map(|launch| supervise(launch, true))
                .collect(),
            // Not restarted before the release is active: an exit while it starts fails the deploy.
            proxied: supervise(
                proxied.expect("a checked config has exactly one proxied process"),
                false,
            ),
        };
        let retires_by = blueprint.config.clone();
        let life = (Life::default(), SteadyClock::start());
        let release = Release::assemble(blueprint, parts, life, retires_by, host, events);
        release.note();
        release
    }

    fn assemble(
        blueprint: Blueprint,
        parts: Parts,
        (life, clock): (Life, SteadyClock),
        retires_by: Arc<Config>,
        host: &Arc<dyn ProcessHost>,
        events: &Arc<EventLog>,
    ) -> Arc<Release> {
        let release = Arc::new(Release {
            host: host.clone(),
            handoffs: parts.handoffs,
            companions: parts.companions,
            proxied: parts.proxied,
            route: Route::new(blueprint.target.address),
            events: events.clone(),
            phase: watch::channel(life.phase()).0,
            life: Mutex::new(life),
            clock,
            drain_watch: Mutex::new(None),
            retires_by: Mutex::new(retires_by),
            blueprint,
        });
        release.watch_proxied();
        release
    }

    /// What it is made of.
    pub fn blueprint(&self) -> &Blueprint {
        &self.blueprint
    }

    /// Its name.
    pub fn key(&self) -> &ReleaseKey {
        &self.blueprint.key
    }

    /// Where it stands, with the times of its phases.
    pub fn life(&self) -> Life {
        self.life.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where it stands.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Its route through the proxy, with the counts of its connections.
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// Its own processes, in start order.
    pub fn processes(&self) -> impl Iterator<Item = &ManagedProcess> {
        self.handoffs
            .iter()
            .chain(&self.companions)
            .chain([&self.proxied])
    }

    /// Starts its handoff services.
    pub async fn start_handoffs(&self, reason: StartReason, progress: &Progress) -> Result<(), Failure> {
        start_all(&self.handoffs, reason, DeployPhase::Services, progress).await
    }

    /// Starts its companions.
    pub async fn start_companions(&self, reason: StartReason, progress: &Progress) -> Result<(), Failure> {
        start_all(&self.companions, reason, DeployPhase::Companions, progress).await
    }

    /// Starts its web process.
    pub async fn start_proxied(&self, reason: StartReason, progress: &Progress) -> Result<(), Failure> {
        start_all(
            std::slice::from_ref(&self.proxied),
            reason,
            DeployPhase::Proxied,
            progress,
        )
        .await
    }

    /// Every proxy worker sends new requests here.
    pub fn activated(self: &Arc<Self>) {
        self.apply(Input::Activated);
    }

    /// New requests go to another release from now on.
    pub fn superseded(self: &Arc<Self>) {
        self.apply(Input::Superseded);
    }

    /// Another release took over, by `config`: drains, then stops, all in the background.
    pub fn retired(self: &Arc<Self>, config: &Arc<Config>) {
        *self.retires_by.lock().unwrap_or_else(PoisonError::into_inner) = config.clone();
        self.retire_by_rules();
        self.apply(Input::Retired {
            drain: config.proxy.drain_timeout,
        });
    }

    fn retire_by_rules(&self) {
        let config = self.retiring_config();
        for process in self.processes() {
            if let Some(definition) = config.process(&process.identity().base_id) {
                process.set_rules(Rules::of(definition));
            }
        }
    }

    fn retiring_config(&self) -> Arc<Config> {
        let config = self.retires_by.lock().unwrap_or_else(PoisonError::into_inner);
        config.clone()
    }

    /// Stops the drain, to put the release back; false if it is too late for that.
    pub fn reclaim(self: &Arc<Self>) -> bool {
        self.apply(Input::Reclaimed);
        self.phase() == Phase::Returning
    }

    /// Stops it, wherever it is in its life; returns once nothing of it runs.
    pub async fn stop(self: &Arc<Self>) {
        self.apply(Input::StopRequested);
        self.wait_until_over().await;
    }

    /// Undoes a start that failed; returns once nothing of it runs.
    pub async fn undo(self: &Arc<Self>) {
        self.apply(Input::StartFailed);
        self.wait_until_over().await;
    }

    /// Waits until nothing of it runs.
    pub async fn wait_until_over(&self) {
        let mut phase = self.phase.subscribe();
        // The sender lives in this very release.
        let _ = phase.wait_for(|phase| phase.is_over()).await;
    }

    /// Waits until it does not drain any more: nothing of it runs, or it serves again.
    pub async fn wait_until_drained(&self) {
        let mut phase = self.phase.subscribe();
        // The sender lives in this very release.
        let _ = phase
            .wait_for(|phase| phase.is_over() || *phase == Phase::Active)
            .await;
    }

    fn apply(self: &Arc<Self>, input: Input) {
        let actions = {
            let mut life = self.life.lock().unwrap_or_else(PoisonError::into_inner);
            let actions = life.next(input, self.clock.moment());
            // Published before the actions, so that whatever they lead to finds the new phase.
            if !life.phase().is_over() {
                self.phase.send_replace(life.phase());
            }
            actions
        };
        // Before the deeds: the next engine does what this one has not come to.
        self.note();
        for action in actions {
            self.carry_out(action);
        }
    }

    fn carry_out(self: &Arc<Self>, action: Action) {
        match action {
            Action::AllowRestarts(allowed) => self
                .processes()
                .for_each(|process| process.allow_restarts(allowed)),
            Action::StopEarly => self.stop_early(),
            Action::WatchConnections { until } => self.watch_connections(until),
            Action::CloseConnections { drained } => self.close_connections(drained),
            Action::StopProcesses => drop(tokio::spawn(self.clone().stop_processes())),
            Action::Conclude => {
                self.events.record(Milestone::ReleaseStopped {
                    release_id: self.key().id.clone(),
                    instance: self.key().instance,
                });
                self.phase.send_replace(self.life().phase());
            }
        }
    }

    fn stop_early(&self) {
        let config = self.retiring_config();
        for process in &self.companions {
            let id = &process.identity().base_id;
            let definition = config.process(id).or_else(|| self.blueprint.config.process(id));
            if definition.is_some_and(|definition| definition.non_blocking_drain) {
                let process = process.clone();
                tokio::spawn(async move { process.stop().await });
            }
        }
    }

    fn watch_connections(self: &Arc<Self>, until: Timestamp) {
        let connections = self.route.connections();
        self.events.record(Milestone::ReleaseDraining {
            release_id: self.key().id.clone(),
            instance: self.key().instance,
            http: connections.http(),
            websocket: connections.websocket(),
        });
        self.watch_until(until);
    }

    fn watch_until(self: &Arc<Self>, until: Timestamp) {
        let release = self.clone();
        let deadline = self.clock.instant(until);
        let watch = tokio::spawn(async move {
            let idle = tokio::time::timeout_at(deadline, release.route.connections().wait_idle()).await;
            release.apply(if idle.is_ok() {
                Input::Idle
            } else {
                Input::DrainTimeUp
            });
        });
        self.replace_drain_watch(Some(watch.abort_handle()));
    }

    fn close_connections(&self, drained: bool) {
        let cut = self.route.connections().close();
        if drained {
            let life = self.life();
            let now = self.clock.now();
            let since = life.draining_since().unwrap_or(now);
            self.events.record(Milestone::ReleaseDrained {
                release_id: self.key().id.clone(),
                instance: self.key().instance,
                elapsed_ms: u64::try_from(now.since(since).as_millis()).unwrap_or(u64::MAX),
                cut_http: cut.http,
                cut_websocket: cut.websocket,
            });
        }
    }

    fn replace_drain_watch(&self, watch: Option<AbortHandle>) {
        let mut current = self.drain_watch.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(earlier) = std::mem::replace(&mut *current, watch) {
            earlier.abort();
        }
    }

    /// Companions and the web process together; handoff services last, for the others may still need them.
    async fn stop_processes(self: Arc<Self>) {
        stop_all(self.companions.iter().chain([&self.proxied])).await;
        stop_all(self.handoffs.iter()).await;
        self.apply(Input::ProcessesStopped);
    }

    /// Tells the proxy while the web process stops, so that it gets no further requests over connections it has open; and
    /// when it will not come back, so that nobody waits for it in vain.
    fn watch_proxied(&self) {
        let proxied = self.proxied.clone();
        let connections = self.route.connections().clone();
        let follow = async move {
            let mut last = Condition::Stopped;
            loop {
                let status = proxied.wait_for(|status| status.condition != last).await;
                last = status.condition;
                connections.set_stopping(last == Condition::Stopping);
                connections.set_failed(last == Condition::Failed);
            }
        };
        let mut phase = self.phase.subscribe();
        tokio::spawn(async move {
            tokio::select! {
                // Also when the release itself is forgotten.
                _ = phase.wait_for(|phase| phase.is_over()) => {}
                () = follow => {}
            }
        });
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        self.host.note(vec![(noting::key_of(self.key()), None)]);
    }
}

fn is_handoff(definition: &ProcessDefinition) -> bool {
    definition.policy == Policy::Service && definition.deploy_strategy == DeployStrategy::Handoff
}
