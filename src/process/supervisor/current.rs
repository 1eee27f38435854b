//! The child a supervisor has at the moment, and when it looks for what is left of it.

use std::time::Duration;

use tokio::time::Instant;

use crate::host::{Child, SpawnSpec};

/// While a dead leader's group is watched: how soon after each other we look, at first and at most.
const FIRST_LOOK: Duration = Duration::from_millis(5);
const SLOWEST_LOOK: Duration = Duration::from_millis(100);

/// The child that runs now, or that ended and left members behind.
pub(super) struct Current {
    pub child: Child,
    pub spec: SpawnSpec,
    pub leader_ended: bool,
    /// Its event channel has ended: every pipe is closed and the exit was told.
    pub silent: bool,
    pub killing: bool,
    /// When it was first asked to stop, by a signal or by its stop command.
    pub asked_at: Option<Instant>,
}

/// When to look for live members, and how long to wait after that.
pub(super) struct Look {
    pub at: Instant,
    pause: Duration,
}

impl Look {
    pub fn soon() -> Look {
        Look {
            at: Instant::now() + FIRST_LOOK,
            pause: FIRST_LOOK,
        }
    }

    pub fn postpone(&mut self) {
        self.pause = (self.pause * 2).min(SLOWEST_LOOK);
        self.at = Instant::now() + self.pause;
    }
}
