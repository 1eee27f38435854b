//! The task that owns one process: it feeds what happens into the state machine and carries out what comes back.

mod current;
mod measuring;
pub(super) mod noting;
mod report;
pub(super) mod resuming;
mod starting;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use self::current::{Current, Look};
use self::measuring::next_measurement;
use super::hook::RunningHook;
use super::launch::{Launch, new_token};
use super::lifecycle::{Action, Hook, Input, Life, State};
use super::memory::MemoryCheck;
use super::{Command, Condition, Identity, StartError, Status};
use crate::clock::SteadyClock;
use crate::events::{EventLog, Milestone};
use crate::host::{Exit, Log, ProcessHost};
use resuming::Resumption;

/// How long the pipes may take to end once every member is gone; only a stranger who holds one makes it that long.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// Everything the task needs, with [`Status`] published as it changes.
pub(super) struct Setting {
    pub host: Arc<dyn ProcessHost>,
    pub events: Arc<EventLog>,
    pub identity: Arc<Identity>,
    pub launch: Launch,
    pub publish: watch::Sender<Status>,
    pub log: Log,
    pub inbox: mpsc::UnboundedReceiver<Command>,
}

/// What is published before the first start.
pub(super) fn first_status(launch: &Launch) -> Status {
    Status {
        condition: Condition::Stopped,
        release_id: launch.release_id().to_owned(),
        instance: launch.instance(),
        child: None,
        pid: None,
        port: launch.port(),
        command: launch.command_template().to_owned(),
        cwd: None,
        started_at: None,
        restarts: 0,
        memory_restarts: 0,
        last_memory_restart_at: None,
        next_restart_at: None,
        last_start_reason: None,
        last_exit: None,
        start_failure: None,
    }
}

/// Starts the task.
pub(super) fn spawn(setting: Setting, restarts_allowed: bool) {
    let life = Life::new(launch_rules(&setting.launch), restarts_allowed);
    let mut supervisor = Supervisor::new(setting, life);
    supervisor.note();
    tokio::spawn(supervisor.run());
}

/// Starts the task where an earlier engine stopped.
pub(super) fn resume(setting: Setting, left: Resumption) {
    let mut supervisor = Supervisor::new(setting, left.note.life.clone());
    tokio::spawn(async move {
        supervisor.resume(left).await;
        supervisor.run().await;
    });
}

fn launch_rules(launch: &Launch) -> super::lifecycle::Rules {
    super::lifecycle::Rules::of(launch.definition())
}

struct Supervisor {
    setting: Setting,
    life: Life,
    child: Option<Current>,
    hook: Option<RunningHook>,
    wake: Option<Instant>,
    look: Option<Look>,
    memory: Option<MemoryCheck>,
    /// What the machine is told the time by: a jump of the system's clock must not forgive crashes or hurry restarts.
    clock: SteadyClock,
    starters: Vec<oneshot::Sender<Result<(), StartError>>>,
    stoppers: Vec<oneshot::Sender<()>>,
    /// What the next engine knows.
    noted: Option<String>,
}

impl Supervisor {
    fn new(setting: Setting, life: Life) -> Supervisor {
        Supervisor {
            setting,
            life,
            child: None,
            hook: None,
            wake: None,
            look: None,
            memory: None,
            clock: SteadyClock::start(),
            starters: Vec::new(),
            stoppers: Vec::new(),
            noted: None,
        }
    }

    async fn run(mut self) {
        let mut abandoned = false;
        while !(abandoned && self.condition().is_at_rest()) {
            let next_look = self.next_look();
            let input = tokio::select! {
                command = self.setting.inbox.recv(), if !abandoned => match command {
                    Some(command) => self.take(command),
                    None => {
                        abandoned = true;
                        Some(Input::Stop)
                    }
                },
                exit = next_exit(&mut self.child) => self.take_exit(exit),
                (hook, outcome) = next_hook_end(&mut self.hook) => Some(self.take_hook_end(hook, outcome)),
                rss_bytes = next_measurement(&mut self.memory, &*self.setting.host) => self.take_measurement(rss_bytes),
                () = wait_until(self.wake) => {
                    self.wake = None;
                    Some(Input::TimeUp)
                }
                () = wait_until(next_look) => self.look_for_members(),
            };
            if let Some(input) = input {
                self.apply(input).await;
            }
        }
        self.forget_notes();
    }

    fn take(&mut self, command: Command) -> Option<Input> {
        match command {
            Command::Start(reason, answer) => {
                if matches!(self.life.state(), State::Running { .. }) {
                    let _ = answer.send(Ok(()));
                } else {
                    self.starters.push(answer);
                }
                Some(Input::Start(reason))
            }
            Command::Restart(reason, answer) => {
                self.starters.push(answer);
                Some(Input::Restart(reason))
            }
            Command::Stop(answer) => {
                self.stoppers.push(answer);
                // Who waits for the start that was to follow a stop need not wait for the stop: nothing is started.
                self.refuse_starters();
                Some(Input::Stop)
            }
            Command::SetRules(rules) => Some(Input::Refresh(rules)),
            Command::Members(answer) => {
                let child = self.child.as_ref().map(|current| current.child.id);
                // Whoever asked may have left.
                let _ = answer.send(child.map(|id| self.setting.host.members(id)).unwrap_or_default());
                None
            }
            Command::AllowRestarts(allowed) => Some(Input::AllowRestarts(allowed)),
            Command::Refresh(launch) => {
                let rules = launch_rules(&launch);
                self.setting.launch = *launch;
                Some(Input::Refresh(Box::new(rules)))
            }
        }
    }

    /// Takes in the leader's exit, or that nobody is left who could write.
    fn take_exit(&mut self, exit: Option<Exit>) -> Option<Input> {
        let current = self.child.as_mut()?;
        let Some(exit) = exit else {
            current.silent = true;
            return None;
        };
        let (id, pid) = (current.child.id, current.child.pid);
        // A look at the whole system: taken first, so that what is told of the exit is noted along with what follows from it.
        let alone = self.setting.host.members(id).is_empty();
        current.leader_ended = true;
        if let Some(look) = &mut self.look {
            *look = Look::soon();
        }
        self.report_exit(pid, exit);
        Some(Input::LeaderExited { alone })
    }

    fn take_hook_end(&mut self, hook: Hook, outcome: Result<(), String>) -> Input {
        self.hook = None;
        let well = outcome.is_ok();
        if let Err(reason) = outcome {
            self.report_hook_failure(hook, reason);
        }
        Input::HookEnded { well }
    }

    /// As long as the leader lives there is nothing to look for.
    fn next_look(&self) -> Option<Instant> {
        let look = self.look.as_ref()?;
        let leader_ended = self.child.as_ref().is_none_or(|current| current.leader_ended);
        leader_ended.then_some(look.at)
    }

    /// The leader's end is an event; the end of what it left behind must be looked for.
    fn look_for_members(&mut self) -> Option<Input> {
        let (Some(look), Some(current)) = (self.look.as_mut(), self.child.as_ref()) else {
            self.look = None;
            return None;
        };
        look.postpone();
        if self.setting.host.members(current.child.id).is_empty() {
            return Some(Input::AllGone);
        }
        if current.killing {
            // Somebody forked while the others were being killed.
            let _ = self.setting.host.signal(current.child.id, Signal::SIGKILL);
        }
        None
    }

    /// Runs the machine until it asks for nothing more, then publishes where it stands.
    async fn apply(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let now = self.clock.now();
            #[cfg(test)]
            let recorded = input.clone();
            let actions = self.life.next(input, now);
            #[cfg(test)]
            tests::recording::record(recorded, now, &actions);
            // Before the deeds: the next engine does what this one has not come to.
            self.note();
            for action in actions {
                if matches!(action, Action::Spawn(_)) && self.hear_before_a_spawn(&mut inputs) {
                    inputs.push_back(Input::SpawnFailed);
                    continue;
                }
                if let Some(answer) = self.carry_out(action).await {
                    inputs.push_back(answer);
                }
            }
            self.publish();
        }
        if matches!(self.life.state(), State::Running { .. }) {
            self.starters
                .drain(..)
                .for_each(|answer| drop(answer.send(Ok(()))));
        }
        self.supervise_memory();
        self.note();
    }

    /// Takes in what was asked for until this moment, so that a stop never comes too late for a start that has not begun.
    /// Returns whether the spawn must be left out: it would be of no use, or would have to be done again.
    fn hear_before_a_spawn(&mut self, inputs: &mut VecDeque<Input>) -> bool {
        let mut overtaken = false;
        while let Ok(command) = self.setting.inbox.try_recv() {
            overtaken |= matches!(command, Command::Stop(_) | Command::Restart(..));
            inputs.extend(self.take(command));
        }
        overtaken
    }

    async fn carry_out(&mut self, action: Action) -> Option<Input> {
        match action {
            Action::Spawn(reason) => {
                // Nothing of it lives: who waited for the stop has it, even though a start follows at once.
                self.answer_stoppers();
                return Some(self.start(reason).await);
            }
            Action::RunHook(hook, limit) => return self.run_hook(hook, limit),
            Action::EndHook => self.hook = None,
            Action::Signal(signal) => self.signal(signal),
            Action::Kill => self.kill(),
            Action::WatchMembers => {
                self.look = Some(Look::soon());
            }
            Action::Forget => self.forget().await,
            Action::Wake(at) => self.wake = Some(self.clock.instant(at)),
            Action::Sleep => self.wake = None,
            Action::ReportLimit => self.report_limit(),
            Action::ReportBackoff(delay) => self.report_backoff(delay),
            Action::Rest => self.rest(),
        }
        None
    }

    fn run_hook(&mut self, hook: Hook, limit: Duration) -> Option<Input> {
        let hooks = &self.life.rules().hooks;
        let command = match hook {
            Hook::Quiet => &hooks.quiet_command,
            Hook::Drain => &hooks.drain_command,
            Hook::Stop => &hooks.stop_command,
        };
        let (Some(command), Some(current)) = (command, &self.child) else {
            // The machine asks for nothing of the kind; a stop must come to its end all the same.
            return Some(Input::HookEnded { well: false });
        };
        let mut spec = current.spec.clone();
        spec.command = command.clone();
        // A token of its own: the hook is no member of the process it works on.
        spec.token = new_token();
        spec.env
            .retain(|(name, _)| name != "ROLLBRIDGE_INSTANCE" && name != "ROLLBRIDGE_PID");
        spec.env
            .push(("ROLLBRIDGE_INSTANCE".into(), spec.token.clone().into()));
        spec.env
            .push(("ROLLBRIDGE_PID".into(), current.child.pid.to_string().into()));
        if hook == Hook::Stop {
            self.report_stopping(hook.as_str());
        }
        let host = self.setting.host.clone();
        self.hook = Some(RunningHook::start(
            hook,
            host,
            spec,
            limit,
            self.setting.log.clone(),
        ));
        None
    }

    fn signal(&mut self, signal: Signal) {
        let Some(id) = self.child.as_ref().map(|current| current.child.id) else {
            return;
        };
        self.report_stopping(signal.as_str());
        // A member we may not signal is killed at the end of the grace, or reported by `kill`.
        let _ = self.setting.host.signal(id, signal);
    }

    fn kill(&mut self) {
        let Some(current) = self.child.as_mut() else {
            return;
        };
        current.killing = true;
        let after = current.asked_at.map_or(Duration::ZERO, |at| at.elapsed());
        let (id, pid) = (current.child.id, current.child.pid);
        self.record(|process_id, release_id| Milestone::ProcessKilled {
            process_id,
            release_id,
            pid,
            // The moment is kept in whole milliseconds, so it may come a fraction early.
            after_ms: u64::try_from(after.as_micros().div_ceil(1000)).unwrap_or(u64::MAX),
        });
        // Sent again at every look until nobody is left.
        let _ = self.setting.host.signal(id, Signal::SIGKILL);
        self.look = Some(Look::soon());
    }

    async fn forget(&mut self) {
        self.look = None;
        self.memory = None;
        if let Some(mut current) = self.child.take() {
            // Nobody is left to write, so the pipes come to their end: what others than the leader said last is still
            // in there.
            let silence = async { while current.child.exit.recv().await.is_some() {} };
            // A stranger may hold a pipe open for as long as it likes.
            let _ = tokio::time::timeout(LAST_WORDS, silence).await;
            self.setting.host.forget(current.child.id);
        }
        self.setting.publish.send_modify(|status| {
            status.child = None;
            status.pid = None;
        });
        // In the same moment: nobody is to see it running without a pid.
        self.publish();
    }

    fn rest(&mut self) {
        self.refuse_starters();
        // Published before the answers, so that whoever was answered sees it.
        self.publish();
        self.answer_stoppers();
    }

    fn refuse_starters(&mut self) {
        let failure = StartError::Stopped {
            process_id: self.setting.identity.id.clone(),
        };
        self.starters
            .drain(..)
            .for_each(|answer| drop(answer.send(Err(failure.clone()))));
    }

    fn answer_stoppers(&mut self) {
        for answer in self.stoppers.drain(..) {
            // Whoever asked may have left.
            let _ = answer.send(());
        }
    }
}

async fn next_exit(current: &mut Option<Current>) -> Option<Exit> {
    match current {
        Some(current) if !current.silent => current.child.exit.recv().await,
        _ => std::future::pending().await,
    }
}

async fn next_hook_end(hook: &mut Option<RunningHook>) -> (Hook, Result<(), String>) {
    match hook {
        Some(hook) => hook.ended().await,
        None => std::future::pending().await,
    }
}

async fn wait_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
