//! A made-up operating system and its users: it answers a process's machine as a host, a clock and a supervisor would, and
//! objects to every action that would be wrong.

use std::time::Duration;

use super::{Action, Hook, Input, Life, Rules, StartReason, State, StopStage};
use crate::clock::Timestamp;
use crate::config::GracefulStop;

/// Something that happens around a process. What is not possible at that moment does not happen.
#[derive(Clone, Debug, PartialEq)]
pub enum Happening {
    TimePasses { ms: u64 },
    SpawnEnds { well: bool, others: u32 },
    LeaderExits,
    MemberExits,
    MemberForks,
    HookEnds { well: bool },
    Start(StartReason),
    Stop,
    Restart(StartReason),
    AllowRestarts(bool),
    MemoryExceeded,
    Refresh(Box<Rules>),
}

/// What tampers with the machine between it and the world: a planted bug.
pub trait Tamper {
    /// What the machine gets to hear instead of `input`, if anything.
    fn hear(&self, life: &Life, input: Input) -> Option<Input>;
    /// Changes the state the machine was left in, and what it asks for.
    fn twist(&self, before: &State, input: &Input, life: &mut Life, actions: &mut Vec<Action>);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leader {
    None,
    Alive,
    Zombie,
}

/// How far a stop has come, by what was done and not by what the machine says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Nothing,
    Quieted,
    Drained,
    Asked,
    Killed,
}

/// How many members there are at most besides the leader.
const MOST_OTHERS: u32 = 3;

/// The world around one process.
pub struct World<'a> {
    life: Life,
    tamper: &'a dyn Tamper,
    now: Timestamp,
    leader: Leader,
    others: u32,
    spawning: bool,
    hook: Option<(Hook, Timestamp)>,
    /// The stop command came to a bad end, so that a signal may follow it.
    stop_command_failed: bool,
    wake: Option<Timestamp>,
    watching: bool,
    step: Step,
    /// When it was asked to stop, and how long it may take from then on.
    asked: Option<(Timestamp, GracefulStop)>,
    /// Somebody wants it to run.
    wanted: bool,
    restarts_allowed: bool,
    /// Somebody waits for a stop.
    stop_awaited: bool,
    /// When restarts were decided on since the counts last began anew.
    restarts: Vec<Timestamp>,
}

type Verdict = Result<(), String>;

fn demand(condition: bool, otherwise: &str) -> Verdict {
    match condition {
        true => Ok(()),
        false => Err(otherwise.to_owned()),
    }
}

impl<'a> World<'a> {
    pub fn new(rules: Rules, restarts_allowed: bool, tamper: &'a dyn Tamper) -> World<'a> {
        World {
            life: Life::new(rules, restarts_allowed),
            tamper,
            now: Timestamp::from_ms(1_000_000),
            leader: Leader::None,
            others: 0,
            spawning: false,
            hook: None,
            stop_command_failed: false,
            wake: None,
            watching: false,
            step: Step::Nothing,
            asked: None,
            wanted: false,
            restarts_allowed,
            stop_awaited: false,
            restarts: Vec::new(),
        }
    }

    pub fn happen(&mut self, happening: &Happening) -> Verdict {
        match happening {
            Happening::TimePasses { ms } => self.pass_time(Duration::from_millis(*ms)),
            Happening::SpawnEnds { well, others } if self.spawning => {
                self.spawning = false;
                if !well {
                    return self.tell(Input::SpawnFailed);
                }
                self.leader = Leader::Alive;
                self.others = *others;
                self.tell(Input::Spawned)
            }
            Happening::LeaderExits if self.leader == Leader::Alive => {
                self.leader = Leader::Zombie;
                let alone = self.others == 0;
                self.tell(Input::LeaderExited { alone })
            }
            Happening::MemberExits if self.others > 0 => {
                self.others -= 1;
                match self.others == 0 && self.leader == Leader::Zombie && self.watching {
                    true => self.tell(Input::AllGone),
                    false => Ok(()),
                }
            }
            Happening::MemberForks if self.leader == Leader::Alive || self.others > 0 => {
                self.others = (self.others + 1).min(MOST_OTHERS);
                Ok(())
            }
            Happening::HookEnds { well } if self.hook.is_some() => self.end_hook(*well),
            Happening::Start(reason) => {
                self.wanted = true;
                self.tell(Input::Start(*reason))
            }
            Happening::Restart(reason) => {
                self.wanted = true;
                self.tell(Input::Restart(*reason))
            }
            Happening::Stop => {
                self.wanted = false;
                self.stop_awaited = true;
                self.tell(Input::Stop)
            }
            Happening::AllowRestarts(allowed) => {
                self.restarts_allowed = *allowed;
                self.tell(Input::AllowRestarts(*allowed))
            }
            Happening::MemoryExceeded if matches!(self.life.state(), State::Running { .. }) => {
                self.tell(Input::MemoryExceeded)
            }
            Happening::Refresh(rules) => {
                self.restarts.clear();
                if let Some(asked) = &mut self.asked {
                    *asked = (self.now, rules.graceful_stop);
                }
                self.tell(Input::Refresh(rules.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Stops it and lets the world run on: every stop has an end, even of a process that ignores all but SIGKILL. Where
    /// the grace has no limit the process is taken to obey at last.
    pub fn end(&mut self) -> Verdict {
        const MOST_STEPS: usize = 40;
        self.happen(&Happening::Stop)?;
        for _ in 0..MOST_STEPS {
            if matches!(self.life.state(), State::Stopped | State::Failed { .. }) {
                return demand(self.leader == Leader::None, "at rest with a child");
            }
            let obeys = self.life.rules().graceful_stop == GracefulStop::Indefinite
                && self.hook.is_none()
                && self.wake.is_none();
            if self.spawning {
                self.happen(&Happening::SpawnEnds {
                    well: true,
                    others: 1,
                })?;
            } else if self.step == Step::Killed || (obeys && self.step == Step::Asked) {
                self.happen(&Happening::LeaderExits)?;
                self.happen(&Happening::MemberExits)?;
            } else {
                let due = self
                    .hook
                    .map(|(_, limit)| limit)
                    .into_iter()
                    .chain(self.wake)
                    .min();
                let due = due.ok_or("a stop waits for nothing")?;
                self.pass_time(due.since(self.now))?;
            }
        }
        Err("a stop has no end".to_owned())
    }

    fn pass_time(&mut self, time: Duration) -> Verdict {
        let target = self.now.plus(time);
        loop {
            let hook = self.hook.map(|(_, limit)| limit).filter(|limit| *limit <= target);
            let wake = self.wake.filter(|wake| *wake <= target);
            match (hook, wake) {
                (Some(limit), wake) if wake.is_none_or(|wake| limit <= wake) => {
                    self.now = limit.max(self.now);
                    self.end_hook(false)?;
                }
                (_, Some(wake)) => {
                    self.now = wake.max(self.now);
                    self.wake = None;
                    self.tell(Input::TimeUp)?;
                }
                _ => break,
            }
        }
        self.now = target;
        Ok(())
    }

    fn end_hook(&mut self, well: bool) -> Verdict {
        if let Some((Hook::Stop, _)) = self.hook.take() {
            self.stop_command_failed = !well;
        }
        self.tell(Input::HookEnded { well })
    }

    fn tell(&mut self, input: Input) -> Verdict {
        let Some(input) = self.tamper.hear(&self.life, input) else {
            return self.look_around();
        };
        let before = self.life.state().clone();
        let mut actions = self.life.next(input.clone(), self.now);
        self.tamper.twist(&before, &input, &mut self.life, &mut actions);
        self.count_restarts(&input, &actions)?;
        for action in actions {
            self.carry_out(action)?;
        }
        self.look_around()
    }

    fn count_restarts(&mut self, input: &Input, actions: &[Action]) -> Verdict {
        for action in actions {
            match action {
                Action::Spawn(StartReason::Deploy | StartReason::Rollback | StartReason::Manual) => {
                    self.restarts.clear();
                }
                Action::Spawn(StartReason::Crash) if *input != Input::TimeUp => self.restarts.push(self.now),
                Action::ReportBackoff(_) => self.restarts.push(self.now),
                _ => {}
            }
        }
        let policy = &self.life.rules().restart;
        let now = self.now;
        let counted = self
            .restarts
            .iter()
            .filter(|at| policy.window.is_none_or(|window| now.since(**at) < window))
            .count();
        let budget = policy.max_restarts.unwrap_or(u32::MAX) as usize;
        demand(counted <= budget, "more restarts than the budget allows")
    }

    fn carry_out(&mut self, action: Action) -> Verdict {
        let rules = self.life.rules();
        match action {
            Action::Spawn(reason) => {
                demand(
                    self.leader == Leader::None && !self.spawning,
                    "a second leader is spawned",
                )?;
                demand(self.others == 0, "spawned while a member lives")?;
                demand(self.wanted, "spawned though nobody wants it to run")?;
                let by_itself = matches!(reason, StartReason::Crash | StartReason::Memory);
                demand(
                    !by_itself || self.restarts_allowed,
                    "restarted though no restart is allowed",
                )?;
                self.spawning = true;
                // Nothing of it lives: whoever waited for the stop has it, even though a start follows.
                self.stop_awaited = false;
            }
            Action::RunHook(hook, limit) => {
                let (step, command, most) = match hook {
                    Hook::Quiet => (Step::Quieted, &rules.hooks.quiet_command, rules.hook_limit()),
                    Hook::Drain => (
                        Step::Drained,
                        &rules.hooks.drain_command,
                        rules.hooks.drain_timeout,
                    ),
                    Hook::Stop => (Step::Asked, &rules.hooks.stop_command, rules.hook_limit()),
                };
                demand(command.is_some(), "a hook runs that is not configured")?;
                demand(limit <= most, "a hook runs longer than it may")?;
                demand(self.hook.is_none(), "two hooks run at once")?;
                self.advance(step)?;
                self.stop_command_failed = false;
                self.hook = Some((hook, self.now.plus(limit)));
            }
            Action::EndHook => self.hook = None,
            Action::Signal(signal) => {
                demand(signal == rules.stop_signal, "the wrong signal")?;
                if !std::mem::take(&mut self.stop_command_failed) {
                    self.advance(Step::Asked)?;
                }
                demand(
                    self.step == Step::Asked && self.leader != Leader::None,
                    "a signal at the wrong time",
                )?;
            }
            Action::Kill => {
                let (since, grace) = self.asked.ok_or("killed without being asked first")?;
                match grace {
                    GracefulStop::After(limit) => {
                        demand(self.now.since(since) >= limit, "killed before its grace was over")?;
                    }
                    GracefulStop::Indefinite => return Err("killed though its grace has no end".to_owned()),
                }
                self.advance(Step::Killed)?;
            }
            Action::WatchMembers => {
                demand(self.leader != Leader::None, "watches the members of no child")?;
                self.watching = true;
            }
            Action::Forget => {
                demand(
                    self.leader != Leader::Alive && self.others == 0,
                    "forgets a child with live members",
                )?;
                self.leader = Leader::None;
                self.watching = false;
                self.step = Step::Nothing;
                self.asked = None;
                self.stop_command_failed = false;
            }
            Action::Wake(at) => {
                demand(at >= self.now, "a moment in the past is awaited")?;
                self.wake = Some(at);
            }
            Action::Sleep => self.wake = None,
            Action::ReportLimit => demand(
                rules.restart.max_restarts.is_some(),
                "reports a limit that is not there",
            )?,
            Action::ReportBackoff(_) => {}
            Action::Rest => self.stop_awaited = false,
        }
        Ok(())
    }

    /// The steps of a stop come in their order, each once.
    fn advance(&mut self, step: Step) -> Verdict {
        demand(self.leader != Leader::None, "acts on a child that is not there")?;
        demand(self.step < step, "the steps of a stop are out of order")?;
        self.step = step;
        if step == Step::Asked {
            self.asked = Some((self.now, self.life.rules().graceful_stop));
        }
        Ok(())
    }

    /// What must be true whenever nothing is happening.
    fn look_around(&self) -> Verdict {
        let nothing_lives = self.leader == Leader::None && self.others == 0 && !self.spawning;
        let nothing_awaited = self.wake.is_none() && self.hook.is_none();
        demand(
            self.others == 0 || self.leader != Leader::Zombie || self.watching,
            "members are left and nobody watches them",
        )?;
        match self.life.state() {
            State::Stopped | State::Failed { .. } => {
                demand(nothing_lives, "at rest while something lives")?;
                demand(nothing_awaited, "at rest and waiting for something")?;
                demand(!self.stop_awaited, "a stop was never answered")
            }
            State::Starting { .. } => {
                demand(self.spawning && nothing_awaited, "starting without a spawn")?;
                demand(self.wanted, "starting though nobody wants it to run")
            }
            State::Running { .. } => {
                demand(
                    self.leader == Leader::Alive && !self.spawning,
                    "running without a leader",
                )?;
                demand(nothing_awaited, "running and waiting for something")?;
                demand(self.wanted, "running though nobody wants it to run")
            }
            State::Backoff { until } => {
                demand(nothing_lives, "something lives during back-off")?;
                demand(
                    self.wake == Some(*until) && self.hook.is_none(),
                    "a back-off without an end",
                )?;
                demand(
                    self.wanted && self.restarts_allowed,
                    "back-off though no restart is allowed",
                )
            }
            State::Stopping(stop) => match stop.stage {
                StopStage::AwaitingSpawn => demand(self.spawning, "waits for a spawn that is not under way"),
                StopStage::Quieting => demand(self.hook.is_some(), "quieting without a hook"),
                StopStage::Draining => demand(
                    self.hook.is_some() || self.wake.is_some(),
                    "draining without an end",
                ),
                StopStage::Terminating => {
                    let endless = self.life.rules().graceful_stop == GracefulStop::Indefinite;
                    demand(
                        endless || self.wake.is_some(),
                        "a grace that is finite has no end",
                    )
                }
                StopStage::Killing => demand(self.step == Step::Killed, "killing without SIGKILL"),
            },
        }
    }
}
