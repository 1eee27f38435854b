//! One attempt to start the process, and what is told of it.

use super::super::StartError;
use super::super::lifecycle::{Input, StartReason};
use super::Supervisor;
use super::current::Current;
use crate::clock::Timestamp;
use crate::events::Milestone;
use crate::host::{Child, Role};

impl Supervisor {
    pub(super) async fn start(&mut self, reason: StartReason) -> Input {
        self.setting.publish.send_modify(|status| match reason {
            StartReason::Crash => status.restarts += 1,
            StartReason::Memory => {
                status.memory_restarts += 1;
                status.last_memory_restart_at = Some(Timestamp::now());
            }
            StartReason::Deploy | StartReason::Rollback | StartReason::Manual => {}
        });
        self.attempt(reason).await
    }

    /// The start itself, which is counted already.
    pub(super) async fn attempt(&mut self, reason: StartReason) -> Input {
        match self.try_start(reason).await {
            Ok(()) => Input::Spawned,
            Err(cause) => {
                let failure = StartError::Spawn {
                    process_id: self.setting.identity.id.clone(),
                    command: self.setting.launch.command_template().to_owned(),
                    cause: cause.clone(),
                };
                self.setting.publish.send_modify(|status| {
                    status.last_start_reason = Some(reason);
                    status.start_failure = Some(failure.clone());
                });
                // Answered now: the restart policy may go on trying for a long time.
                self.starters
                    .drain(..)
                    .for_each(|answer| drop(answer.send(Err(failure.clone()))));
                self.record(|process_id, release_id| Milestone::ProcessSpawnFailed {
                    process_id,
                    release_id,
                    reason: cause,
                });
                Input::SpawnFailed
            }
        }
    }

    async fn try_start(&mut self, reason: StartReason) -> Result<(), String> {
        // Told before the attempt: should it fail, what is told of it must not name an earlier one.
        let rendered = self.setting.launch.render();
        let port = self.setting.launch.port();
        self.setting.publish.send_modify(|status| {
            let launch = &self.setting.launch;
            let spec = rendered.as_ref().ok();
            let command = spec.map_or(launch.command_template(), |spec| &spec.command);
            status.release_id = launch.release_id().to_owned();
            status.instance = launch.instance();
            status.port = port;
            status.command = command.to_owned();
            status.cwd = spec.map(|spec| spec.cwd.clone());
        });
        let spec = rendered.map_err(|missing| missing.to_string())?;
        // Before the deed: whoever finds the child knows what it was started from.
        self.note_spec(&spec);
        self.note();
        let log = self.setting.log.clone();
        let spawned = self.setting.host.spawn(spec.clone(), log, Role::Main).await;
        let child = spawned.map_err(|error| error.to_string())?;
        self.tell_start(&child, reason);
        self.child = Some(Current {
            child,
            spec,
            leader_ended: false,
            silent: false,
            killing: false,
            asked_at: None,
        });
        Ok(())
    }

    /// Makes known that the process has been started.
    pub(super) fn tell_start(&self, child: &Child, reason: StartReason) {
        let (id, pid, port) = (child.id, child.pid, self.setting.launch.port());
        self.setting.publish.send_modify(|status| {
            status.child = Some(id);
            status.pid = Some(pid);
            status.started_at = Some(Timestamp::now());
            status.last_start_reason = Some(reason);
            status.start_failure = None;
        });
        self.record(|process_id, release_id| Milestone::ProcessStarted {
            process_id,
            release_id,
            pid,
            port,
            reason: reason.as_str().to_owned(),
        });
    }
}
