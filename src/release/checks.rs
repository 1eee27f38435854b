//! Whether a release is fit to serve: its health check, its processes, and who really listens on its port.

use std::time::Duration;

use tokio::task::JoinSet;

use super::{DeployPhase, Detail, Failure, Progress, Release, health};
use crate::config::{Health, Policy};
use crate::events::Milestone;
use crate::host::{listeners, listens};
use crate::process::{Condition, ManagedProcess, Status};

impl Release {
    /// Waits until the web process answers its health check. Fails at once when a process of the release fails, or one
    /// of the services that were started for it.
    pub async fn wait_until_healthy(
        &self,
        services: &[ManagedProcess],
        progress: &Progress,
    ) -> Result<(), Failure> {
        let id = &self.proxied.identity().id;
        let Some(health) = self.health() else {
            progress.tell(DeployPhase::Health, "no health check is configured");
            return self.check_processes(services);
        };
        let target = &self.blueprint.target;
        progress.tell(
            DeployPhase::Health,
            format!("asking GET {} on {}", health.path, target.address),
        );
        let mut told: Option<health::Attempt> = None;
        let watch = |attempt: &health::Attempt| {
            if told.as_ref().is_some_and(|last| !is_news(last, attempt)) {
                return;
            }
            let detail = Detail::Probe {
                attempt: attempt.number,
                elapsed: attempt.elapsed,
            };
            let message = format!("probe {}: {}", attempt.number, attempt.answer);
            progress.tell_of(DeployPhase::Health, id, message, detail);
            told = Some(attempt.clone());
        };
        tokio::select! {
            biased;
            failed = self.first_failed(services) => Err(Failure::exited(&failed, "before the release was healthy")),
            outcome = health::wait_until_healthy(target, health, watch) => match outcome {
                Ok(attempt) => {
                    // Whoever answered, a process of this release that is gone by now makes it unfit.
                    self.check_processes(services)?;
                    self.events.record(Milestone::ReleaseHealthy {
                        release_id: self.key().id.clone(),
                        probes: attempt.number,
                        elapsed_ms: u64::try_from(attempt.elapsed.as_millis()).unwrap_or(u64::MAX),
                    });
                    self.look_for_strangers().await;
                    Ok(())
                }
                Err(timeout) => Err(Failure::unhealthy(&self.proxied, timeout)),
            },
        }
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

    fn health(&self) -> Option<&Health> {
        self.blueprint
            .config
            .process(&self.proxied.identity().id)?
            .health
            .as_ref()
    }

    /// Names whoever listens on the release's port without belonging to its web process. Only a warning: a container's
    /// port is held by its runtime.
    async fn look_for_strangers(&self) {
        let address = self.blueprint.target.address;
        let members = self.proxied.members().await.into_iter();
        let members: Vec<i32> = members.map(|member| member.pid).collect();
        let looking = tokio::task::spawn_blocking(move || match listens(&members, address) {
            true => Vec::new(),
            false => listeners(address),
        });
        // It fails only while the runtime goes down.
        for stranger in looking.await.unwrap_or_default() {
            self.events.record(Milestone::StrangerOnPort {
                release_id: self.key().id.clone(),
                process_id: self.proxied.identity().id.clone(),
                port: address.port(),
                pid: stranger.pid,
                command: stranger.command,
            });
        }
    }

    fn check_processes(&self, services: &[ManagedProcess]) -> Result<(), Failure> {
        match self
            .processes()
            .chain(services)
            .find(|process| is_unfit(process, process.status().condition))
        {
            Some(process) => Err(Failure::exited(process, "before the release was healthy")),
            None => Ok(()),
        }
    }

    /// The first of its processes and `services` that makes it unfit.
    async fn first_failed(&self, services: &[ManagedProcess]) -> ManagedProcess {
        let mut waiting = JoinSet::new();
        for process in self.processes().chain(services).cloned() {
            waiting.spawn(async move {
                process
                    .wait_for(|status: &Status| is_unfit(&process, status.condition))
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
}

/// Whether a starting release must fail because of this process: one that will not come up again, and a web process that
/// has ended in any way, even if something it left behind still answers.
fn is_unfit(process: &ManagedProcess, condition: Condition) -> bool {
    match process.identity().policy {
        Policy::Proxied => !matches!(condition, Condition::Starting | Condition::Running),
        _ => condition.is_at_rest(),
    }
}

/// The same answer again is told once a second.
fn is_news(told: &health::Attempt, attempt: &health::Attempt) -> bool {
    attempt.answer != told.answer || attempt.elapsed.saturating_sub(told.elapsed) >= Duration::from_secs(1)
}
