//! The daemon's history: every milestone, numbered and time-stamped. It keeps the last thousand and lets others follow.
//!
//! Milestones carry ids, pids, codes and reasons. They never carry a command, an environment or a line of output.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::clock::Timestamp;

/// How many events are kept.
pub const KEPT_EVENTS: usize = 1000;

/// How many events a follower may be behind before it misses some.
const FOLLOWER_BACKLOG: usize = 1024;

/// Something worth telling: the variant's name is the `message`, its fields are the `data` of the event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "message", content = "data", rename_all_fields = "camelCase")]
#[allow(missing_docs, reason = "the names say it; each is the text an operator reads")]
pub enum Milestone {
    #[serde(rename = "proxy listening")]
    ProxyListening { host: String, port: u16 },
    #[serde(rename = "proxy accepting paused")]
    ProxyAcceptingPaused { reason: String },
    #[serde(rename = "proxy accepting resumed")]
    ProxyAcceptingResumed {},
    #[serde(rename = "upgrade starting")]
    UpgradeStarting { version: String, to: String },
    #[serde(rename = "daemon upgraded")]
    DaemonUpgraded { version: String, engine_pid: u32 },
    #[serde(rename = "upgrade failed")]
    UpgradeFailed { reason: String },
    #[serde(rename = "control socket listening")]
    ControlSocketListening { path: String },
    #[serde(rename = "deploy starting")]
    DeployStarting {
        release_id: String,
        release_path: String,
        revision: String,
    },
    #[serde(rename = "release healthy")]
    ReleaseHealthy {
        release_id: String,
        probes: u32,
        elapsed_ms: u64,
    },
    #[serde(rename = "traffic switched")]
    TrafficSwitched {
        release_id: String,
        instance: u64,
        previous_release_id: Option<String>,
    },
    #[serde(rename = "traffic stopped")]
    TrafficStopped { release_id: String },
    #[serde(rename = "deploy finished")]
    DeployFinished { release_id: String, elapsed_ms: u64 },
    #[serde(rename = "deploy failed")]
    DeployFailed {
        release_id: String,
        phase: String,
        code: String,
        process_id: Option<String>,
    },
    #[serde(rename = "rollback starting")]
    RollbackStarting { release_id: String, instance: u64 },
    #[serde(rename = "rollback finished")]
    RollbackFinished { release_id: String, elapsed_ms: u64 },
    #[serde(rename = "rollback failed")]
    RollbackFailed {
        release_id: String,
        phase: String,
        code: String,
        process_id: Option<String>,
    },
    #[serde(rename = "stranger on port")]
    StrangerOnPort {
        release_id: String,
        process_id: String,
        port: u16,
        pid: i32,
        command: String,
    },
    #[serde(rename = "process restart requested")]
    ProcessRestartRequested { process_id: String },
    #[serde(rename = "release draining")]
    ReleaseDraining {
        release_id: String,
        instance: u64,
        http: usize,
        websocket: usize,
    },
    #[serde(rename = "release drained")]
    ReleaseDrained {
        release_id: String,
        instance: u64,
        elapsed_ms: u64,
        cut_http: usize,
        cut_websocket: usize,
    },
    #[serde(rename = "release stopped")]
    ReleaseStopped { release_id: String, instance: u64 },
    #[serde(rename = "process started")]
    ProcessStarted {
        process_id: String,
        release_id: Option<String>,
        pid: i32,
        port: Option<u16>,
        reason: String,
    },
    #[serde(rename = "process spawn failed")]
    ProcessSpawnFailed {
        process_id: String,
        release_id: Option<String>,
        reason: String,
    },
    #[serde(rename = "process stopping")]
    ProcessStopping {
        process_id: String,
        release_id: Option<String>,
        pid: i32,
        signal: String,
    },
    #[serde(rename = "process killed")]
    ProcessKilled {
        process_id: String,
        release_id: Option<String>,
        pid: i32,
        after_ms: u64,
    },
    #[serde(rename = "process exited")]
    ProcessExited {
        process_id: String,
        release_id: Option<String>,
        pid: i32,
        exit_code: Option<i32>,
        exit_signal: Option<String>,
        expected: bool,
    },
    #[serde(rename = "process restart scheduled")]
    ProcessRestartScheduled {
        process_id: String,
        release_id: Option<String>,
        delay_ms: u64,
    },
    #[serde(rename = "restart limit reached")]
    RestartLimitReached {
        process_id: String,
        release_id: Option<String>,
        max_restarts: u32,
        window_ms: u64,
    },
    #[serde(rename = "memory warning")]
    MemoryWarning {
        process_id: String,
        release_id: Option<String>,
        rss_bytes: u64,
        warn_bytes: u64,
    },
    #[serde(rename = "memory limit exceeded")]
    MemoryLimitExceeded {
        process_id: String,
        release_id: Option<String>,
        rss_bytes: u64,
        limit_bytes: u64,
    },
    #[serde(rename = "hook failed")]
    HookFailed {
        process_id: String,
        release_id: Option<String>,
        hook: String,
        reason: String,
    },
    #[serde(rename = "stop requested")]
    StopRequested { release_id: String },
    #[serde(rename = "command failed")]
    CommandFailed { command: String, code: String },
    #[serde(rename = "orphan found")]
    OrphanFound {
        process_id: String,
        release_id: String,
        pid: i32,
    },
    #[serde(rename = "state file refused")]
    StateFileRefused {
        path: String,
        reason: String,
        kept_as: Option<String>,
    },
    #[serde(rename = "state file not written")]
    StateFileNotWritten { path: String, reason: String },
    #[serde(rename = "log not written")]
    LogNotWritten { reason: String },
    #[serde(rename = "log written again")]
    LogWrittenAgain { lost_lines: u64, after_ms: u64 },
    #[serde(rename = "log reopened")]
    LogReopened { path: String },
    #[serde(rename = "log not reopened")]
    LogNotReopened { path: String, reason: String },
    #[serde(rename = "stray process found")]
    StrayProcessFound { pid: i32, start_ticks: u64 },
    #[serde(rename = "engine restarted")]
    EngineRestarted {
        pid: u32,
        restarts: u32,
        exit_code: Option<i32>,
        exit_signal: Option<String>,
        absent_ms: u64,
        short_lived: u32,
    },
    #[serde(rename = "owner leaving")]
    OwnerLeaving { attestation: String },
    #[serde(rename = "owner stays")]
    OwnerStays { attestation: String },
    #[serde(rename = "owner left")]
    OwnerLeft { attestation: String },
    #[serde(rename = "shutdown starting")]
    ShutdownStarting {},
    #[serde(rename = "shutdown finished")]
    ShutdownFinished {},
}

/// One milestone with its number and time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Rises by one with every event of a daemon's life.
    pub seq: u64,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub milestone: Milestone,
}

type Sink = Box<dyn Fn(&Arc<Event>) + Send + Sync>;

struct History {
    next_seq: u64,
    kept: VecDeque<Arc<Event>>,
}

/// Where the daemon records its milestones.
pub struct EventLog {
    history: Mutex<History>,
    followers: broadcast::Sender<Arc<Event>>,
    sink: Sink,
}

impl EventLog {
    /// An empty log. `sink` sees every event as it is recorded and must not block.
    pub fn new(sink: impl Fn(&Arc<Event>) + Send + Sync + 'static) -> EventLog {
        EventLog {
            history: Mutex::new(History {
                next_seq: 1,
                kept: VecDeque::new(),
            }),
            followers: broadcast::channel(FOLLOWER_BACKLOG).0,
            sink: Box::new(sink),
        }
    }

    /// A log that goes on after the `kept` events of an earlier engine, oldest first.
    pub fn resume(kept: Vec<Event>, sink: impl Fn(&Arc<Event>) + Send + Sync + 'static) -> EventLog {
        let log = EventLog::new(sink);
        {
            let mut history = log.history.lock().unwrap_or_else(PoisonError::into_inner);
            history.next_seq = kept.last().map_or(1, |last| last.seq + 1);
            history.kept = kept.into_iter().map(Arc::new).collect();
        }
        log
    }

    /// Records `milestone` as having happened now.
    pub fn record(&self, milestone: Milestone) {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let event = Arc::new(Event {
            seq: history.next_seq,
            at: Timestamp::now(),
            milestone,
        });
        history.next_seq += 1;
        if history.kept.len() == KEPT_EVENTS {
            history.kept.pop_front();
        }
        history.kept.push_back(event.clone());
        // Under the lock, so that the sink and the followers see events in the order of their numbers.
        (self.sink)(&event);
        // An error only means that nobody follows.
        let _ = self.followers.send(event);
    }

    /// The kept events numbered above `since`, oldest first; of those the last `limit`.
    pub fn recent(&self, since: Option<u64>, limit: Option<usize>) -> Vec<Arc<Event>> {
        select(
            &self.history.lock().unwrap_or_else(PoisonError::into_inner),
            since,
            limit,
        )
    }

    /// Like [`EventLog::recent`], with a receiver that goes on exactly where the returned events end. A number that no
    /// event has had yet comes from an earlier daemon, and everything is new to whoever has it.
    pub fn follow(
        &self,
        since: Option<u64>,
        limit: Option<usize>,
    ) -> (Vec<Arc<Event>>, broadcast::Receiver<Arc<Event>>) {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let since = since.filter(|since| *since < history.next_seq);
        (select(&history, since, limit), self.followers.subscribe())
    }
}

impl std::fmt::Debug for EventLog {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("EventLog").finish_non_exhaustive()
    }
}

fn select(history: &History, since: Option<u64>, limit: Option<usize>) -> Vec<Arc<Event>> {
    let newer = history
        .kept
        .iter()
        .filter(|event| since.is_none_or(|since| event.seq > since));
    let skipped = limit.map_or(0, |limit| newer.clone().count().saturating_sub(limit));
    newer.skip(skipped).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(log: &EventLog, since: Option<u64>, limit: Option<usize>) -> Vec<u64> {
        log.recent(since, limit).iter().map(|event| event.seq).collect()
    }

    #[test]
    fn keeps_the_newest_and_numbers_them_without_gap() {
        let log = EventLog::new(|_| ());
        for _ in 0..KEPT_EVENTS + 5 {
            log.record(Milestone::ShutdownStarting {});
        }
        let kept = numbered(&log, None, None);
        assert_eq!(kept.len(), KEPT_EVENTS);
        assert_eq!((kept[0], kept[KEPT_EVENTS - 1]), (6, 1005));
        assert_eq!(numbered(&log, None, Some(2)), [1004, 1005]);
        assert_eq!(numbered(&log, Some(1003), None), [1004, 1005]);
        assert_eq!(numbered(&log, Some(1003), Some(1)), [1005]);
        assert_eq!(numbered(&log, Some(9999), None), [0u64; 0]);
    }

    #[test]
    fn a_follower_goes_on_where_the_kept_events_end() {
        let log = EventLog::new(|_| ());
        log.record(Milestone::ShutdownStarting {});
        let (kept, mut live) = log.follow(None, None);
        log.record(Milestone::ShutdownFinished {});
        assert_eq!(kept.len(), 1);
        assert_eq!(live.try_recv().expect("the second event").seq, 2);
        let all_seen = log.follow(Some(2), None).0;
        assert!(all_seen.is_empty());
        let of_another_daemon = log.follow(Some(3), None).0;
        assert_eq!(of_another_daemon.len(), 2);
    }

    #[test]
    fn a_milestone_reads_as_message_and_data() {
        let milestone = Milestone::TrafficSwitched {
            release_id: "v2".into(),
            instance: 2,
            previous_release_id: None,
        };
        assert_eq!(
            serde_json::to_string(&milestone).expect("a milestone is plain data"),
            r#"{"message":"traffic switched","data":{"releaseId":"v2","instance":2,"previousReleaseId":null}}"#
        );
    }
}
