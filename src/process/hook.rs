//! Running one life-cycle hook: a child of its own, bounded in time, whose output joins the process's.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::lifecycle::Hook;
use super::output::{Output, Writer};
use crate::clock::Timestamp;
use crate::host::{Child, ChildEvent, Exit, ProcessHost, SpawnError, SpawnSpec, Stream};

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
    match tokio::time::timeout(limit, to_its_end(host, spec, output)).await {
        Ok(Ok(Exit::Code(0))) => Ok(()),
        Ok(Ok(exit)) => Err(exit.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("did not end within {} ms", limit.as_millis())),
    }
}

async fn to_its_end(
    host: Arc<dyn ProcessHost>,
    spec: SpawnSpec,
    output: Arc<Mutex<Output>>,
) -> Result<Exit, SpawnError> {
    let child = host.spawn(spec).await?;
    let mut running = EndOnDrop { host, child };
    let mut lines = Lines {
        output,
        writer: Writer::default(),
    };
    while let Some(event) = running.child.events.recv().await {
        match event {
            ChildEvent::Output(stream, bytes) => lines.push(stream, &bytes),
            ChildEvent::Exited(exit) => return Ok(exit),
        }
    }
    Ok(Exit::Code(-1))
}

/// What the hook says, among the output of its process. A line it has begun is told however it ends.
struct Lines {
    output: Arc<Mutex<Output>>,
    writer: Writer,
}

impl Lines {
    fn push(&mut self, stream: Stream, bytes: &[u8]) {
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        output.push_of(&mut self.writer, stream, bytes, Timestamp::now());
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        output.finish_of(std::mem::take(&mut self.writer), Timestamp::now());
    }
}
