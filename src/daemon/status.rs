//! How things stand, as plain data. `control` turns it into the status payload.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;

use super::state::Record;
use super::{Bootstrap, Engine};
use crate::host::{BoxFuture, ChildId, Exit, RuntimeCopy, Usage};
use crate::process::{self, Identity, LogLine, ManagedProcess};
use crate::release::Release;
use crate::release::lifecycle::Life;

/// The whole daemon at one moment.
#[derive(Clone, Debug)]
pub struct Status {
    /// The application's name.
    pub application: String,
    /// The active release.
    pub active_release_id: Option<String>,
    /// The control socket.
    pub control_path: PathBuf,
    /// Where the proxy listens.
    pub proxy: SocketAddr,
    /// The host part of where it forwards to.
    pub upstream_host: String,
    /// The copy of the program that the daemon runs from; none where it runs in place.
    pub runtime: Option<RuntimeCopy>,
    /// The release that the daemon was told to begin with.
    pub bootstrap: Option<Bootstrap>,
    /// The engines of this daemon.
    pub engine: EngineStatus,
    /// What an earlier daemon left over and is still alive.
    pub orphans: Vec<Record>,
    /// Known releases, oldest first.
    pub releases: Vec<ReleaseStatus>,
    /// Persistent services, in the order they were started.
    pub services: Vec<ProcessStatus>,
    /// Singletons, in the order they were started.
    pub singletons: Vec<ProcessStatus>,
}

/// The process that does the daemon's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineStatus {
    /// Its pid.
    pub pid: u32,
    /// How many ended before it in the middle of their work.
    pub restarts: u32,
    /// How the last of them ended.
    pub last_exit: Option<Exit>,
}

/// One release at one moment.
#[derive(Clone, Debug)]
pub struct ReleaseStatus {
    /// Its id.
    pub id: String,
    /// Which deploy of that id.
    pub instance: u64,
    /// Its folder.
    pub path: PathBuf,
    /// Its revision.
    pub revision: String,
    /// Its phase and times.
    pub life: Life,
    /// The port of every process that has one.
    pub ports: BTreeMap<String, u16>,
    /// Open HTTP requests.
    pub http: usize,
    /// Open upgraded connections.
    pub websocket: usize,
    /// Its processes, in start order.
    pub processes: Vec<ProcessStatus>,
}

/// One managed process at one moment.
#[derive(Clone, Debug)]
pub struct ProcessStatus {
    /// What names it.
    pub identity: Identity,
    /// What can be seen of it.
    pub status: process::Status,
    /// Its recent output.
    pub logs: Vec<LogLine>,
    /// The memory it holds, if anything of it lives and it was asked for.
    pub usage: Option<Usage>,
}

impl Engine {
    /// How things stand now, with the memory every process holds. One look at the system serves them all.
    pub async fn status_with_memory(&self) -> Status {
        let asked: Vec<_> = self.processes().iter().map(asked_usage).collect();
        let mut usages = HashMap::new();
        for (child, usage) in asked.into_iter().flatten() {
            usages.insert(child, usage.await);
        }
        let mut status = self.status();
        let releases = status
            .releases
            .iter_mut()
            .flat_map(|release| &mut release.processes);
        for process in releases.chain(&mut status.services).chain(&mut status.singletons) {
            process.usage = process.status.child.and_then(|child| usages.remove(&child));
        }
        status
    }

    pub(super) fn processes(&self) -> Vec<ManagedProcess> {
        let book = self.book();
        let own = book.releases.iter().flat_map(|release| release.processes());
        let standing = book.services.iter().chain(&book.singletons);
        own.chain(standing.map(|standing| &standing.process))
            .cloned()
            .collect()
    }

    /// How things stand now. Nothing is measured for it.
    pub fn status(&self) -> Status {
        let orphans = self.orphans();
        let book = self.book();
        let config = self.config();
        let standing =
            |list: &[super::Standing]| list.iter().map(|one| process_status(&one.process)).collect();
        Status {
            application: config.application.clone(),
            active_release_id: book.active.as_ref().map(|key| key.id.clone()),
            control_path: config.control.path.clone(),
            proxy: self.inner.proxy.local_address(),
            upstream_host: config.proxy.upstream_host.clone(),
            runtime: self.inner.runtime.clone(),
            bootstrap: self.inner.bootstrap.clone(),
            engine: EngineStatus {
                pid: std::process::id(),
                restarts: self.inner.past.ends,
                last_exit: self.inner.past.last,
            },
            orphans,
            releases: book
                .releases
                .iter()
                .map(|release| release_status(release))
                .collect(),
            services: standing(&book.services),
            singletons: standing(&book.singletons),
        }
    }
}

fn release_status(release: &Release) -> ReleaseStatus {
    let blueprint = release.blueprint();
    let connections = release.route().connections();
    ReleaseStatus {
        id: blueprint.key.id.clone(),
        instance: blueprint.key.instance,
        path: blueprint.path.clone(),
        revision: blueprint.revision.clone(),
        life: release.life(),
        ports: blueprint.ports.clone(),
        http: connections.http(),
        websocket: connections.websocket(),
        processes: release.processes().map(process_status).collect(),
    }
}

fn asked_usage(process: &ManagedProcess) -> Option<(ChildId, BoxFuture<'static, Usage>)> {
    process.status().child.zip(process.usage())
}

fn process_status(process: &ManagedProcess) -> ProcessStatus {
    ProcessStatus {
        identity: process.identity().clone(),
        status: process.status(),
        logs: process.logs(),
        usage: None,
    }
}
