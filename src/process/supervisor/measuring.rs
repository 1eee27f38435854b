//! A supervised process's memory: when it is measured, and what comes of it.

use super::super::lifecycle::{Input, State};
use super::super::memory::{Level, MemoryCheck};
use super::Supervisor;
use crate::config::MemoryPolicy;
use crate::host::ProcessHost;

impl Supervisor {
    /// Memory is measured while the process runs, and neither before nor while it is being stopped.
    pub(super) fn supervise_memory(&mut self) {
        let running = matches!(self.life.state(), State::Running { .. });
        match (&self.life.rules().memory, &self.child) {
            (Some(policy), Some(current)) if running => {
                self.memory
                    .get_or_insert_with(|| MemoryCheck::begin(current.child.id, policy.check_interval));
            }
            _ => self.memory = None,
        }
    }

    pub(super) fn take_measurement(&mut self, rss_bytes: u64) -> Option<Input> {
        let (Some(check), Some(policy)) = (&mut self.memory, &self.life.rules().memory) else {
            return None;
        };
        let crossing = check.gauge.measured(rss_bytes, policy);
        let excessive = check.gauge.level() == Level::Excessive;
        if let Some(crossing) = crossing {
            self.report_memory(crossing, rss_bytes);
        }
        excessive.then_some(Input::MemoryExceeded)
    }
}

/// Waits for the next measurement, if there is one to come.
pub(super) async fn next_measurement(
    check: &mut Option<MemoryCheck>,
    policy: Option<&MemoryPolicy>,
    host: &dyn ProcessHost,
) -> u64 {
    match (check, policy) {
        (Some(check), Some(policy)) => check.next(host, policy.check_interval).await,
        _ => std::future::pending().await,
    }
}
