//! Starting and stopping several processes, and telling so.

use tokio::task::JoinSet;

use super::{DeployPhase, Detail, Failure, Progress};
use crate::process::{Condition, ManagedProcess, StartReason, Status};

/// Starts processes one after another; those that run already are left alone.
pub(super) async fn start_all(
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
