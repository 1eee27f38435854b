//! A supervised process's memory: when it is measured, and what comes of it.

use super::super::lifecycle::{Input, State};
use super::super::memory::{Level, MemoryCheck};
use super::Supervisor;
use crate::host::ProcessHost;

impl Supervisor {
    /// Memory is measured while the process runs, and neither before nor while it is being stopped.
    pub(super) fn supervise_memory(&mut self) {
        let running = matches!(self.life.state(), State::Running { .. });
        match (&self.life.rules().memory, &self.child) {
            (Some(policy), Some(current)) if running => {
                let interval = policy.check_interval;
                if self
                    .memory
                    .as_ref()
                    .is_none_or(|check| check.interval() != interval)
                {
                    self.memory = Some(MemoryCheck::begin(current.child.id, interval));
                }
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
pub(super) async fn next_measurement(check: &mut Option<MemoryCheck>, host: &dyn ProcessHost) -> u64 {
    match check {
        Some(check) => check.next(host).await,
        None => std::future::pending().await,
    }
}
