//! Running one life-cycle hook: a child of its own, bounded in time, whose output joins the process's.

use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::lifecycle::Hook;
use crate::host::{Child, Exit, Log, ProcessHost, SpawnError, SpawnSpec};

/// Why a hook counts as failed, in words for an event.
pub(super) type Failure = String;

/// A hook in the course of running. Dropping it ends it with everything it started.
#[derive(Debug)]
pub(super) struct RunningHook {
    hook: Hook,
    task: tokio::task::JoinHandle<Result<(), Failure>>,
}

impl RunningHook {
    /// Starts `spec` and gives it `limit`.
    pub fn start(
        hook: Hook,
        host: Arc<dyn ProcessHost>,
        spec: SpawnSpec,
        limit: Duration,
        log: Log,
    ) -> RunningHook {
        RunningHook {
            hook,
            task: tokio::spawn(run(host, spec, limit, log)),
        }
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> (Hook, Result<(), Failure>) {
        let outcome = (&mut self.task)
            .await
            .unwrap_or_else(|_| Err("was ended".to_owned()));
        (self.hook, outcome)
    }
}

impl Drop for RunningHook {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Ends the hook's child however the task ends.
struct EndOnDrop {
    host: Arc<dyn ProcessHost>,
    child: Child,
}

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        // A hook that is over has nobody left to signal.
        let _ = self.host.signal(self.child.id, Signal::SIGKILL);
        let (host, id) = (self.host.clone(), self.child.id);
        // Killed children take a moment to become reapable.
        tokio::spawn(async move {
            while !host.members(id).is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
                let _ = host.signal(id, Signal::SIGKILL);
            }
            host.forget(id);
        });
    }
}

async fn run(host: Arc<dyn ProcessHost>, spec: SpawnSpec, limit: Duration, log: Log) -> Result<(), Failure> {
    match tokio::time::timeout(limit, to_its_end(host, spec, log)).await {
        Ok(Ok(Exit::Code(0))) => Ok(()),
        Ok(Ok(exit)) => Err(exit.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("did not end within {} ms", limit.as_millis())),
    }
}

async fn to_its_end(host: Arc<dyn ProcessHost>, spec: SpawnSpec, log: Log) -> Result<Exit, SpawnError> {
    let child = host.spawn(spec, log).await?;
    let mut running = EndOnDrop { host, child };
    Ok(running.child.exit.recv().await.unwrap_or(Exit::Unknown))
}
