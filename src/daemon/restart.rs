//! Restarting processes in place, without a deploy: everything but the web process.

use super::{Engine, EngineError};
use crate::config::Policy;
use crate::events::Milestone;
use crate::process::{Condition, ManagedProcess, StartReason};

/// Which processes to restart; those that match all that is given, all of them if nothing is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestartRequest {
    /// One by its id, or every replica by its base id.
    pub process_id: Option<String>,
    /// Those of a policy.
    pub policy: Option<Policy>,
}

impl RestartRequest {
    fn matches(&self, process: &ManagedProcess) -> bool {
        let by_id = self.process_id.as_ref().is_none_or(|id| process.is_called(id));
        by_id
            && self
                .policy
                .is_none_or(|policy| policy == process.identity().policy)
    }
}

impl Engine {
    /// Restarts what runs and revives what failed, one after another; returns the ids of those. What somebody stopped
    /// stays stopped. Waits behind a deploy.
    pub async fn restart(&self, request: RestartRequest) -> Result<Vec<String>, EngineError> {
        self.refuse_when_closing("restart")?;
        let held = self.wait_for_turn("a restart", None).await?;
        self.refuse_when_closing("restart")?;
        let chosen = self.choose(&request)?;
        let engine = self.clone();
        // Its own task: a client that leaves must not leave a restart half done.
        let restarting = async move {
            let outcome = engine.restart_each(chosen).await;
            drop(held);
            outcome
        };
        match tokio::spawn(restarting).await {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    fn choose(&self, request: &RestartRequest) -> Result<Vec<ManagedProcess>, EngineError> {
        let book = self.book();
        let standing = book
            .services
            .iter()
            .chain(&book.singletons)
            .map(|standing| standing.process.clone());
        let of_release = book
            .active()
            .into_iter()
            .flat_map(|release| release.processes().cloned().collect::<Vec<_>>());
        let all: Vec<ManagedProcess> = standing.chain(of_release).collect();
        let is_known = |id: &String| all.iter().any(|process| process.is_called(id));
        if let Some(id) = request.process_id.as_ref().filter(|id| !is_known(id)) {
            let mut known: Vec<String> = all.iter().map(|process| process.identity().id.clone()).collect();
            known.sort_unstable();
            return Err(EngineError::ProcessNotFound {
                id: id.clone(),
                known,
            });
        }
        let named_proxied = all.iter().find(|process| {
            process.identity().policy == Policy::Proxied
                && request.matches(process)
                && *request != RestartRequest::default()
        });
        if named_proxied.is_some() || request.policy == Some(Policy::Proxied) {
            return Err(EngineError::ProxiedNotRestartable);
        }
        if let (Some(id), Some(policy)) = (&request.process_id, request.policy)
            && !all.iter().any(|process| request.matches(process))
        {
            let message = format!("process {id:?} does not have the policy {policy}; name one or the other");
            return Err(EngineError::InvalidRequest(message));
        }
        let restartable = |process: &ManagedProcess| match process.identity().policy {
            Policy::Proxied => false,
            // Nobody stops a service for good: one that rests was given up.
            Policy::Service => true,
            _ => process.status().condition != Condition::Stopped,
        };
        Ok(all
            .into_iter()
            .filter(|process| restartable(process) && request.matches(process))
            .collect())
    }

    async fn restart_each(&self, processes: Vec<ManagedProcess>) -> Result<Vec<String>, EngineError> {
        let mut restarted = Vec::new();
        let mut first_failure = None;
        for process in processes {
            let process_id = process.identity().id.clone();
            if self.inner.closing.is_cancelled() {
                return Err(EngineError::ShuttingDown("restart"));
            }
            self.record(Milestone::ProcessRestartRequested {
                process_id: process_id.clone(),
            });
            match process.restart(StartReason::Manual).await {
                Ok(()) => restarted.push(process_id),
                // The others are not kept from their restart.
                Err(error) => drop(first_failure.get_or_insert(error)),
            }
        }
        match first_failure {
            None => Ok(restarted),
            Some(error) => Err(EngineError::Restart(error)),
        }
    }
}
