//! Going on where an earlier engine stopped, in the middle of whatever it was.
//!
//! Notes come before deeds: a child that is there has been noted to be started, and one that is gone has been noted to be
//! over. So the note and the children together say what has happened, and only what has not is done.

use std::sync::Arc;

use tokio::time::Instant;

use super::super::hook::{RunningHook, end};
use super::super::lifecycle::{Hook, Input, StartReason, State, StopStage};
use super::Supervisor;
use super::current::{Current, Look};
use super::noting::ProcessNote;
use crate::clock::SteadyClock;
use crate::config::GracefulStop;
use crate::host::{Child, Heir, Role, SpawnSpec};

/// What an earlier engine left of a process.
pub(in crate::process) struct Resumption {
    pub note: ProcessNote,
    /// What its child was last started from.
    pub spec: Option<SpawnSpec>,
    /// Its children that are still there.
    pub children: Vec<Heir>,
}

impl Supervisor {
    /// Takes over what is there, and does what is left to do at once.
    pub(super) async fn resume(&mut self, left: Resumption) {
        let note = left.note;
        if let Some(setting) = note.clock {
            self.clock = SteadyClock::go_on(setting);
        }
        let (mains, hooks): (Vec<Heir>, Vec<Heir>) = left
            .children
            .into_iter()
            .partition(|heir| heir.role == Role::Main);
        let mut mains: Vec<Child> = mains.into_iter().map(|heir| heir.child).collect();
        mains.sort_by_key(|child| child.id.0);
        let newest = mains.pop();
        // Its end was noted, and that it was to be forgotten.
        mains.iter().for_each(|old| self.setting.host.forget(old.id));
        let mut hooks = hooks;

        let state = self.life.state().clone();
        let starts = matches!(state, State::Starting { .. })
            || matches!(&state, State::Stopping(stop) if stop.stage == StopStage::AwaitingSpawn);
        let is_new = |child: &Child| note.status.child != Some(child.id);
        let lives = matches!(state, State::Running { .. } | State::Stopping(_));
        let input = match newest.zip(left.spec) {
            Some((child, spec)) if starts && is_new(&child) => {
                // The engine before did not live to tell of it.
                self.tell_start(&child, reason_of(&state, &note));
                self.take_over(child, spec, &note);
                Some(Input::Spawned)
            }
            Some((child, spec)) if lives && !starts => {
                self.take_over(child, spec, &note);
                None
            }
            other => {
                if let Some((child, _)) = other {
                    self.setting.host.forget(child.id);
                }
                self.setting.publish.send_modify(|status| {
                    status.child = None;
                    status.pid = None;
                });
                match state {
                    State::Starting { reason } => Some(self.attempt(reason).await),
                    State::Stopping(stop) if stop.stage == StopStage::AwaitingSpawn => {
                        Some(Input::SpawnFailed)
                    }
                    State::Running { .. } => Some(Input::LeaderExited { alone: true }),
                    State::Stopping(_) => Some(Input::AllGone),
                    State::Stopped | State::Backoff { .. } | State::Failed { .. } => None,
                }
            }
        };
        self.wake = self.wake_of(&note);
        match input {
            Some(input) => self.apply(input).await,
            None => self.go_on(&note, &mut hooks).await,
        }
        for hook in hooks {
            end(self.setting.host.clone(), hook.child);
        }
        self.publish();
        self.note();
        self.supervise_memory();
    }

    fn take_over(&mut self, mut child: Child, spec: SpawnSpec, note: &ProcessNote) {
        let same = note.status.child == Some(child.id);
        let leader_ended = same && note.leader_ended;
        if leader_ended {
            // It was taken in already, and is told again.
            let _ = child.exit.try_recv();
        }
        self.child = Some(Current {
            leader_ended,
            silent: false,
            killing: false,
            asked_at: note.asked_at.filter(|_| same).map(|at| {
                let ago = self.clock.now().since(at);
                Instant::now().checked_sub(ago).unwrap_or_else(Instant::now)
            }),
            child,
            spec,
        });
    }

    /// When the machine is to be woken. A note that was made before its deeds does not know that yet.
    fn wake_of(&self, note: &ProcessNote) -> Option<Instant> {
        let noted = note.wake_at.map(|at| self.clock.instant(at));
        let rules = self.life.rules();
        match self.life.state() {
            State::Backoff { until } => Some(self.clock.instant(*until)),
            State::Stopping(stop) if stop.stage == StopStage::Terminating && note.asked_at.is_none() => {
                match rules.graceful_stop {
                    GracefulStop::After(limit) => Some(Instant::now() + limit),
                    GracefulStop::Indefinite => None,
                }
            }
            State::Stopping(stop)
                if stop.stage == StopStage::Draining && rules.hooks.drain_command.is_none() =>
            {
                noted.or_else(|| Some(Instant::now() + rules.hooks.drain_timeout))
            }
            _ => noted,
        }
    }

    /// What was asked for by the state it is in, and may not have been done.
    async fn go_on(&mut self, note: &ProcessNote, hooks: &mut Vec<Heir>) {
        let State::Stopping(stop) = *self.life.state() else {
            return;
        };
        self.look = Some(Look::soon());
        let rules = self.life.rules();
        let wanted = match stop.stage {
            StopStage::Quieting => Some(Hook::Quiet),
            StopStage::Draining => rules.hooks.drain_command.as_ref().map(|_| Hook::Drain),
            StopStage::Terminating => rules.hooks.stop_command.as_ref().map(|_| Hook::Stop),
            StopStage::AwaitingSpawn | StopStage::Killing => None,
        };
        let was_asked = self
            .child
            .as_ref()
            .is_some_and(|current| current.asked_at.is_some());
        let limit = rules.hook_limit();
        let drain_limit = rules.hooks.drain_timeout;
        let stop_signal = rules.stop_signal;
        let found = wanted.and_then(|hook| take_newest(hooks, hook.role()));
        match (wanted, found, stop.stage) {
            (Some(hook), Some(child), _) => {
                let noted = note.hook.filter(|(noted, _)| *noted == hook);
                let deadline = noted.map_or_else(
                    || Instant::now() + if hook == Hook::Drain { drain_limit } else { limit },
                    |(_, at)| self.clock.instant(at),
                );
                let host = Arc::clone(&self.setting.host);
                self.hook = Some(RunningHook::adopt(hook, host, child, deadline));
            }
            (Some(Hook::Stop), None, _) if was_asked => {
                // Either it never came to be run, or nobody heard how it ended: the signal follows as after one that failed.
                if matches!(note.hook, Some((Hook::Stop, _))) {
                    self.apply(Input::HookEnded { well: false }).await;
                }
            }
            (Some(hook), None, _) => {
                let limit = if hook == Hook::Drain { drain_limit } else { limit };
                if let Some(input) = self.run_hook(hook, limit) {
                    self.apply(input).await;
                }
            }
            (None, _, StopStage::Terminating) if !was_asked => self.signal(stop_signal),
            (None, _, StopStage::Killing) => self.kill(),
            (None, ..) => {}
        }
    }
}

fn take_newest(hooks: &mut Vec<Heir>, role: Role) -> Option<Child> {
    hooks.sort_by_key(|heir| heir.child.id.0);
    let at = hooks.iter().rposition(|heir| heir.role == role)?;
    Some(hooks.remove(at).child)
}

/// Why the start was made that an engine did not live to see.
fn reason_of(state: &State, note: &ProcessNote) -> StartReason {
    match state {
        State::Starting { reason } => *reason,
        _ => note.status.last_start_reason.unwrap_or(StartReason::Manual),
    }
}
