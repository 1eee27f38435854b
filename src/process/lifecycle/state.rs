//! Where a process can stand, and the words for how it got there.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::host::Role;

/// Where a process stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum State {
    /// Not running, and nobody wants it to.
    Stopped,
    /// A spawn is under way.
    Starting {
        /// Why.
        reason: StartReason,
    },
    /// Spawned.
    Running {
        /// Since when.
        since: Timestamp,
    },
    /// On its way to having no live member.
    Stopping(Stop),
    /// Waiting for its restart.
    Backoff {
        /// When it is started again.
        until: Timestamp,
    },
    /// Not running, and nothing more will happen by itself.
    Failed {
        /// It ended by itself after this uptime, at a time without restarts. Its policy decides when they are allowed
        /// again: a web process may die in the very moment in which its release becomes active.
        held_back: Option<Duration>,
    },
}

/// A stop under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// How far the stop sequence is.
    pub stage: StopStage,
    /// What comes afterwards.
    pub then: AfterStop,
    /// The leader has ended; what is left are others.
    pub leader_ended: bool,
}

/// The steps of the stop sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopStage {
    /// The spawn that was under way must come to its end first.
    AwaitingSpawn,
    /// `quietCommand` runs.
    Quieting,
    /// `drainCommand` runs, or the drain time passes.
    Draining,
    /// The stop signal was sent or `stopCommand` runs; the graceful time passes.
    Terminating,
    /// SIGKILL was sent.
    Killing,
}

/// What follows a completed stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AfterStop {
    /// Nothing: it was asked to stop.
    Rest,
    /// A start.
    Start(StartReason),
    /// What the restart policy says: its leader ended by itself after this uptime.
    Recover {
        /// How long it had been up.
        uptime: Duration,
    },
}

/// Why a process is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StartReason {
    /// A deploy.
    Deploy,
    /// A rollback.
    Rollback,
    /// It ended by itself.
    Crash,
    /// Somebody asked for it.
    Manual,
    /// It grew too large.
    Memory,
}

impl StartReason {
    /// The word status and events use.
    pub fn as_str(self) -> &'static str {
        match self {
            StartReason::Deploy => "deploy",
            StartReason::Rollback => "rollback",
            StartReason::Crash => "crash",
            StartReason::Manual => "manual",
            StartReason::Memory => "memory",
        }
    }
}

/// One of the commands that run while a process is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Hook {
    /// Asks it to take no new work.
    Quiet,
    /// Waits until its work is done.
    Drain,
    /// Asks it to stop, instead of a signal.
    Stop,
}

impl Hook {
    /// What its child is to its process.
    pub fn role(self) -> Role {
        match self {
            Hook::Quiet => Role::QuietHook,
            Hook::Drain => Role::DrainHook,
            Hook::Stop => Role::StopHook,
        }
    }

    /// The name of its config field.
    pub fn as_str(self) -> &'static str {
        match self {
            Hook::Quiet => "quietCommand",
            Hook::Drain => "drainCommand",
            Hook::Stop => "stopCommand",
        }
    }
}
