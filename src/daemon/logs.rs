//! The recent output of managed processes, by process and by release.

use super::{Engine, EngineError};
use crate::process::{LogLine, ManagedProcess};

/// Which output is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogsRequest {
    /// One process, or all replicas by their base id.
    pub process_id: Option<String>,
    /// One release; without it, every release that is not stopped, the services and the singletons.
    pub release_id: Option<String>,
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

impl Engine {
    /// The recent output that is asked for; a process or a release that is not known is an error.
    pub fn logs(&self, request: &LogsRequest) -> Result<Vec<ProcessLogs>, EngineError> {
        let sources = self.sources(request.release_id.as_deref())?;
        let Some(wanted) = &request.process_id else {
            return Ok(sources.iter().map(read).collect());
        };
        let called = sources.iter().filter(|(_, process)| process.is_called(wanted));
        let logs: Vec<ProcessLogs> = called.map(read).collect();
        if logs.is_empty() {
            let mut known: Vec<String> = sources
                .iter()
                .map(|(_, process)| process.identity().id.clone())
                .collect();
            known.sort_unstable();
            known.dedup();
            return Err(EngineError::NoLogsOf {
                id: wanted.clone(),
                known,
            });
        }
        Ok(logs)
    }

    fn sources(&self, release_id: Option<&str>) -> Result<Vec<(String, ManagedProcess)>, EngineError> {
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
            let id = &release.key().id;
            release
                .processes()
                .map(move |process| (id.clone(), process.clone()))
        });
        let services = book.services.iter().map(|one| ("service", one));
        let singletons = book.singletons.iter().map(|one| ("singleton", one));
        let beside = services.chain(singletons).filter(|_| standing);
        let beside = beside.map(|(source, one)| (source.to_owned(), one.process.clone()));
        Ok(own.chain(beside).collect())
    }
}

fn read((source, process): &(String, ManagedProcess)) -> ProcessLogs {
    ProcessLogs {
        id: process.identity().id.clone(),
        source: source.clone(),
        lines: process.logs(),
    }
}
