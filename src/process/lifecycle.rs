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

use std::time::Duration;

use nix::sys::signal::Signal;

use super::restart::{RestartBook, Verdict};
use crate::clock::Timestamp;
use crate::config::{GracefulStop, Lifecycle, ProcessDefinition, RestartPolicy};

/// How long a hook may take when the graceful stop has no limit.
const HOOK_LIMIT_WHEN_INDEFINITE: Duration = Duration::from_secs(30);

/// Why a process is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// The part of a definition that the life cycle depends on.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// The delay before a restart, before any back-off.
    pub restart_delay: Duration,
    /// Budget and back-off.
    pub restart: RestartPolicy,
    /// What asks it to stop.
    pub stop_signal: Signal,
    /// How long it may take to stop.
    pub graceful_stop: GracefulStop,
    /// Its hooks.
    pub hooks: Lifecycle,
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
        }
    }

    fn hook_limit(&self) -> Duration {
        match self.graceful_stop {
            GracefulStop::After(limit) => limit,
            GracefulStop::Indefinite => HOOK_LIMIT_WHEN_INDEFINITE,
        }
    }
}

/// One of the commands that run while a process is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Asks it to take no new work.
    Quiet,
    /// Waits until its work is done.
    Drain,
    /// Asks it to stop, instead of a signal.
    Stop,
}

impl Hook {
    /// The name of its config field.
    pub fn as_str(self) -> &'static str {
        match self {
            Hook::Quiet => "quietCommand",
            Hook::Drain => "drainCommand",
            Hook::Stop => "stopCommand",
        }
    }
}

/// Where a process stands.
#[derive(Clone, Debug, PartialEq)]
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
    Stopping {
        /// How far the stop sequence is.
        stage: StopStage,
        /// What comes afterwards.
        then: AfterStop,
    },
    /// Waiting for its restart.
    Backoff {
        /// When it is started again.
        until: Timestamp,
    },
    /// Not running, and nothing more will happen by itself.
    Failed,
}

/// The steps of the stop sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// What can happen to a process.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// Somebody wants it started.
    Start(StartReason),
    /// Somebody wants it stopped.
    Stop,
    /// Somebody wants it stopped and started, or revived.
    Restart(StartReason),
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
#[derive(Clone, Debug, PartialEq)]
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
            Input::AllowRestarts(allowed) => self.allow_restarts(allowed),
            Input::Refresh(rules) => {
                self.rules = *rules;
                Vec::new()
            }
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
            State::Stopped | State::Failed | State::Backoff { .. } => self.spawn(reason),
            State::Stopping { then, .. } => {
                *then = AfterStop::Start(reason);
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
            State::Starting { .. } => {
                self.state = State::Stopping {
                    stage: StopStage::AwaitingSpawn,
                    then: AfterStop::Rest,
                };
                Vec::new()
            }
            State::Stopping { then, .. } => {
                *then = AfterStop::Rest;
                Vec::new()
            }
            State::Backoff { .. } | State::Failed | State::Stopped => self.rest(State::Stopped),
        }
    }

    fn restart(&mut self, reason: StartReason, now: Timestamp) -> Vec<Action> {
        match &mut self.state {
            State::Running { .. } => self.begin_stop(AfterStop::Start(reason), now),
            _ => self.start(reason),
        }
    }

    fn allow_restarts(&mut self, allowed: bool) -> Vec<Action> {
        self.restarts_allowed = allowed;
        match self.state {
            State::Backoff { .. } if !allowed => self.rest(State::Stopped),
            _ => Vec::new(),
        }
    }

    fn spawned(&mut self, now: Timestamp) -> Vec<Action> {
        match self.state {
            State::Starting { .. } => {
                self.state = State::Running { since: now };
                Vec::new()
            }
            State::Stopping {
                stage: StopStage::AwaitingSpawn,
                then,
            } => self.begin_stop(then, now),
            _ => Vec::new(),
        }
    }

    fn spawn_failed(&mut self, now: Timestamp) -> Vec<Action> {
        match self.state {
            State::Starting { .. } => self.recover(Duration::ZERO, now),
            State::Stopping {
                stage: StopStage::AwaitingSpawn,
                then,
            } => self.finish(then, now),
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
                self.terminate(then, now)
            }
            State::Stopping { .. } if alone => self.all_gone(now),
            // A drain without a command waits for just this exit.
            State::Stopping {
                stage: StopStage::Draining,
                then,
            } if self.rules.hooks.drain_command.is_none() => self.terminate(then, now),
            _ => Vec::new(),
        }
    }

    fn all_gone(&mut self, now: Timestamp) -> Vec<Action> {
        match self.state {
            State::Stopping {
                stage: StopStage::AwaitingSpawn,
                ..
            } => Vec::new(),
            State::Stopping { then, .. } => self.finish(then, now),
            _ => Vec::new(),
        }
    }

    fn hook_ended(&mut self, well: bool, now: Timestamp) -> Vec<Action> {
        match self.state {
            // Without its stop command a process with an indefinite grace would never be asked to stop.
            State::Stopping {
                stage: StopStage::Terminating,
                ..
            } if !well => {
                vec![Action::Signal(self.rules.stop_signal)]
            }
            State::Stopping {
                stage: StopStage::Quieting,
                then,
            } => self.drain(then, now),
            State::Stopping {
                stage: StopStage::Draining,
                then,
            } => self.terminate(then, now),
            _ => Vec::new(),
        }
    }

    fn time_up(&mut self, now: Timestamp) -> Vec<Action> {
        match self.state {
            State::Backoff { .. } => self.spawn(StartReason::Crash),
            State::Stopping {
                stage: StopStage::Draining,
                then,
            } => {
                let mut actions = vec![Action::EndHook];
                actions.extend(self.terminate(then, now));
                actions
            }
            State::Stopping {
                stage: StopStage::Terminating,
                then,
            } => {
                self.state = State::Stopping {
                    stage: StopStage::Killing,
                    then,
                };
                vec![Action::EndHook, Action::Sleep, Action::Kill]
            }
            _ => Vec::new(),
        }
    }

    /// The first step of the stop sequence that applies.
    fn begin_stop(&mut self, then: AfterStop, now: Timestamp) -> Vec<Action> {
        let mut actions = vec![Action::WatchMembers];
        if self.rules.hooks.quiet_command.is_some() {
            self.state = State::Stopping {
                stage: StopStage::Quieting,
                then,
            };
            actions.push(Action::RunHook(Hook::Quiet, self.rules.hook_limit()));
        } else {
            actions.extend(self.drain(then, now));
        }
        actions
    }

    fn drain(&mut self, then: AfterStop, now: Timestamp) -> Vec<Action> {
        let limit = self.rules.hooks.drain_timeout;
        if limit.is_zero() {
            return self.terminate(then, now);
        }
        self.state = State::Stopping {
            stage: StopStage::Draining,
            then,
        };
        match self.rules.hooks.drain_command {
            Some(_) => vec![Action::RunHook(Hook::Drain, limit)],
            None => vec![Action::Wake(now.plus(limit))],
        }
    }

    fn terminate(&mut self, then: AfterStop, now: Timestamp) -> Vec<Action> {
        self.state = State::Stopping {
            stage: StopStage::Terminating,
            then,
        };
        let mut actions = vec![Action::WatchMembers];
        match self.rules.hooks.stop_command {
            Some(_) => actions.push(Action::RunHook(Hook::Stop, self.rules.hook_limit())),
            None => actions.push(Action::Signal(self.rules.stop_signal)),
        }
        match self.rules.graceful_stop {
            GracefulStop::After(limit) => actions.push(Action::Wake(now.plus(limit))),
            GracefulStop::Indefinite => actions.push(Action::Sleep),
        }
        actions
    }

    /// No live member is left.
    fn finish(&mut self, then: AfterStop, now: Timestamp) -> Vec<Action> {
        let mut actions = vec![Action::EndHook, Action::Sleep, Action::Forget];
        actions.extend(match then {
            AfterStop::Rest => self.rest(State::Stopped),
            AfterStop::Start(reason) => self.spawn(reason),
            AfterStop::Recover { uptime } => self.recover(uptime, now),
        });
        actions
    }

    fn recover(&mut self, uptime: Duration, now: Timestamp) -> Vec<Action> {
        if !self.restarts_allowed {
            return self.rest(State::Failed);
        }
        match self
            .book
            .crashed(&self.rules.restart, self.rules.restart_delay, uptime, now)
        {
            Verdict::GiveUp => {
                let mut actions = vec![Action::ReportLimit];
                actions.extend(self.rest(State::Failed));
                actions
            }
            Verdict::RestartAfter(Duration::ZERO) => self.spawn(StartReason::Crash),
            Verdict::RestartAfter(delay) => {
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
