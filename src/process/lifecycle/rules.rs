//! The part of a definition that one process's life depends on.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use crate::config::{GracefulStop, Lifecycle, MemoryPolicy, ProcessDefinition, RestartPolicy, signal_name};

/// How long a hook may take when the graceful stop has no limit.
const HOOK_LIMIT_WHEN_INDEFINITE: Duration = Duration::from_secs(30);

/// The part of a definition that the life cycle depends on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// The delay before a restart, before any back-off.
    pub restart_delay: Duration,
    /// Budget and back-off.
    pub restart: RestartPolicy,
    /// What asks it to stop.
    #[serde(with = "signal_name")]
    pub stop_signal: Signal,
    /// How long it may take to stop.
    pub graceful_stop: GracefulStop,
    /// Its hooks.
    pub hooks: Lifecycle,
    /// The limits of its memory, if it has any.
    pub memory: Option<MemoryPolicy>,
}

impl Rules {
    /// The rules of `definition`.
    pub fn of(definition: &ProcessDefinition) -> Rules {
        Rules {
            restart_delay: definition.restart_delay,
            restart: definition.restart.clone(),
            stop_signal: definition.stop_signal,
            graceful_stop: definition.graceful_stop,
            hooks: definition.lifecycle.clone(),
            memory: definition.memory.clone(),
        }
    }

    /// How long `quietCommand` and `stopCommand` may take.
    pub(in crate::process) fn hook_limit(&self) -> Duration {
        match self.graceful_stop {
            GracefulStop::After(limit) => limit,
            GracefulStop::Indefinite => HOOK_LIMIT_WHEN_INDEFINITE,
        }
    }
}
