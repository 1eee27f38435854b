//! Reading on in the output of processes as they come and go.
//!
//! A follower keeps nothing but the number of the last line it has read of each process, so it costs the daemon the same
//! whether its client is quick or slow.

use super::logs::{LogsRequest, Since, Source};
use super::{Engine, EngineError};
use crate::process::{Log, LogLine};

/// A line, with where it comes from.
#[derive(Clone, Debug)]
pub struct FollowedLine {
    /// The process.
    pub id: String,
    /// The id of its release; `service` or `singleton` for what belongs to none.
    pub source: String,
    /// Names the process, and no other.
    pub origin: String,
    /// The line.
    pub line: LogLine,
}

/// What a follower is told.
#[derive(Clone, Debug)]
pub enum Followed {
    /// A line.
    Line(FollowedLine),
    /// So many lines were gone before they could be read.
    Missed(u64),
}

/// Where somebody stands in the output of all processes that were asked for.
#[derive(Debug)]
pub struct LogFollower {
    engine: Engine,
    request: LogsRequest,
    tracks: Vec<Track>,
    begun: bool,
}

/// Where somebody stands in the output of one process.
#[derive(Debug)]
struct Track {
    id: String,
    source: String,
    origin: String,
    log: Log,
    seen: u64,
}

impl Engine {
    /// Follows the output that is asked for, also of processes that are still to come. A release that is not known is an
    /// error, and so is a process that is neither known nor in the config.
    pub fn follow_logs(&self, request: LogsRequest) -> Result<LogFollower, EngineError> {
        match self.wanted_sources(&request) {
            Err(EngineError::NoLogsOf { ref id, .. }) if self.defines(id) => {}
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        Ok(LogFollower {
            engine: self.clone(),
            request,
            tracks: Vec::new(),
            begun: false,
        })
    }

    fn defines(&self, id: &str) -> bool {
        let config = self.config();
        let base = id.split('#').next().unwrap_or(id);
        config.processes.iter().any(|definition| definition.id == base)
    }
}

impl LogFollower {
    /// What has been written since the last time, in the order of its time.
    pub fn take(&mut self) -> Vec<Followed> {
        // What was asked for may be gone by now, or not be there yet: nothing to read, then.
        let sources = self.engine.wanted_sources(&self.request).unwrap_or_default();
        for source in &sources {
            let origin = source.origin();
            if !self.tracks.iter().any(|track| track.origin == origin) {
                self.tracks.push(self.track(source, origin));
            }
        }
        self.begun = true;
        let mut lines = Vec::new();
        let mut missed = 0;
        for track in &mut self.tracks {
            missed += track.read(&mut lines);
        }
        // Its last line is told before it counts as gone.
        self.tracks
            .retain(|track| sources.iter().any(|source| source.origin() == track.origin));
        // Stable, so that the lines of one process stay in their order.
        lines.sort_by_key(|followed| followed.line.at);
        let missed = (missed > 0).then_some(Followed::Missed(missed));
        missed
            .into_iter()
            .chain(lines.into_iter().map(Followed::Line))
            .collect()
    }

    fn track(&self, source: &Source, origin: String) -> Track {
        let log = source.process.log().clone();
        let kept = log.lines();
        let oldest = kept.first().map_or(1, |line| line.seq);
        let newest = kept.last().map_or(0, |line| line.seq);
        let seen = match &self.request.since {
            // Whoever begins is told what is kept, and has missed nothing.
            Since::Beginning if !self.begun => oldest - 1,
            Since::Above(_) if self.begun => 0,
            since => since.of(&origin),
        };
        Track {
            id: source.process.identity().id.clone(),
            source: source.name.clone(),
            origin,
            log,
            // A number that no line has had yet comes from an earlier daemon.
            seen: if seen > newest { 0 } else { seen },
        }
    }
}

impl Track {
    /// Adds the new lines; returns how many are gone already.
    fn read(&mut self, lines: &mut Vec<FollowedLine>) -> u64 {
        let new = self.log.since(self.seen);
        let missed = new.first().map_or(0, |oldest| oldest.seq - self.seen - 1);
        if let Some(newest) = new.last() {
            self.seen = newest.seq;
        }
        lines.extend(new.into_iter().map(|line| FollowedLine {
            id: self.id.clone(),
            source: self.source.clone(),
            origin: self.origin.clone(),
            line,
        }));
        missed
    }
}
