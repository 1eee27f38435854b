//! What the state file says. It holds ids, numbers and times; never a command, an environment or a line of output.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::daemon::{Book, Standing};
use crate::events::{Event, Milestone};
use crate::host::ProcessIdentity;
use crate::process::ManagedProcess;
use crate::release::Release;

/// What the file says it is.
pub(super) const FORMAT: &str = "rollbridge-state";

/// The version of its layout; raised when an older program would misunderstand.
pub(super) const VERSION: u32 = 1;

/// How many of the newest events are recorded.
pub(super) const RECORDED_EVENTS: usize = 100;

/// The identity of a process, as the file has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    pid: i32,
    start_ticks: u64,
    boot_id: String,
}

impl From<ProcessIdentity> for Identity {
    fn from(identity: ProcessIdentity) -> Identity {
        Identity {
            pid: identity.pid,
            start_ticks: identity.start_ticks,
            boot_id: identity.boot_id,
        }
    }
}

impl From<Identity> for ProcessIdentity {
    fn from(identity: Identity) -> ProcessIdentity {
        ProcessIdentity {
            pid: identity.pid,
            start_ticks: identity.start_ticks,
            boot_id: identity.boot_id,
        }
    }
}

/// A process that a daemon left over, or may leave over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its id.
    pub id: String,
    /// The release it was started from.
    pub release_id: String,
    /// Which process it is.
    pub process: ProcessIdentity,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OrphanEntry {
    id: String,
    release_id: String,
    process: Identity,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct ProcessEntry {
    id: String,
    release_id: String,
    policy: &'static str,
    state: &'static str,
    process: Option<Identity>,
    restarts: u32,
    memory_restarts: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct ReleaseEntry {
    release_id: String,
    instance: u64,
    release_path: String,
    revision: String,
    state: &'static str,
    ports: BTreeMap<String, u16>,
    activated_at: Option<String>,
    drain_started_at: Option<String>,
    stopped_at: Option<String>,
    processes: Vec<ProcessEntry>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct EventEntry {
    seq: u64,
    at: String,
    #[serde(flatten)]
    milestone: Milestone,
}

/// Everything the file says while a daemon runs, or what it left over when it has ended well.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Snapshot {
    format: &'static str,
    version: u32,
    application: String,
    daemon: Option<Identity>,
    active_release_id: Option<String>,
    releases: Vec<ReleaseEntry>,
    services: Vec<ProcessEntry>,
    singletons: Vec<ProcessEntry>,
    orphans: Vec<OrphanEntry>,
    events: Vec<EventEntry>,
}

impl Snapshot {
    /// How things stand in `book`.
    pub fn of(
        application: &str,
        daemon: Option<&ProcessIdentity>,
        book: &Book,
        orphans: &[Record],
        events: &[Arc<Event>],
    ) -> Snapshot {
        let standing = |list: &[Standing]| list.iter().map(|one| process(&one.process)).collect();
        Snapshot {
            active_release_id: book.active.as_ref().map(|key| key.id.clone()),
            releases: book.releases.iter().map(|one| release(one)).collect(),
            services: standing(&book.services),
            singletons: standing(&book.singletons),
            events: events.iter().filter_map(|one| event(one)).collect(),
            daemon: daemon.cloned().map(Identity::from),
            ..Snapshot::of_orphans(application, orphans)
        }
    }

    /// Nothing but what is left over.
    pub fn of_orphans(application: &str, orphans: &[Record]) -> Snapshot {
        Snapshot {
            format: FORMAT,
            version: VERSION,
            application: application.to_owned(),
            daemon: None,
            active_release_id: None,
            releases: Vec::new(),
            services: Vec::new(),
            singletons: Vec::new(),
            orphans: orphans.iter().map(orphan).collect(),
            events: Vec::new(),
        }
    }
}

fn orphan(record: &Record) -> OrphanEntry {
    OrphanEntry {
        id: record.id.clone(),
        release_id: record.release_id.clone(),
        process: record.process.clone().into(),
    }
}

fn release(release: &Release) -> ReleaseEntry {
    let (blueprint, life) = (release.blueprint(), release.life());
    let time = |at: Option<Timestamp>| at.map(Timestamp::to_rfc3339);
    ReleaseEntry {
        release_id: blueprint.key.id.clone(),
        instance: blueprint.key.instance,
        release_path: blueprint.path.display().to_string(),
        revision: blueprint.revision.clone(),
        state: life.phase().as_str(),
        ports: blueprint.ports.clone(),
        activated_at: time(life.activated_at()),
        drain_started_at: time(life.drain_started_at()),
        stopped_at: time(life.stopped_at()),
        processes: release.processes().map(process).collect(),
    }
}

fn process(process: &ManagedProcess) -> ProcessEntry {
    let status = process.status();
    ProcessEntry {
        id: process.identity().id.clone(),
        policy: process.identity().policy.as_str(),
        state: status.condition.as_str(),
        process: status.pid.and_then(ProcessIdentity::of).map(Identity::from),
        restarts: status.restarts,
        memory_restarts: status.memory_restarts,
        release_id: status.release_id,
    }
}

/// The event as it is recorded. One that tells of a stranger names the stranger's command, and is left out.
fn event(event: &Event) -> Option<EventEntry> {
    let is_recorded = !matches!(event.milestone, Milestone::StrangerOnPort { .. });
    is_recorded.then(|| EventEntry {
        seq: event.seq,
        at: event.at.to_rfc3339(),
        milestone: event.milestone.clone(),
    })
}

/// What a reader wants of the file: who wrote it, and every process it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remains {
    /// The application of the daemon that wrote it.
    pub application: String,
    /// That daemon, unless it ended well.
    pub daemon: Option<ProcessIdentity>,
    /// Every process it had, and the orphans it knew itself.
    pub records: Vec<Record>,
}

/// The head of a file of any version.
#[derive(Debug, Deserialize)]
pub(super) struct Head {
    pub format: String,
    pub version: u32,
}

/// The parts of the file that are read. They are all required: a file without one of them was not written by us.
#[derive(Debug, Deserialize)]
pub(super) struct Contents {
    application: String,
    daemon: Option<Identity>,
    releases: Vec<ReadRelease>,
    services: Vec<ReadProcess>,
    singletons: Vec<ReadProcess>,
    orphans: Vec<OrphanEntry>,
}

#[derive(Debug, Deserialize)]
struct ReadRelease {
    processes: Vec<ReadProcess>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReadProcess {
    id: String,
    release_id: String,
    process: Option<Identity>,
}

impl From<Contents> for Remains {
    fn from(contents: Contents) -> Remains {
        let own = contents
            .releases
            .into_iter()
            .flat_map(|release| release.processes);
        let processes = own.chain(contents.services).chain(contents.singletons);
        let records = processes.filter_map(|read| {
            Some(Record {
                id: read.id,
                release_id: read.release_id,
                process: read.process?.into(),
            })
        });
        let orphans = contents.orphans.into_iter().map(|orphan| Record {
            id: orphan.id,
            release_id: orphan.release_id,
            process: orphan.process.into(),
        });
        Remains {
            application: contents.application,
            daemon: contents.daemon.map(ProcessIdentity::from),
            records: records.chain(orphans).collect(),
        }
    }
}
