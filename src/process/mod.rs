//! One managed process: its life cycle, its restart policy, its output.
//!
//! One task owns one process ([`supervisor`]); everyone else holds a [`ManagedProcess`] handle. What to do is decided
//! by the pure machine in [`lifecycle`]. This room knows nothing of releases: it is told when restarts are allowed.

mod hook;
mod launch;
pub mod lifecycle;
pub mod memory;
pub mod restart;
mod supervisor;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock::Timestamp;
use crate::config::{Policy, os_text};
use crate::error::ErrorCode;
use crate::events::EventLog;
use crate::host::{
    BoxFuture, Child, ChildId, Depth, Estate, Exit, Member, ProcessHost, SpawnSpec, Unreadable, Usage,
};

pub use crate::host::{Log, LogLine};
pub use launch::{Launch, Scope};
pub use lifecycle::{Rules, StartReason};

use supervisor::noting::{PROCESS_PREFIX, ProcessNote, SPEC_PREFIX, process_key, spec_key};
use supervisor::resuming::Resumption;

/// What names a managed process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its own id: `worker#1` for a replica, else the base id.
    pub id: String,
    /// The id of its definition.
    pub base_id: String,
    /// Which of the replicas it is, if its definition asks for several.
    pub replica_index: Option<u32>,
    /// Its policy.
    pub policy: Policy,
}

/// A word for the state of a process, without what the state machine keeps inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// A spawn is under way.
    Starting,
    /// Spawned.
    Running,
    /// On its way to having no live member.
    Stopping,
    /// A restart is pending.
    Backoff,
    /// Not running, as wanted.
    Stopped,
    /// Not running, and nothing more will happen by itself.
    Failed,
}

impl Condition {
    /// The word status uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Condition::Starting => "starting",
            Condition::Running => "running",
            Condition::Stopping => "stopping",
            Condition::Backoff => "backoff",
            Condition::Stopped => "stopped",
            Condition::Failed => "failed",
        }
    }

    /// Whether nothing of the process runs and nothing will by itself.
    pub fn is_at_rest(self) -> bool {
        matches!(self, Condition::Stopped | Condition::Failed)
    }
}

/// What can be seen of a managed process at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Its state.
    pub condition: Condition,
    /// The release its last start belongs to, whether it succeeded or not; before the first, the one it was made for.
    pub release_id: String,
    /// Which deploy of that id.
    pub instance: u64,
    /// Its name towards the host while anything of it lives.
    pub child: Option<ChildId>,
    /// The leader's pid while anything of it lives.
    pub pid: Option<i32>,
    /// Its port, if it has one.
    pub port: Option<u16>,
    /// The command as last rendered; the template before the first start, and where a value is missing.
    pub command: String,
    /// The working directory as last rendered; none where a value is missing.
    #[serde(with = "os_text::optional")]
    pub cwd: Option<PathBuf>,
    /// When it was last spawned.
    pub started_at: Option<Timestamp>,
    /// How often it was started again after a crash.
    pub restarts: u32,
    /// How often it was started again because it held too much memory; not counted in `restarts`.
    pub memory_restarts: u32,
    /// When that last happened.
    pub last_memory_restart_at: Option<Timestamp>,
    /// When the pending restart comes.
    pub next_restart_at: Option<Timestamp>,
    /// Why it was last started.
    pub last_start_reason: Option<StartReason>,
    /// How it last ended.
    pub last_exit: Option<Exit>,
    /// Why its last start failed.
    pub start_failure: Option<StartError>,
}

/// Why a process did not start.
#[derive(Clone, Debug, PartialEq, Error, Serialize, Deserialize)]
pub enum StartError {
    /// A template has no value, or the spawn failed.
    #[error("cannot start {process_id}: {cause} (command: {command})")]
    Spawn {
        /// The process.
        process_id: String,
        /// Its command, as the config has it.
        command: String,
        /// What went wrong.
        cause: String,
    },
    /// Somebody stopped it before it was started.
    #[error("{process_id} was stopped before it had started")]
    Stopped {
        /// The process.
        process_id: String,
    },
}

impl StartError {
    /// The process that did not start.
    pub fn process_id(&self) -> &str {
        match self {
            StartError::Spawn { process_id, .. } | StartError::Stopped { process_id } => process_id,
        }
    }

    /// The code of the deploy error this leads to.
    pub fn code(&self) -> ErrorCode {
        match self {
            StartError::Spawn { .. } => ErrorCode::SpawnFailed,
            StartError::Stopped { .. } => ErrorCode::DeployCancelled,
        }
    }
}

/// What the handle can ask of the task that owns the process.
#[derive(Debug)]
enum Command {
    Start(StartReason, oneshot::Sender<Result<(), StartError>>),
    Restart(StartReason, oneshot::Sender<Result<(), StartError>>),
    Stop(oneshot::Sender<()>),
    AllowRestarts(bool),
    Refresh(Box<Launch>),
    SetRules(Box<Rules>),
    Members(oneshot::Sender<Vec<Member>>),
}

/// Ends a child that belongs to no process any more, with everything it started.
pub fn end_child(host: Arc<dyn ProcessHost>, child: Child) {
    hook::end(host, child);
}

/// A handle on one managed process. When the last handle goes, so does the process.
#[derive(Clone, Debug)]
pub struct ManagedProcess {
    identity: Arc<Identity>,
    host: Arc<dyn ProcessHost>,
    commands: mpsc::UnboundedSender<Command>,
    status: watch::Receiver<Status>,
    log: Log,
}

impl ManagedProcess {
    /// A process that is supervised but not started yet. `restarts_allowed`: whether a crash leads to a restart.
    pub fn supervise(
        host: Arc<dyn ProcessHost>,
        events: Arc<EventLog>,
        launch: Launch,
        restarts_allowed: bool,
    ) -> ManagedProcess {
        let log = host.open_log(launch.output_lines());
        let status = supervisor::first_status(&launch);
        ManagedProcess::with(host, events, launch, log, status, |setting| {
            supervisor::spawn(setting, restarts_allowed);
        })
    }

    /// The process with this number as an earlier engine left it, in the middle of whatever it was. `environment` is the
    /// daemon's.
    ///
    /// # Errors
    /// When what is noted of it cannot be read.
    pub fn resume(
        host: Arc<dyn ProcessHost>,
        events: Arc<EventLog>,
        number: u64,
        estate: &mut Estate,
        environment: &Arc<BTreeMap<OsString, OsString>>,
    ) -> Result<ManagedProcess, Unreadable> {
        let mut note: ProcessNote = estate.get(&process_key(number))?;
        let spec = estate.find(&spec_key(number))?;
        let children = estate.take_children(number);
        note.launch = note.launch.within(environment);
        let launch = note.launch.clone();
        let log = host.reopen_log(number, launch.output_lines());
        let status = note.status.clone();
        let left = Resumption { note, spec, children };
        Ok(ManagedProcess::with(
            host,
            events,
            launch,
            log,
            status,
            |setting| supervisor::resume(setting, left),
        ))
    }

    /// Whether all that is noted of processes can be read.
    ///
    /// # Errors
    /// When it cannot.
    pub fn check_notes(estate: &Estate) -> Result<(), Unreadable> {
        for key in estate.keys(PROCESS_PREFIX) {
            estate.get::<ProcessNote>(&key)?;
        }
        for key in estate.keys(SPEC_PREFIX) {
            estate.get::<SpawnSpec>(&key)?;
        }
        Ok(())
    }

    /// Lets go of notes and lines of every process but those with these numbers.
    pub fn forget_all_but(claimed: &[u64], estate: &Estate, host: &dyn ProcessHost) {
        for key in estate.keys(PROCESS_PREFIX) {
            let number = key[PROCESS_PREFIX.len()..].parse();
            if let Some(number) = number.ok().filter(|number| !claimed.contains(number)) {
                host.note(vec![(process_key(number), None), (spec_key(number), None)]);
                host.close_log(&host.reopen_log(number, 1));
            }
        }
    }

    fn with(
        host: Arc<dyn ProcessHost>,
        events: Arc<EventLog>,
        launch: Launch,
        log: Log,
        status: Status,
        begin: impl FnOnce(supervisor::Setting),
    ) -> ManagedProcess {
        let identity = Arc::new(launch.identity());
        let (commands, inbox) = mpsc::unbounded_channel();
        let (publish, status) = watch::channel(status);
        begin(supervisor::Setting {
            host: host.clone(),
            events,
            identity: identity.clone(),
            launch,
            publish,
            log: log.clone(),
            inbox,
        });
        ManagedProcess {
            identity,
            host,
            commands,
            status,
            log,
        }
    }

    /// Its number, by which the notes of one engine speak of it to the next.
    pub fn number(&self) -> u64 {
        self.log.id()
    }

    /// What names it.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether `id` means it: its own id, or the base id of all replicas.
    pub fn is_called(&self, id: &str) -> bool {
        self.identity.id == id || self.identity.base_id == id
    }

    /// What can be seen of it now.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// The memory it holds now, member by member; `None` while nothing of it lives. The question is put by this very
    /// call: whoever wants to know of many processes calls this for all of them before the first await, and one look
    /// at the system answers them all.
    pub fn usage(&self) -> Option<BoxFuture<'static, Usage>> {
        let child = self.status.borrow().child?;
        Some(self.host.usage(child, Depth::Members))
    }

    /// Its recent output, oldest line first.
    pub fn logs(&self) -> Vec<LogLine> {
        self.log.lines()
    }

    /// Its output, for whoever reads on when the process is gone. Holding it does not hold the process.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Starts it, waiting for a running stop; returns once it is spawned.
    pub async fn start(&self, reason: StartReason) -> Result<(), StartError> {
        self.ask(|answer| Command::Start(reason, answer))
            .await
            .unwrap_or_else(|| Err(self.gone()))
    }

    /// Stops it if it runs, then starts it; returns once it is spawned.
    pub async fn restart(&self, reason: StartReason) -> Result<(), StartError> {
        self.ask(|answer| Command::Restart(reason, answer))
            .await
            .unwrap_or_else(|| Err(self.gone()))
    }

    /// Stops it; returns once no live member is left.
    pub async fn stop(&self) {
        // A task that is gone has stopped its process before it went.
        let _ = self.ask(Command::Stop).await;
    }

    /// Says whether a crash may lead to a restart from now on; `false` also cancels a pending one.
    pub fn allow_restarts(&self, allowed: bool) {
        self.tell(Command::AllowRestarts(allowed));
    }

    /// From now on (re)starts use `launch`.
    pub fn refresh(&self, launch: Launch) {
        self.tell(Command::Refresh(Box::new(launch)));
    }

    /// From now on it is stopped and restarted by `rules`; what it is started from stays as it is.
    pub fn set_rules(&self, rules: Rules) {
        self.tell(Command::SetRules(Box::new(rules)));
    }

    /// Its live members.
    pub async fn members(&self) -> Vec<Member> {
        self.ask(Command::Members).await.unwrap_or_default()
    }

    /// Waits until `wanted` is true of its status, and returns that status.
    pub async fn wait_for(&self, wanted: impl FnMut(&Status) -> bool) -> Status {
        let mut status = self.status.clone();
        match status.wait_for(wanted).await {
            Ok(status) => status.clone(),
            // The task ended; what it published last stays true.
            Err(_) => self.status(),
        }
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (answer, wait) = oneshot::channel();
        self.tell(command(answer));
        wait.await.ok()
    }

    fn tell(&self, command: Command) {
        // The task lives as long as a handle does, unless the runtime is going down.
        let _ = self.commands.send(command);
    }

    fn gone(&self) -> StartError {
        StartError::Stopped {
            process_id: self.identity.id.clone(),
        }
    }
}
