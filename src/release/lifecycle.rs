//! The life of one release as a pure state machine.
//!
//! ```text
//!   starting ──activated──▶ active ──retired──▶ draining ──idle, time up──▶ (ending) ──▶ stopped
//!      │                     │  ▲                │  ▲  │                       ▲
//!      │ failed              │  │      reclaimed │  │  └─────────stop──────────┤
//!      ▼                     │  │                ▼  │ retired                  │
//!   (undoing) ──▶ failed     │  └─activated─ (returning) ─────────stop─────────┤
//!                            └─────────────────stop────────────────────────────┘
//! ```
//!
//! On its way from active to draining a release is for a while (superseded): another one serves, and singletons are being
//! replaced. States in parentheses show as `starting` (undoing) and as `draining` (superseded, returning, ending).

#[cfg(test)]
mod properties;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::{Moment, Timestamp};

/// Where a release stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Its processes are being started and checked.
    Starting,
    /// A start that failed or was cancelled is being undone.
    Undoing,
    /// New requests go to it.
    Active,
    /// Another release serves, and may still need this one's helpers while singletons are replaced.
    Superseded,
    /// It finishes what it accepted.
    Draining,
    /// A rollback is putting it back; the drain waits.
    Returning,
    /// Its processes are being stopped.
    Ending,
    /// Nothing of it runs.
    Stopped,
    /// It never became active, and nothing of it runs.
    Failed,
}

impl Phase {
    /// The word status uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Starting | Phase::Undoing => "starting",
            Phase::Active => "active",
            Phase::Superseded | Phase::Draining | Phase::Returning | Phase::Ending => "draining",
            Phase::Stopped => "stopped",
            Phase::Failed => "failed",
        }
    }

    /// Whether nothing of the release runs any more.
    pub fn is_over(self) -> bool {
        matches!(self, Phase::Stopped | Phase::Failed)
    }
}

/// What can happen to a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Its start failed, or was cancelled.
    StartFailed,
    /// Every proxy worker sends new requests to it.
    Activated,
    /// New requests go to another release from now on.
    Superseded,
    /// The release that took over needs this one no longer; its connections may take so long to end.
    Retired {
        /// How long connections may take to end.
        drain: Duration,
    },
    /// A rollback wants it back.
    Reclaimed,
    /// It has no open connection.
    Idle,
    /// Its time to drain is over.
    DrainTimeUp,
    /// Somebody wants it stopped now.
    StopRequested,
    /// All its processes are stopped.
    ProcessesStopped,
}

/// What is to be done, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Say whether crashed processes of the release are restarted.
    AllowRestarts(bool),
    /// Stop the companions that do not wait for the connections.
    StopEarly,
    /// Answer with [`Input::Idle`] when no connection is open, or with [`Input::DrainTimeUp`] then.
    WatchConnections {
        /// When the drain time ends, by the steady clock.
        until: Timestamp,
    },
    /// Close the connections that are left.
    CloseConnections {
        /// They were given time to end: say how that went.
        drained: bool,
    },
    /// Stop every process; answer with [`Input::ProcessesStopped`].
    StopProcesses,
    /// Tell that nothing of it runs any more, and give back its ports.
    Conclude,
}

/// One release's life: its phase and when, by the wall clock, it entered the phases that matter to users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    phase: Phase,
    activated_at: Option<Timestamp>,
    drain_started_at: Option<Timestamp>,
    /// The same moment by the steady clock; an engine of an earlier version did not note it.
    #[serde(default)]
    draining_since: Option<Timestamp>,
    stopped_at: Option<Timestamp>,
}

impl Default for Life {
    fn default() -> Life {
        Life {
            phase: Phase::Starting,
            activated_at: None,
            drain_started_at: None,
            draining_since: None,
            stopped_at: None,
        }
    }
}

impl Life {
    /// Where it stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// When it last became active.
    pub fn activated_at(&self) -> Option<Timestamp> {
        self.activated_at
    }

    /// When it began to drain.
    pub fn drain_started_at(&self) -> Option<Timestamp> {
        self.drain_started_at
    }

    /// When it began to drain, by the steady clock.
    pub fn draining_since(&self) -> Option<Timestamp> {
        self.draining_since
    }

    /// When nothing of it ran any more.
    pub fn stopped_at(&self) -> Option<Timestamp> {
        self.stopped_at
    }

    /// Takes in what happened at `now`, and says what to do about it. What does not apply in a phase changes nothing.
    pub fn next(&mut self, input: Input, now: Moment) -> Vec<Action> {
        match (self.phase, input) {
            (Phase::Starting, Input::StartFailed | Input::StopRequested) => {
                self.phase = Phase::Undoing;
                vec![Action::AllowRestarts(false), Action::StopProcesses]
            }
            (Phase::Draining, Input::Reclaimed) => {
                self.phase = Phase::Returning;
                vec![Action::AllowRestarts(true)]
            }
            (Phase::Starting | Phase::Returning, Input::Activated) => {
                self.phase = Phase::Active;
                self.activated_at = Some(now.wall);
                self.drain_started_at = None;
                self.draining_since = None;
                vec![Action::AllowRestarts(true)]
            }
            (Phase::Active, Input::Superseded) => {
                self.phase = Phase::Superseded;
                self.begin_drain(now);
                Vec::new()
            }
            (Phase::Active | Phase::Superseded | Phase::Returning, Input::Retired { drain }) => {
                self.phase = Phase::Draining;
                // A release that was nearly put back has no more time than before.
                let until = self.begin_drain(now).plus(drain);
                vec![
                    Action::AllowRestarts(false),
                    Action::StopEarly,
                    Action::WatchConnections { until },
                ]
            }
            (
                Phase::Active | Phase::Superseded | Phase::Draining | Phase::Returning,
                Input::StopRequested,
            ) => {
                self.begin_drain(now);
                self.end(true)
            }
            (Phase::Draining, Input::Idle | Input::DrainTimeUp) => self.end(false),
            (Phase::Undoing, Input::ProcessesStopped) => self.conclude(Phase::Failed, now),
            (Phase::Ending, Input::ProcessesStopped) => self.conclude(Phase::Stopped, now),
            _ => Vec::new(),
        }
    }

    /// Notes when the drain began, if it has not yet: when that was by the steady clock.
    fn begin_drain(&mut self, now: Moment) -> Timestamp {
        self.drain_started_at.get_or_insert(now.wall);
        *self.draining_since.get_or_insert(now.steady)
    }

    /// A drain that is over closes what is left and then stops the processes. A stop by hand leaves the requests in
    /// flight to the app's own graceful stop first, and closes them with its end.
    fn end(&mut self, by_hand: bool) -> Vec<Action> {
        self.phase = Phase::Ending;
        match by_hand {
            true => vec![Action::AllowRestarts(false), Action::StopProcesses],
            false => vec![Action::CloseConnections { drained: true }, Action::StopProcesses],
        }
    }

    fn conclude(&mut self, phase: Phase, now: Moment) -> Vec<Action> {
        self.phase = phase;
        self.stopped_at = Some(now.wall);
        vec![Action::CloseConnections { drained: false }, Action::Conclude]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment {
        wall: Timestamp::from_ms(1000),
        steady: Timestamp::EPOCH,
    };

    fn phases(inputs: &[Input]) -> (Phase, Vec<Action>) {
        let mut life = Life::default();
        let mut last = Vec::new();
        for input in inputs {
            last = life.next(*input, NOW);
        }
        (life.phase(), last)
    }

    const RETIRED: Input = Input::Retired {
        drain: Duration::from_millis(7),
    };

    #[test]
    fn a_whole_life() {
        assert_eq!(
            phases(&[Input::Activated]),
            (Phase::Active, vec![Action::AllowRestarts(true)])
        );
        let (phase, actions) = phases(&[Input::Activated, RETIRED]);
        assert_eq!(phase, Phase::Draining);
        let until = Timestamp::from_ms(7);
        assert_eq!(
            actions,
            [
                Action::AllowRestarts(false),
                Action::StopEarly,
                Action::WatchConnections { until }
            ]
        );
        for over in [Input::Idle, Input::DrainTimeUp] {
            let (phase, actions) = phases(&[Input::Activated, RETIRED, over]);
            assert_eq!(
                (phase, actions),
                (
                    Phase::Ending,
                    vec![Action::CloseConnections { drained: true }, Action::StopProcesses]
                )
            );
        }
        let (phase, actions) = phases(&[Input::Activated, RETIRED, Input::Idle, Input::ProcessesStopped]);
        assert_eq!(
            (phase, actions),
            (
                Phase::Stopped,
                vec![Action::CloseConnections { drained: false }, Action::Conclude]
            )
        );
    }

    #[test]
    fn a_failed_start_is_undone_and_stays_failed() {
        let (phase, actions) = phases(&[Input::StartFailed]);
        assert_eq!(
            (phase, actions),
            (
                Phase::Undoing,
                vec![Action::AllowRestarts(false), Action::StopProcesses]
            )
        );
        assert_eq!(
            phases(&[Input::StartFailed, Input::ProcessesStopped]).0,
            Phase::Failed
        );
        assert_eq!(
            phases(&[Input::StartFailed, Input::ProcessesStopped, Input::Activated]).0,
            Phase::Failed
        );
    }

    #[test]
    fn a_draining_release_can_come_back() {
        let reclaimed = [Input::Activated, RETIRED, Input::Reclaimed];
        assert_eq!(
            phases(&reclaimed),
            (Phase::Returning, vec![Action::AllowRestarts(true)])
        );
        for late in [Input::Idle, Input::DrainTimeUp] {
            assert_eq!(
                phases(&[&reclaimed[..], &[late]].concat()),
                (Phase::Returning, Vec::new())
            );
        }
        assert_eq!(
            phases(&[&reclaimed[..], &[Input::Activated]].concat()).0,
            Phase::Active
        );
        assert_eq!(phases(&[&reclaimed[..], &[RETIRED]].concat()).0, Phase::Draining);
    }

    #[test]
    fn a_stop_ends_it_at_once_wherever_it_is() {
        for before in [&[Input::Activated][..], &[Input::Activated, RETIRED]] {
            let inputs = [before, &[Input::StopRequested]].concat();
            assert_eq!(
                phases(&inputs),
                (
                    Phase::Ending,
                    vec![Action::AllowRestarts(false), Action::StopProcesses]
                )
            );
        }
        assert_eq!(phases(&[Input::StopRequested]).0, Phase::Undoing);
    }

    #[test]
    fn what_comes_too_late_changes_nothing() {
        let ended = [Input::Activated, RETIRED, Input::Idle];
        for late in [
            Input::Idle,
            Input::DrainTimeUp,
            Input::StopRequested,
            Input::Activated,
            RETIRED,
        ] {
            assert_eq!(
                phases(&[&ended[..], &[late]].concat()),
                (Phase::Ending, Vec::new())
            );
        }
    }
}
