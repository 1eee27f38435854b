//! The life of one managed process as a pure state machine: what happened goes in, what to do comes out.
//!
//! ```text
//!             start                spawned
//!   stopped ────────▶ starting ───────────────▶ running ──┐ exit nobody asked for
//!      ▲                 │ spawn failed            │ stop  │ (leftovers are stopped first)
//!      │                 ▼                         ▼       ▼
//!      ├──────────── failed ◀── budget spent ── stopping ─────▶ backoff ──▶ starting
//!      └──────────────────────── all gone ────────┘
//! ```
//!
//! It never looks at a clock, a process or a channel: `supervisor.rs` does, and carries the actions out.

#[cfg(test)]
mod properties;
mod rules;
mod state;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;

use std::time::Duration;

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use super::restart::{RestartBook, Verdict};
use crate::clock::Timestamp;
use crate::config::GracefulStop;

pub use rules::Rules;
pub use state::{AfterStop, Hook, StartReason, State, Stop, StopStage};

/// A start that failed costs nothing, so that a delay of zero would try it again without end and without pause.
const SHORTEST_PAUSE_AFTER_FAILED_SPAWN: Duration = Duration::from_millis(100);

/// What can happen to a process.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Somebody wants it started.
    Start(StartReason),
    /// Somebody wants it stopped.
    Stop,
    /// Somebody wants it stopped and started, or revived.
    Restart(StartReason),
    /// It holds more memory than it may.
    MemoryExceeded,
    /// Whether a crash may lead to a restart: not while a proxied process is starting, not once its release is retired.
    AllowRestarts(bool),
    /// The rules changed with a new release.
    Refresh(Box<Rules>),
    /// The spawn succeeded.
    Spawned,
    /// The spawn failed.
    SpawnFailed,
    /// The leader ended.
    LeaderExited {
        /// No other live member is left.
        alone: bool,
    },
    /// No live member is left.
    AllGone,
    /// The hook that was running came to its end.
    HookEnded {
        /// In time and with exit code 0.
        well: bool,
    },
    /// The moment set by [`Action::Wake`] has come.
    TimeUp,
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Start it; answer with [`Input::Spawned`] or [`Input::SpawnFailed`].
    Spawn(StartReason),
    /// Run a hook, at most this long; answer with [`Input::HookEnded`].
    RunHook(Hook, Duration),
    /// End the running hook; no answer is wanted.
    EndHook,
    /// Signal every member.
    Signal(Signal),
    /// Send SIGKILL to every member, and again until none is left.
    Kill,
    /// Look for live members from now on; answer with [`Input::AllGone`].
    WatchMembers,
    /// The members are gone: let go of the child.
    Forget,
    /// Answer with [`Input::TimeUp`] then; replaces any earlier moment.
    Wake(Timestamp),
    /// No moment is awaited any more.
    Sleep,
    /// The budget of restarts is used up: tell.
    ReportLimit,
    /// A restart will come after this long: tell.
    ReportBackoff(Duration),
    /// It rests now, stopped or failed: whoever waits for that can go on.
    Rest,
}

/// One process's life: its state, and what its restart policy remembers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Life {
    state: State,
    rules: Rules,
    book: RestartBook,
    restarts_allowed: bool,
}

impl Life {
    /// A process that was never started.
    pub fn new(rules: Rules, restarts_allowed: bool) -> Life {
        Life {
            state: State::Stopped,
            rules,
            book: RestartBook::default(),
            restarts_allowed,
        }
    }

    /// Where it stands.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The rules in force.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Takes in what happened at `now`, and says what to do about it.
    pub fn next(&mut self, input: Input, now: Timestamp) -> Vec<Action> {
        match input {
            Input::Start(reason) => self.start(reason),
            Input::Stop => self.stop(now),
            Input::Restart(reason) => self.restart(reason, now),
            Input::AllowRestarts(allowed) => self.allow_restarts(allowed, now),
            Input::Refresh(rules) => self.refresh(*rules, now),
            Input::MemoryExceeded => self.memory_exceeded(now),
            Input::Spawned => self.spawned(now),
            Input::SpawnFailed => self.spawn_failed(now),
            Input::LeaderExited { alone } => self.leader_exited(alone, now),
            Input::AllGone => self.all_gone(now),
            Input::HookEnded { well } => self.hook_ended(well, now),
            Input::TimeUp => self.time_up(now),
        }
    }

    fn start(&mut self, reason: StartReason) -> Vec<Action> {
        match &mut self.state {
            State::Stopped | State::Failed { .. } | State::Backoff { .. } => self.spawn(reason),
            State::Stopping(stop) => {
                stop.then = AfterStop::Start(reason);
                Vec::new()
            }
            State::Starting { .. } | State::Running { .. } => Vec::new(),
        }
    }

    fn spawn(&mut self, reason: StartReason) -> Vec<Action> {
        if reason != StartReason::Crash && reason != StartReason::Memory {
            self.book.clear();
        }
        self.state = State::Starting { reason };
        vec![Action::Sleep, Action::Spawn(reason)]
    }

    fn stop(&mut self, now: Timestamp) -> Vec<Action> {
        match &mut self.state {
            State::Running { .. } => self.begin_stop(AfterStop::Rest, now),
            State::Starting { .. } => self.await_spawn(AfterStop::Rest),
            State::Stopping(stop) => {
                stop.then = AfterStop::Rest;
                Vec::new()
            }
            State::Backoff { .. } | State::Failed { .. } | State::Stopped => self.rest(State::Stopped),
        }
    }

    fn restart(&mut self, reason: StartReason, now: Timestamp) -> Vec<Action> {
        match &mut self.state {
            State::Running { .. } => self.begin_stop(AfterStop::Start(reason), now),
            // What is being spawned may be made from an older config.
            State::Starting { .. } => self.await_spawn(AfterStop::Start(reason)),
            _ => self.start(reason),
        }
    }

    /// The spawn that is under way must come to its end before there is anything to stop.
    fn await_spawn(&mut self, then: AfterStop) -> Vec<Action> {
        self.state = State::Stopping(Stop {
            stage: StopStage::AwaitingSpawn,
            then,
            leader_ended: false,
        });
        Vec::new()
    }

    fn memory_exceeded(&mut self, now: Timestamp) -> Vec<Action> {
        match self.state {
            State::Running { .. } if self.restarts_allowed => {
                self.begin_stop(AfterStop::Start(StartReason::Memory), now)
            }
            _ => Vec::new(),
        }
    }

    fn allow_restarts(&mut self, allowed: bool, now: Timestamp) -> Vec<Action> {
        self.restarts_allowed = allowed;
        match &mut self.state {
            State::Backoff { .. } if !allowed => self.rest(State::Stopped),
            State::Stopping(stop) if !allowed && stop.then == AfterStop::Start(StartReason::Memory) => {
                stop.then = AfterStop::Rest;
                Vec::new()
            }
            State::Failed {
                held_back: Some(uptime),
            } if allowed => {
                let uptime = *uptime;
                self.recover(uptime, Duration::ZERO, now)
            }
            _ => Vec::new(),
        }
    }

    fn refresh(&mut self, rules: Rules, now: Timestamp) -> Vec<Action> {
        self.rules = rules;
        match self.state {
            // A grace that has no end, or too late a one, can be cut short this way.
            State::Stopping(Stop {
                stage: StopStage::Terminating,
                ..
            }) => vec![self.end_of_grace(now)],
            _ => Vec::new(),
        }
    }

    fn spawned(&mut self, now: Timestamp) -> Vec<Action> {
        match self.state {
            State::Starting { .. } => {
                self.state = State::Running { since: now };
                Vec::new()
            }
            State::Stopping(stop) if stop.stage == StopStage::AwaitingSpawn => {
                self.begin_stop(stop.then, now)
            }
            _ => Vec::new(),
        }
    }

    fn spawn_failed(&mut self, now: Timestamp) -> Vec<Action> {
        match self.state {
            State::Starting { .. } => self.recover(Duration::ZERO, SHORTEST_PAUSE_AFTER_FAILED_SPAWN, now),
            State::Stopping(stop) if stop.stage == StopStage::AwaitingSpawn => self.finish(stop.then, now),
            _ => Vec::new(),
        }
    }

    fn leader_exited(&mut self, alone: bool, now: Timestamp) -> Vec<Action> {
        match self.state {
            State::Running { since } => {
                let then = AfterStop::Recover {
                    uptime: now.since(since),
                };
                if alone {
                    return self.finish(then, now);
                }
                // What it left behind holds its port, its locks, its job: it goes before anything is started again.
                let stop = Stop {
                    stage: StopStage::Terminating,
                    then,
                    leader_ended: true,
                };
                self.terminate(stop, now)
            }
            State::Stopping(stop) if stop.stage != StopStage::AwaitingSpawn => {
                if alone {
                    return self.finish(stop.then, now);
                }
                let stop = Stop {
                    leader_ended: true,
                    ..stop
                };
                self.state = State::Stopping(stop);
                match stop.stage {
                    // A drain without a command waits for just this exit.
                    StopStage::Draining if self.rules.hooks.drain_command.is_none() => {
                        self.terminate(stop, now)
                    }
                    _ => Vec::new(),
                }
            }
            _ => Vec::new(),
        }
    }

    fn all_gone(&mut self, now: Timestamp) -> Vec<Action> {
        match self.state {
            State::Stopping(stop) if stop.stage != StopStage::AwaitingSpawn => self.finish(stop.then, now),
            _ => Vec::new(),
        }
    }

    fn hook_ended(&mut self, well: bool, now: Timestamp) -> Vec<Action> {
        let State::Stopping(stop) = self.state else {
            return Vec::new();
        };
        match stop.stage {
            StopStage::Quieting => self.drain(stop, now),
            StopStage::Draining => self.terminate(stop, now),
            // Without its stop command a process with an indefinite grace would never be asked to stop.
            StopStage::Terminating if !well => vec![Action::Signal(self.rules.stop_signal)],
            StopStage::AwaitingSpawn | StopStage::Terminating | StopStage::Killing => Vec::new(),
        }
    }

    fn time_up(&mut self, now: Timestamp) -> Vec<Action> {
        match self.state {
            State::Backoff { .. } => self.spawn(StartReason::Crash),
            State::Stopping(stop) if stop.stage == StopStage::Draining => self.terminate(stop, now),
            State::Stopping(stop) if stop.stage == StopStage::Terminating => {
                self.state = State::Stopping(Stop {
                    stage: StopStage::Killing,
                    ..stop
                });
                vec![Action::EndHook, Action::Sleep, Action::Kill]
            }
            _ => Vec::new(),
        }
    }

    /// The first step of the stop sequence that applies.
    fn begin_stop(&mut self, then: AfterStop, now: Timestamp) -> Vec<Action> {
        let stop = Stop {
            stage: StopStage::Quieting,
            then,
            leader_ended: false,
        };
        let mut actions = vec![Action::WatchMembers];
        if self.rules.hooks.quiet_command.is_some() {
            self.state = State::Stopping(stop);
            actions.push(Action::RunHook(Hook::Quiet, self.rules.hook_limit()));
        } else {
            actions.extend(self.drain(stop, now));
        }
        actions
    }

    fn drain(&mut self, stop: Stop, now: Timestamp) -> Vec<Action> {
        let limit = self.rules.hooks.drain_timeout;
        let has_command = self.rules.hooks.drain_command.is_some();
        // Without a command it is the leader's end that is waited for.
        if limit.is_zero() || (stop.leader_ended && !has_command) {
            return self.terminate(stop, now);
        }
        self.state = State::Stopping(Stop {
            stage: StopStage::Draining,
            ..stop
        });
        match has_command {
            true => vec![Action::RunHook(Hook::Drain, limit)],
            false => vec![Action::Wake(now.plus(limit))],
        }
    }

    fn terminate(&mut self, stop: Stop, now: Timestamp) -> Vec<Action> {
        self.state = State::Stopping(Stop {
            stage: StopStage::Terminating,
            ..stop
        });
        let ask = match self.rules.hooks.stop_command {
            Some(_) => Action::RunHook(Hook::Stop, self.rules.hook_limit()),
            None => Action::Signal(self.rules.stop_signal),
        };
        // A drain command may still run, if the rules changed meanwhile.
        vec![Action::EndHook, Action::WatchMembers, ask, self.end_of_grace(now)]
    }

    fn end_of_grace(&self, now: Timestamp) -> Action {
        match self.rules.graceful_stop {
            GracefulStop::After(limit) => Action::Wake(now.plus(limit)),
            GracefulStop::Indefinite => Action::Sleep,
        }
    }

    /// No live member is left.
    fn finish(&mut self, then: AfterStop, now: Timestamp) -> Vec<Action> {
        let mut actions = vec![Action::EndHook, Action::Sleep, Action::Forget];
        actions.extend(match then {
            AfterStop::Rest => self.rest(State::Stopped),
            AfterStop::Start(reason) => self.spawn(reason),
            AfterStop::Recover { uptime } => self.recover(uptime, Duration::ZERO, now),
        });
        actions
    }

    fn recover(&mut self, uptime: Duration, shortest: Duration, now: Timestamp) -> Vec<Action> {
        if !self.restarts_allowed {
            return self.rest(State::Failed {
                held_back: Some(uptime),
            });
        }
        let verdict = self
            .book
            .crashed(&self.rules.restart, self.rules.restart_delay, uptime, now);
        match verdict {
            Verdict::GiveUp => {
                let mut actions = vec![Action::ReportLimit];
                actions.extend(self.rest(State::Failed { held_back: None }));
                actions
            }
            Verdict::RestartAfter(delay) if delay.max(shortest).is_zero() => self.spawn(StartReason::Crash),
            Verdict::RestartAfter(delay) => {
                let delay = delay.max(shortest);
                let until = now.plus(delay);
                self.state = State::Backoff { until };
                vec![Action::ReportBackoff(delay), Action::Wake(until)]
            }
        }
    }

    fn rest(&mut self, state: State) -> Vec<Action> {
        self.state = state;
        vec![Action::Sleep, Action::Rest]
    }
}
