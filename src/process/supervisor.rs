//! The task that owns one process: it feeds what happens into the state machine and carries out what comes back.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::hook::RunningHook;
use super::launch::{Launch, new_token};
use super::lifecycle::{Action, Hook, Input, Life, StartReason, State};
use super::output::Output;
use super::{Command, Condition, Identity, StartError, Status};
use crate::clock::Timestamp;
use crate::events::{EventLog, Milestone};
use crate::host::{Child, ChildEvent, Exit, ProcessHost, SpawnSpec};

/// While a dead leader's group is watched: how soon after each other we look, at first and at most.
const FIRST_LOOK: Duration = Duration::from_millis(5);
const SLOWEST_LOOK: Duration = Duration::from_millis(100);

/// Everything the task needs, with [`Status`] published as it changes.
pub(super) struct Setting {
    pub host: Arc<dyn ProcessHost>,
    pub events: Arc<EventLog>,
    pub identity: Arc<Identity>,
    pub launch: Launch,
    pub restarts_allowed: bool,
    pub publish: watch::Sender<Status>,
    pub output: Arc<Mutex<Output>>,
    pub inbox: mpsc::UnboundedReceiver<Command>,
}

/// What is published before the first start.
pub(super) fn first_status(launch: &Launch) -> Status {
    Status {
        condition: Condition::Stopped,
        release_id: launch.release_id().to_owned(),
        pid: None,
        port: launch.port(),
        command: launch.command_template().to_owned(),
        cwd: None,
        started_at: None,
        restarts: 0,
        next_restart_at: None,
        last_start_reason: None,
        last_exit: None,
        start_failure: None,
    }
}

/// Starts the task.
pub(super) fn spawn(setting: Setting) {
    let life = Life::new(launch_rules(&setting.launch), setting.restarts_allowed);
    let supervisor = Supervisor {
        life,
        child: None,
        hook: None,
        wake: None,
        look: None,
        starters: Vec::new(),
        stoppers: Vec::new(),
        setting,
    };
    tokio::spawn(supervisor.run());
}

fn launch_rules(launch: &Launch) -> super::lifecycle::Rules {
    super::lifecycle::Rules::of(launch.definition())
}

/// The child that runs now, or that ended and left members behind.
struct Current {
    child: Child,
    spec: SpawnSpec,
    leader_ended: bool,
    /// Its event channel has ended: every pipe is closed and the exit was told.
    silent: bool,
    killing: bool,
    signalled_at: Option<Timestamp>,
}

/// When to look for live members, and how long to wait after that.
struct Look {
    at: Instant,
    pause: Duration,
}

struct Supervisor {
    setting: Setting,
    life: Life,
    child: Option<Current>,
    hook: Option<RunningHook>,
    wake: Option<Instant>,
    look: Option<Look>,
    starters: Vec<oneshot::Sender<Result<(), StartError>>>,
    stoppers: Vec<oneshot::Sender<()>>,
}

impl Supervisor {
    async fn run(mut self) {
        let mut abandoned = false;
        while !(abandoned && self.condition().is_at_rest()) {
            let input = tokio::select! {
                command = self.setting.inbox.recv(), if !abandoned => match command {
                    Some(command) => self.take(command),
                    None => {
                        abandoned = true;
                        Some(Input::Stop)
                    }
                },
                event = next_event(&mut self.child) => self.take_event(event),
                (hook, outcome) = next_hook_end(&mut self.hook) => Some(self.take_hook_end(hook, outcome)),
                () = wait_until(self.wake) => {
                    self.wake = None;
                    Some(Input::TimeUp)
                }
                () = wait_until(self.look.as_ref().map(|look| look.at)) => self.look_for_members(),
            };
            if let Some(input) = input {
                self.apply(input).await;
            }
        }
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

    fn take_event(&mut self, event: Option<ChildEvent>) -> Option<Input> {
        let current = self.child.as_mut()?;
        match event {
            Some(ChildEvent::Output(stream, bytes)) => {
                self.output(|output| output.push(stream, &bytes, Timestamp::now()));
                None
            }
            Some(ChildEvent::Exited(exit)) => {
                current.leader_ended = true;
                let (id, pid) = (current.child.id, current.child.pid);
                self.output(|output| output.finish(Timestamp::now()));
                self.report_exit(pid, exit);
                Some(Input::LeaderExited {
                    alone: self.setting.host.members(id).is_empty(),
                })
            }
            None => {
                current.silent = true;
                None
            }
        }
    }

    fn take_hook_end(&mut self, hook: Hook, outcome: Result<(), String>) -> Input {
        self.hook = None;
        let well = outcome.is_ok();
        if let Err(reason) = outcome {
            self.report_hook_failure(hook, reason);
        }
        Input::HookEnded { well }
    }

    /// The leader's end is an event; the end of what it left behind must be looked for.
    fn look_for_members(&mut self) -> Option<Input> {
        let (Some(look), Some(current)) = (self.look.as_mut(), self.child.as_ref()) else {
            self.look = None;
            return None;
        };
        look.pause = (look.pause * 2).min(SLOWEST_LOOK);
        look.at = Instant::now() + look.pause;
        if !current.leader_ended {
            return None;
        }
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
            for action in self.life.next(input, Timestamp::now()) {
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
    }

    async fn carry_out(&mut self, action: Action) -> Option<Input> {
        match action {
            Action::Spawn(reason) => return Some(self.start(reason).await),
            Action::RunHook(hook, limit) => self.run_hook(hook, limit),
            Action::EndHook => self.hook = None,
            Action::Signal(signal) => self.signal(signal),
            Action::Kill => self.kill(),
            Action::WatchMembers => {
                self.look = Some(Look {
                    at: Instant::now() + FIRST_LOOK,
                    pause: FIRST_LOOK,
                });
            }
            Action::Forget => self.forget(),
            Action::Wake(at) => self.wake = Some(Instant::now() + at.since(Timestamp::now())),
            Action::Sleep => self.wake = None,
            Action::ReportLimit => self.report_limit(),
            Action::ReportBackoff(delay) => self.report_backoff(delay),
            Action::Rest => self.rest(),
        }
        None
    }

    async fn start(&mut self, reason: StartReason) -> Input {
        if reason == StartReason::Crash {
            self.setting.publish.send_modify(|status| status.restarts += 1);
        }
        match self.try_start(reason).await {
            Ok(()) => Input::Spawned,
            Err(cause) => {
                let failure = StartError::Spawn {
                    process_id: self.setting.identity.id.clone(),
                    command: self.setting.launch.command_template().to_owned(),
                    cause: cause.clone(),
                };
                self.setting.publish.send_modify(|status| {
                    status.last_start_reason = Some(reason);
                    status.start_failure = Some(failure.clone());
                });
                // Answered now: the restart policy may go on trying for a long time.
                self.starters
                    .drain(..)
                    .for_each(|answer| drop(answer.send(Err(failure.clone()))));
                self.record(|process_id, release_id| Milestone::ProcessSpawnFailed {
                    process_id,
                    release_id,
                    reason: cause,
                });
                Input::SpawnFailed
            }
        }
    }

    async fn try_start(&mut self, reason: StartReason) -> Result<(), String> {
        let spec = self
            .setting
            .launch
            .render()
            .map_err(|missing| missing.to_string())?;
        let child = self
            .setting
            .host
            .spawn(spec.clone())
            .await
            .map_err(|error| error.to_string())?;
        let (pid, port) = (child.pid, self.setting.launch.port());
        self.setting.publish.send_modify(|status| {
            status.release_id = self.setting.launch.release_id().to_owned();
            status.pid = Some(pid);
            status.port = port;
            status.command = spec.command.clone();
            status.cwd = Some(spec.cwd.clone());
            status.started_at = Some(Timestamp::now());
            status.last_start_reason = Some(reason);
            status.start_failure = None;
        });
        self.record(|process_id, release_id| Milestone::ProcessStarted {
            process_id,
            release_id,
            pid,
            port,
            reason: reason.as_str().to_owned(),
        });
        self.child = Some(Current {
            child,
            spec,
            leader_ended: false,
            silent: false,
            killing: false,
            signalled_at: None,
        });
        Ok(())
    }

    fn run_hook(&mut self, hook: Hook, limit: Duration) {
        let hooks = &self.life.rules().hooks;
        let command = match hook {
            Hook::Quiet => &hooks.quiet_command,
            Hook::Drain => &hooks.drain_command,
            Hook::Stop => &hooks.stop_command,
        };
        let (Some(command), Some(current)) = (command, &self.child) else {
            return;
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
        let host = self.setting.host.clone();
        self.hook = Some(RunningHook::start(
            hook,
            host,
            spec,
            limit,
            self.setting.output.clone(),
        ));
    }

    fn signal(&mut self, signal: Signal) {
        let Some(current) = self.child.as_mut() else {
            return;
        };
        current.signalled_at = Some(Timestamp::now());
        let (id, pid) = (current.child.id, current.child.pid);
        self.record(|process_id, release_id| Milestone::ProcessStopping {
            process_id,
            release_id,
            pid,
            signal: signal.as_str().to_owned(),
        });
        // A member we may not signal is killed at the end of the grace, or reported by `kill`.
        let _ = self.setting.host.signal(id, signal);
    }

    fn kill(&mut self) {
        let Some(current) = self.child.as_mut() else {
            return;
        };
        current.killing = true;
        let after = current
            .signalled_at
            .map_or(Duration::ZERO, |at| Timestamp::now().since(at));
        let (id, pid) = (current.child.id, current.child.pid);
        self.record(|process_id, release_id| Milestone::ProcessKilled {
            process_id,
            release_id,
            pid,
            after_ms: u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
        });
        // Sent again at every look until nobody is left.
        let _ = self.setting.host.signal(id, Signal::SIGKILL);
        self.look = Some(Look {
            at: Instant::now() + FIRST_LOOK,
            pause: FIRST_LOOK,
        });
    }

    fn forget(&mut self) {
        self.look = None;
        if let Some(current) = self.child.take() {
            self.setting.host.forget(current.child.id);
        }
        self.setting.publish.send_modify(|status| status.pid = None);
    }

    fn rest(&mut self) {
        let failure = StartError::Stopped {
            process_id: self.setting.identity.id.clone(),
        };
        self.starters
            .drain(..)
            .for_each(|answer| drop(answer.send(Err(failure.clone()))));
        // Published before the answers, so that whoever was answered sees it.
        self.publish();
        for answer in self.stoppers.drain(..) {
            let _ = answer.send(());
        }
    }

    fn condition(&self) -> Condition {
        match self.life.state() {
            State::Stopped => Condition::Stopped,
            State::Starting { .. } => Condition::Starting,
            State::Running { .. } => Condition::Running,
            State::Stopping { .. } => Condition::Stopping,
            State::Backoff { .. } => Condition::Backoff,
            State::Failed => Condition::Failed,
        }
    }

    fn publish(&self) {
        let condition = self.condition();
        let next_restart_at = match self.life.state() {
            State::Backoff { until } => Some(*until),
            _ => None,
        };
        self.setting.publish.send_if_modified(|status| {
            let changed = status.condition != condition || status.next_restart_at != next_restart_at;
            status.condition = condition;
            status.next_restart_at = next_restart_at;
            changed
        });
    }

    fn output(&self, change: impl FnOnce(&mut Output)) {
        change(&mut self.setting.output.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Records a milestone about this process.
    fn record(&self, milestone: impl FnOnce(String, Option<String>) -> Milestone) {
        let release_id = self.setting.publish.borrow().release_id.clone();
        self.setting
            .events
            .record(milestone(self.setting.identity.id.clone(), Some(release_id)));
    }

    fn report_exit(&self, pid: i32, exit: Exit) {
        let expected = matches!(self.life.state(), State::Stopping { .. });
        self.setting
            .publish
            .send_modify(|status| status.last_exit = Some(exit));
        self.record(|process_id, release_id| Milestone::ProcessExited {
            process_id,
            release_id,
            pid,
            exit_code: exit.code(),
            exit_signal: exit.signal_name(),
            expected,
        });
    }

    fn report_hook_failure(&self, hook: Hook, reason: String) {
        self.record(|process_id, release_id| Milestone::HookFailed {
            process_id,
            release_id,
            hook: hook.as_str().to_owned(),
            reason,
        });
    }

    fn report_limit(&self) {
        let policy = &self.life.rules().restart;
        self.record(|process_id, release_id| Milestone::RestartLimitReached {
            process_id,
            release_id,
            max_restarts: policy.max_restarts.unwrap_or(0),
            window_ms: policy
                .window
                .map_or(0, |window| u64::try_from(window.as_millis()).unwrap_or(u64::MAX)),
        });
    }

    fn report_backoff(&self, delay: Duration) {
        self.record(|process_id, release_id| Milestone::ProcessRestartScheduled {
            process_id,
            release_id,
            delay_ms: u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
        });
    }
}

async fn next_event(current: &mut Option<Current>) -> Option<ChildEvent> {
    match current {
        Some(current) if !current.silent => current.child.events.recv().await,
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
