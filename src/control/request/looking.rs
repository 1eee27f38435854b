//! Parameters of the requests that only look.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::daemon::{ConnectionsRequest, LogsRequest, Since};

/// Parameters of `events`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventsOptions {
    /// How many of the newest.
    pub limit: Option<usize>,
    /// Only those with a higher number.
    pub since: Option<u64>,
    /// Whether to go on sending events as they happen.
    pub follow: Option<bool>,
}

/// Parameters of `logs`, as they come.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogsOptions {
    process: Option<String>,
    release_id: Option<String>,
    since: Option<SinceOption>,
    follow: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(
    untagged,
    expecting = "since must be a number, or an object with a number for each origin"
)]
enum SinceOption {
    Above(u64),
    Each(BTreeMap<String, u64>),
}

impl LogsOptions {
    /// What the engine is asked.
    pub fn to_engine(&self) -> LogsRequest {
        LogsRequest {
            process_id: self.process.clone(),
            release_id: self.release_id.clone(),
            since: match self.since.clone() {
                None => Since::Beginning,
                Some(SinceOption::Above(seq)) => Since::Above(seq),
                Some(SinceOption::Each(seen)) => Since::Seen(seen),
            },
        }
    }

    /// Whether to go on sending lines as they are written.
    pub fn follow(&self) -> bool {
        self.follow.unwrap_or(false)
    }
}

/// Parameters of `connections`, as they come.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionsOptions {
    release_id: Option<String>,
    close: Option<u64>,
}

impl ConnectionsOptions {
    /// What the engine is asked.
    pub fn to_engine(&self) -> ConnectionsRequest {
        ConnectionsRequest {
            release_id: self.release_id.clone(),
            close: self.close,
        }
    }
}
