//! What the next engine must know of a process, should this one end at any moment.

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::super::Status;
use super::super::launch::Launch;
use super::super::lifecycle::{Hook, Life};
use super::Supervisor;
use crate::clock::{ClockSetting, Timestamp};
use crate::host::{SpawnSpec, note_of};

/// The note of one process.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::process) struct ProcessNote {
    pub launch: Launch,
    pub life: Life,
    /// What its moments are measured by; an engine of an earlier version did not tell.
    #[serde(default)]
    pub clock: Option<ClockSetting>,
    pub status: Status,
    /// When the machine is to be woken.
    pub wake_at: Option<Timestamp>,
    pub leader_ended: bool,
    /// When it was first asked to stop.
    pub asked_at: Option<Timestamp>,
    /// The hook that runs, and when its time is up.
    pub hook: Option<(Hook, Timestamp)>,
}

/// What the keys of all notes of processes begin with.
pub(in crate::process) const PROCESS_PREFIX: &str = "process/";

/// What the keys of all notes of what children were started from begin with.
pub(in crate::process) const SPEC_PREFIX: &str = "spec/";

/// The key of the note of the process with this number.
pub(in crate::process) fn process_key(number: u64) -> String {
    format!("{PROCESS_PREFIX}{number}")
}

/// The key of what its child was started from.
pub(in crate::process) fn spec_key(number: u64) -> String {
    format!("{SPEC_PREFIX}{number}")
}

impl Supervisor {
    /// Notes how things stand, if that has changed.
    pub(super) fn note(&mut self) {
        let note = ProcessNote {
            launch: self.setting.launch.clone(),
            life: self.life.clone(),
            clock: Some(self.clock.setting()),
            status: self.setting.publish.borrow().clone(),
            wake_at: self.wake.map(|at| self.timestamp(at)),
            leader_ended: self.child.as_ref().is_some_and(|current| current.leader_ended),
            asked_at: self
                .child
                .as_ref()
                .and_then(|current| current.asked_at)
                .map(|at| self.timestamp(at)),
            hook: self
                .hook
                .as_ref()
                .map(|hook| (hook.hook(), self.timestamp(hook.deadline()))),
        };
        let note = note_of(process_key(self.number()), &note);
        if self.noted != note.1 {
            self.noted.clone_from(&note.1);
            self.setting.host.note(vec![note]);
        }
    }

    /// Notes what a child is about to be started from.
    pub(super) fn note_spec(&self, spec: &SpawnSpec) {
        self.setting
            .host
            .note(vec![note_of(spec_key(self.number()), spec)]);
    }

    /// The process is over for good.
    pub(super) fn forget_notes(&self) {
        let number = self.number();
        let keys = [process_key(number), spec_key(number)];
        self.setting.host.note(keys.map(|key| (key, None)).into());
        self.setting.host.close_log(&self.setting.log);
    }

    fn number(&self) -> u64 {
        self.setting.log.id()
    }

    /// A moment as the machine is told the time.
    fn timestamp(&self, at: Instant) -> Timestamp {
        let now = Instant::now();
        match at.checked_duration_since(now) {
            Some(ahead) => self.clock.now().plus(ahead),
            None => self.clock.now().minus(now - at),
        }
    }
}
