//! What a supervised process makes known: its published status and its milestones.

use std::time::Duration;

use tokio::time::Instant;

use super::super::Condition;
use super::super::lifecycle::{Hook, State};
use super::super::memory::Crossing;
use super::Supervisor;
use crate::clock::Timestamp;
use crate::events::Milestone;
use crate::host::Exit;

impl Supervisor {
    pub(super) fn condition(&self) -> Condition {
        match self.life.state() {
            State::Stopped => Condition::Stopped,
            State::Starting { .. } => Condition::Starting,
            State::Running { .. } => Condition::Running,
            State::Stopping(_) => Condition::Stopping,
            State::Backoff { .. } => Condition::Backoff,
            State::Failed { .. } => Condition::Failed,
        }
    }

    pub(super) fn publish(&self) {
        let condition = self.condition();
        self.setting.publish.send_if_modified(|status| {
            let changed = status.condition != condition;
            status.condition = condition;
            if condition != Condition::Backoff {
                status.next_restart_at = None;
            }
            changed
        });
    }

    /// Records a milestone about this process.
    pub(super) fn record(&self, milestone: impl FnOnce(String, Option<String>) -> Milestone) {
        let release_id = self.setting.publish.borrow().release_id.clone();
        self.setting
            .events
            .record(milestone(self.setting.identity.id.clone(), Some(release_id)));
    }

    pub(super) fn report_exit(&self, pid: i32, exit: Exit) {
        let expected = matches!(self.life.state(), State::Stopping(_));
        self.setting
            .publish
            .send_modify(|status| status.last_exit = Some(exit));
        self.record(|process_id, release_id| Milestone::ProcessExited {
            process_id,
            release_id,
            pid,
            exit_code: exit.code(),
            exit_signal: exit.signal_name(),
            expected,
        });
    }

    /// `signal` is what it is asked with: the name of a signal, or `stopCommand`.
    pub(super) fn report_stopping(&mut self, signal: &str) {
        let Some(current) = self.child.as_mut() else {
            return;
        };
        current.asked_at.get_or_insert_with(Instant::now);
        let pid = current.child.pid;
        self.record(|process_id, release_id| Milestone::ProcessStopping {
            process_id,
            release_id,
            pid,
            signal: signal.to_owned(),
        });
    }

    pub(super) fn report_hook_failure(&self, hook: Hook, reason: String) {
        self.record(|process_id, release_id| Milestone::HookFailed {
            process_id,
            release_id,
            hook: hook.as_str().to_owned(),
            reason,
        });
    }

    pub(super) fn report_limit(&self) {
        let policy = &self.life.rules().restart;
        self.record(|process_id, release_id| Milestone::RestartLimitReached {
            process_id,
            release_id,
            max_restarts: policy.max_restarts.unwrap_or(0),
            window_ms: policy
                .window
                .map_or(0, |window| u64::try_from(window.as_millis()).unwrap_or(u64::MAX)),
        });
    }

    pub(super) fn report_backoff(&self, delay: Duration) {
        // By the wall clock, as people read it; published with the state.
        self.setting
            .publish
            .send_modify(|status| status.next_restart_at = Some(Timestamp::now().plus(delay)));
        self.record(|process_id, release_id| Milestone::ProcessRestartScheduled {
            process_id,
            release_id,
            delay_ms: u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
        });
    }

    pub(super) fn report_memory(&self, crossing: Crossing, rss_bytes: u64) {
        let Some(policy) = &self.life.rules().memory else {
            return;
        };
        self.record(|process_id, release_id| match crossing {
            Crossing::Warning => Milestone::MemoryWarning {
                process_id,
                release_id,
                rss_bytes,
                warn_bytes: policy.warn_bytes.unwrap_or(policy.limit_bytes),
            },
            Crossing::Limit => Milestone::MemoryLimitExceeded {
                process_id,
                release_id,
                rss_bytes,
                limit_bytes: policy.limit_bytes,
            },
        });
    }
}
