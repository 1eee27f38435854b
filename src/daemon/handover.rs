//! What a retired engine and the one that serves tell each other until the last connection of the retired one has ended.

use serde::{Deserialize, Serialize};

use super::ReleaseConnection;
use crate::proxy::{HandedState, Proxy};
use crate::release::ReleaseKey;

/// How far the numbers of connections of the next engine are from those of this one, which may still accept some.
const NUMBERS_APART: u64 = 1000;

/// The number from which whoever takes over connections of this process numbers its own.
pub(super) fn next_connection() -> u64 {
    Proxy::next_number() + NUMBERS_APART
}

/// From the retired engine.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind", rename_all_fields = "camelCase")]
pub(super) enum FromRetired {
    /// A client has asked for the upgrade, and waits for the answer on the socket that comes with this.
    Asked {
        /// The version of the retired engine.
        previous_version: String,
    },
    /// A connection; its descriptors come with this: the client's, and for a tunnel the upstream's.
    Connection {
        /// How it stands.
        state: HandedState,
        /// The release it belongs to; none if it belongs to none.
        release: Option<ReleaseKey>,
    },
    /// What is still open there, of each release.
    Open {
        /// The releases that have something open.
        releases: Vec<OpenThere>,
    },
    /// The answer to `Look`.
    Seen {
        /// The number it had.
        question: u64,
        /// What is open there; what was cut, where that was asked for.
        open: Vec<ReleaseConnection>,
    },
}

/// What a retired engine has still open of one release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OpenThere {
    pub release: ReleaseKey,
    pub http: usize,
    pub websocket: usize,
}

/// To the retired engine.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind", rename_all_fields = "camelCase")]
pub(super) enum ToRetired {
    /// Somebody new reads: it is to be told what is open.
    Here {},
    /// The time of this release is over: its connections are to be cut.
    Cut {
        /// The release.
        release: ReleaseKey,
    },
    /// What is open is asked for, one by one.
    Look {
        /// Names the answer.
        question: u64,
        /// Cut this connection, and tell of no other.
        close: Option<u64>,
    },
}
