//! Running one life-cycle hook: a child of its own, bounded in time, whose output joins the process's.

use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::Instant;

use super::lifecycle::Hook;
use crate::host::{Child, Exit, Log, ProcessHost, Role, SpawnError, SpawnSpec};

/// Why a hook counts as failed, in words for an event.
pub(super) type Failure = String;

/// A hook in the course of running. Dropping it ends it with everything it started.
#[derive(Debug)]
pub(super) struct RunningHook {
    hook: Hook,
    deadline: Instant,
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
            deadline: Instant::now() + limit,
            task: tokio::spawn(run(hook.role(), host, spec, limit, log)),
        }
    }

    /// Goes on with one that an earlier engine started.
    pub fn adopt(hook: Hook, host: Arc<dyn ProcessHost>, child: Child, deadline: Instant) -> RunningHook {
        let limit = deadline.saturating_duration_since(Instant::now());
        let ending = to_its_end(EndOnDrop { host, child });
        RunningHook {
            hook,
            deadline,
            task: tokio::spawn(within(limit, async { Ok(ending.await) })),
        }
    }

    /// Which one it is.
    pub fn hook(&self) -> Hook {
        self.hook
    }

    /// When its time is up.
    pub fn deadline(&self) -> Instant {
        self.deadline
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

/// Ends a hook's child that nobody waits for.
pub(super) fn end(host: Arc<dyn ProcessHost>, child: Child) {
    drop(EndOnDrop { host, child });
}

async fn run(
    role: Role,
    host: Arc<dyn ProcessHost>,
    spec: SpawnSpec,
    limit: Duration,
    log: Log,
) -> Result<(), Failure> {
    let whole = async {
        // A task of its own: who is ended while this is under way would not know what to end.
        let starting = tokio::spawn(async move {
            let child = host.spawn(spec, log, role).await?;
            Ok(EndOnDrop { host, child })
        });
        match starting.await {
            Ok(Ok(running)) => Ok(to_its_end(running).await),
            Ok(Err(error)) => Err(error),
            // It fails only while the runtime goes down.
            Err(_) => Err(SpawnError::KeeperGone),
        }
    };
    within(limit, whole).await
}

async fn within(
    limit: Duration,
    whole: impl Future<Output = Result<Exit, SpawnError>>,
) -> Result<(), Failure> {
    match tokio::time::timeout(limit, whole).await {
        Ok(Ok(Exit::Code(0))) => Ok(()),
        Ok(Ok(exit)) => Err(exit.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("did not end within {} ms", limit.as_millis())),
    }
}

async fn to_its_end(mut running: EndOnDrop) -> Exit {
    running.child.exit.recv().await.unwrap_or(Exit::Unknown)
}
