//! One release: its processes in their start order, its ports, its health check, its drain.
//!
//! A release never knows of another one. What it does next is decided by the pure machine in [`lifecycle`].

mod failure;
pub mod health;
pub mod lifecycle;
pub mod ports;
mod progress;
pub mod retention;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use crate::clock::Timestamp;
use crate::config::{Config, DeployStrategy, Health, Policy, ProcessDefinition};
use crate::events::{EventLog, Milestone};
use crate::host::{ProcessHost, listeners};
use crate::process::{Condition, Launch, ManagedProcess, Rules, Scope, StartReason, Status};
use crate::proxy::Route;

pub use failure::{Cause, Failure};
pub use progress::{DeployPhase, Detail, Progress, Step};

use health::Target;
use lifecycle::{Action, Input, Life, Phase};

/// Names one instance of a release: the same id deployed again is another instance.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
    /// What its processes' templates and environment are made from.
    pub scope: Arc<Scope>,
    /// Where its web process listens.
    pub target: Target,
}

/// One deployed version and its processes.
#[derive(Debug)]
pub struct Release {
    blueprint: Blueprint,
    handoffs: Vec<ManagedProcess>,
    companions: Vec<ManagedProcess>,
    proxied: ManagedProcess,
    route: Route,
    events: Arc<EventLog>,
    life: Mutex<Life>,
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
        let route = Route::new(blueprint.target.address);
        Arc::new(Release {
            handoffs: of(is_handoff).map(|launch| supervise(launch, true)).collect(),
            companions: of(|definition| definition.policy == Policy::Companion)
                .map(|launch| supervise(launch, true))
                .collect(),
            // Not restarted before the release is active: an exit while it starts fails the deploy.
            proxied: supervise(
                proxied.expect("a checked config has exactly one proxied process"),
                false,
            ),
            route,
            events: events.clone(),
            life: Mutex::new(Life::default()),
            phase: watch::channel(Phase::Starting).0,
            drain_watch: Mutex::new(None),
            retires_by: Mutex::new(blueprint.config.clone()),
            blueprint,
        })
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

    /// Waits until the web process answers its health check. Fails at once when a process of the release fails.
    pub async fn wait_until_healthy(&self, progress: &Progress) -> Result<(), Failure> {
        let id = &self.proxied.identity().id;
        let Some(health) = self.health() else {
            progress.tell(DeployPhase::Health, "no health check is configured");
            return self.check_processes();
        };
        let target = &self.blueprint.target;
        progress.tell(
            DeployPhase::Health,
            format!("asking GET {} on {}", health.path, target.address),
        );
        let watch = |attempt: &health::Attempt| {
            let detail = Detail::Probe {
                attempt: attempt.number,
                elapsed: attempt.elapsed,
            };
            let message = format!("probe {}: {}", attempt.number, attempt.answer);
            progress.tell_of(DeployPhase::Health, id, message, detail);
        };
        tokio::select! {
            biased;
            failed = self.first_failed() => Err(Failure::exited(&failed, "before the release was healthy")),
            outcome = health::wait_until_healthy(target, health, watch) => match outcome {
                Ok(attempt) => {
                    // Whoever answered, a process of this release that is gone by now makes it unfit.
                    self.check_processes()?;
                    self.look_for_strangers().await;
                    self.events.record(Milestone::ReleaseHealthy {
                        release_id: self.key().id.clone(),
                        probes: attempt.number,
                        elapsed_ms: u64::try_from(attempt.elapsed.as_millis()).unwrap_or(u64::MAX),
                    });
                    Ok(())
                }
                Err(timeout) => Err(Failure::unhealthy(&self.proxied, timeout)),
            },
        }
    }

    /// Every proxy worker sends new requests here.
    pub fn activated(self: &Arc<Self>) {
        self.apply(Input::Activated);
        self.watch_proxied();
    }

    /// Another release took over, by `config`: drains, then stops, all in the background.
    pub fn retired(self: &Arc<Self>, config: &Arc<Config>) {
        *self.retires_by.lock().unwrap_or_else(PoisonError::into_inner) = config.clone();
        for process in self.processes() {
            if let Some(definition) = config.process(&process.identity().base_id) {
                process.set_rules(Rules::of(definition));
            }
        }
        self.apply(Input::Retired {
            drain: config.proxy.drain_timeout,
        });
    }

    /// Stops the drain, to put the release back; false if it is too late for that.
    pub fn reclaim(self: &Arc<Self>) -> bool {
        self.apply(Input::Reclaimed);
        self.phase() == Phase::Returning
    }

    /// Whether its web process runs and, if it is to be asked, answers one fresh health probe with a 2xx.
    pub async fn answers(&self) -> bool {
        if self.proxied.status().condition != Condition::Running {
            return false;
        }
        match self.health() {
            None => true,
            Some(health) => {
                let probe = health::probe(&self.blueprint.target, &health.path);
                let answer = tokio::time::timeout(health.request_timeout, probe).await;
                answer.is_ok_and(|answer| answer.is_healthy())
            }
        }
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

    fn apply(self: &Arc<Self>, input: Input) {
        let actions = {
            let mut life = self.life.lock().unwrap_or_else(PoisonError::into_inner);
            let actions = life.next(input, Timestamp::now());
            // Published before the actions, so that whatever they lead to finds the new phase.
            if !life.phase().is_over() {
                self.phase.send_replace(life.phase());
            }
            actions
        };
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

    fn health(&self) -> Option<&Health> {
        self.blueprint
            .config
            .process(&self.proxied.identity().id)?
            .health
            .as_ref()
    }

    fn stop_early(&self) {
        let config = self
            .retires_by
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
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
        let release = self.clone();
        let deadline = Instant::now() + until.since(Timestamp::now());
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
            let since = life.drain_started_at().unwrap_or_else(Timestamp::now);
            self.events.record(Milestone::ReleaseDrained {
                release_id: self.key().id.clone(),
                instance: self.key().instance,
                elapsed_ms: u64::try_from(Timestamp::now().since(since).as_millis()).unwrap_or(u64::MAX),
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

    /// Names whoever listens on the release's port without belonging to its web process. Only a warning: a container's
    /// port is held by its runtime.
    async fn look_for_strangers(&self) {
        let address = self.blueprint.target.address;
        let listening = listeners(address);
        let members = self.proxied.members().await;
        if listening
            .iter()
            .any(|listener| members.iter().any(|member| member.pid == listener.pid))
        {
            return;
        }
        for stranger in listening {
            self.events.record(Milestone::StrangerOnPort {
                release_id: self.key().id.clone(),
                process_id: self.proxied.identity().id.clone(),
                port: address.port(),
                pid: stranger.pid,
                command: stranger.command,
            });
        }
    }

    fn check_processes(&self) -> Result<(), Failure> {
        match self
            .processes()
            .find(|process| process.status().condition.is_at_rest())
        {
            Some(process) => Err(Failure::exited(process, "before the release was healthy")),
            None => Ok(()),
        }
    }

    /// The first of its processes that will not come up again by itself.
    async fn first_failed(&self) -> ManagedProcess {
        let mut waiting = JoinSet::new();
        for process in self.processes().cloned() {
            waiting.spawn(async move {
                process
                    .wait_for(|status: &Status| status.condition.is_at_rest())
                    .await;
                process
            });
        }
        match waiting.join_next().await {
            Some(Ok(process)) => process,
            // A release always has a web process, and waiting for a status neither panics nor is aborted.
            _ => std::future::pending().await,
        }
    }

    /// Tells the proxy when the web process will not come back, so that nobody waits for it in vain.
    fn watch_proxied(&self) {
        let proxied = self.proxied.clone();
        let connections = self.route.connections().clone();
        let follow = async move {
            let mut failed = false;
            loop {
                proxied
                    .wait_for(|status| (status.condition == Condition::Failed) != failed)
                    .await;
                failed = !failed;
                connections.set_failed(failed);
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

fn is_handoff(definition: &ProcessDefinition) -> bool {
    definition.policy == Policy::Service && definition.deploy_strategy == DeployStrategy::Handoff
}

async fn start_all(
    processes: &[ManagedProcess],
    reason: StartReason,
    phase: DeployPhase,
    progress: &Progress,
) -> Result<(), Failure> {
    for process in processes {
        start(process, reason, phase, progress).await?;
    }
    Ok(())
}

/// Starts one process for a deploy and tells so.
pub async fn start(
    process: &ManagedProcess,
    reason: StartReason,
    phase: DeployPhase,
    progress: &Progress,
) -> Result<(), Failure> {
    if process.status().condition == Condition::Running {
        return Ok(());
    }
    process
        .start(reason)
        .await
        .map_err(|error| Failure::start(process, error))?;
    tell_started(process, "started", phase, progress);
    Ok(())
}

/// Tells that a process was just started, or replaced.
pub fn tell_started(process: &ManagedProcess, how: &str, phase: DeployPhase, progress: &Progress) {
    let id = &process.identity().id;
    let Status { pid, port, .. } = process.status();
    let pid_text = pid.map(|pid| format!(", pid {pid}")).unwrap_or_default();
    let port_text = port.map(|port| format!(", port {port}")).unwrap_or_default();
    progress.tell_of(
        phase,
        id,
        format!("{id} {how}{pid_text}{port_text}"),
        Detail::Started { pid, port },
    );
}

/// Stops processes side by side; returns once nothing of any of them runs.
pub async fn stop_all(processes: impl Iterator<Item = &ManagedProcess>) {
    let mut stopping = JoinSet::new();
    for process in processes {
        let process = process.clone();
        stopping.spawn(async move { process.stop().await });
    }
    while stopping.join_next().await.is_some() {}
}
