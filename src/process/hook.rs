//! Running one life-cycle hook: a child of its own, bounded in time, whose output joins the process's.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::lifecycle::Hook;
use super::output::Output;
use crate::clock::Timestamp;
use crate::host::{Child, ChildEvent, Exit, ProcessHost, SpawnSpec};

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
        output: Arc<Mutex<Output>>,
    ) -> RunningHook {
        RunningHook {
            hook,
            task: tokio::spawn(run(host, spec, limit, output)),
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

async fn run(
    host: Arc<dyn ProcessHost>,
    spec: SpawnSpec,
    limit: Duration,
    output: Arc<Mutex<Output>>,
) -> Result<(), Failure> {
    let child = host.spawn(spec).await.map_err(|error| error.to_string())?;
    let mut running = EndOnDrop { host, child };
    let listen = async {
        while let Some(event) = running.child.events.recv().await {
            match event {
                ChildEvent::Output(stream, bytes) => {
                    output.lock().unwrap_or_else(PoisonError::into_inner).push(
                        stream,
                        &bytes,
                        Timestamp::now(),
                    );
                }
                ChildEvent::Exited(exit) => return exit,
            }
        }
        Exit::Code(-1)
    };
    match tokio::time::timeout(limit, listen).await {
        Ok(Exit::Code(0)) => Ok(()),
        Ok(exit) => Err(exit.to_string()),
        Err(_) => Err(format!("did not end within {} ms", limit.as_millis())),
    }
}
