//! The recent output of managed processes, by process and by release.

use std::collections::BTreeMap;

use super::{Engine, EngineError};
use crate::process::{LogLine, ManagedProcess};

/// Which output is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogsRequest {
    /// One process, or all replicas by their base id.
    pub process_id: Option<String>,
    /// One release; without it, every release that is not stopped, the services and the singletons.
    pub release_id: Option<String>,
    /// From where on.
    pub since: Since,
}

/// Which lines are known already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Since {
    /// None.
    #[default]
    Beginning,
    /// Of every process those up to this number.
    Above(u64),
    /// Those up to a number for each origin; an origin that is not named is new.
    Seen(BTreeMap<String, u64>),
}

/// The recent output of one process.
#[derive(Clone, Debug)]
pub struct ProcessLogs {
    /// The process.
    pub id: String,
    /// The id of its release; `service` or `singleton` for what belongs to none.
    pub source: String,
    /// Its kept lines, oldest first.
    pub lines: Vec<LogLine>,
}

/// A process whose output may be asked for.
#[derive(Clone, Debug)]
pub(super) struct Source {
    /// The id of its release; `service` or `singleton`.
    pub name: String,
    /// Which deploy of that release; 0 beside the releases.
    pub instance: u64,
    pub process: ManagedProcess,
}

impl Source {
    /// Names the process, and no other that ever was in this daemon.
    pub fn origin(&self) -> String {
        format!("{}:{}:{}", self.name, self.instance, self.process.identity().id)
    }
}

impl Since {
    /// The number of the last known line of an origin.
    pub fn of(&self, origin: &str) -> u64 {
        match self {
            Since::Beginning => 0,
            Since::Above(seq) => *seq,
            Since::Seen(seen) => seen.get(origin).copied().unwrap_or(0),
        }
    }
}

impl Engine {
    /// The recent output that is asked for; a process or a release that is not known is an error.
    pub fn logs(&self, request: &LogsRequest) -> Result<Vec<ProcessLogs>, EngineError> {
        let sources = self.wanted_sources(request)?;
        Ok(sources
            .iter()
            .map(|source| read(source, &request.since))
            .collect())
    }

    /// The processes that are asked for.
    pub(super) fn wanted_sources(&self, request: &LogsRequest) -> Result<Vec<Source>, EngineError> {
        let sources = self.sources(request.release_id.as_deref())?;
        let Some(wanted) = &request.process_id else {
            return Ok(sources);
        };
        let (called, others): (Vec<Source>, Vec<Source>) = sources
            .into_iter()
            .partition(|source| source.process.is_called(wanted));
        if called.is_empty() {
            let mut known: Vec<String> = others
                .iter()
                .map(|source| source.process.identity().id.clone())
                .collect();
            known.sort_unstable();
            known.dedup();
            return Err(EngineError::NoLogsOf {
                id: wanted.clone(),
                known,
            });
        }
        Ok(called)
    }

    fn sources(&self, release_id: Option<&str>) -> Result<Vec<Source>, EngineError> {
        let book = self.book();
        let (releases, standing) = match release_id {
            Some(id) => (vec![book.find(id).ok_or_else(|| book.not_found(id))?], false),
            None => {
                let is_told = |phase: &str| phase != "stopped";
                let told = book
                    .releases
                    .iter()
                    .filter(|release| is_told(release.phase().as_str()));
                (told.cloned().collect(), true)
            }
        };
        let own = releases.iter().flat_map(|release| {
            let key = release.key();
            release.processes().map(move |process| Source {
                name: key.id.clone(),
                instance: key.instance,
                process: process.clone(),
            })
        });
        let services = book.services.iter().map(|one| ("service", one));
        let singletons = book.singletons.iter().map(|one| ("singleton", one));
        let beside = services.chain(singletons).filter(|_| standing);
        let beside = beside.map(|(name, one)| Source {
            name: name.to_owned(),
            instance: 0,
            process: one.process.clone(),
        });
        Ok(own.chain(beside).collect())
    }
}

fn read(source: &Source, since: &Since) -> ProcessLogs {
    let known = since.of(&source.origin());
    let mut lines = source.process.logs();
    lines.retain(|line| line.seq > known);
    ProcessLogs {
        id: source.process.identity().id.clone(),
        source: source.name.clone(),
        lines,
    }
}
