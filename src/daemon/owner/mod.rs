//! One daemon takes the place of another that was started apart from it, by a service manager for example: the *owner*
//! retires, the *successor* has its listeners and idle clients, and singletons never run in both.
//!
//! The steps, in the order in which they happen:
//!
//! 1. The successor asks; the owner takes its turn, so that nothing is deployed meanwhile, and passes its listeners.
//! 2. The successor brings up its own release and finds it healthy. It accepts no client yet.
//! 3. The owner stops its singletons, and the services that there may be only one of.
//! 4. The successor starts its own.
//! 5. The owner accepts no more, gives its clients over as they come to rest, drains, and ends.
//!
//! Whoever goes away before the last step leaves everything to the other: the owner starts again what it has stopped, once
//! the successor is gone with all it had.

mod clients;
mod leaving;
mod succeeding;

use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::config::{DeployStrategy, Policy, PortSpec, ProcessDefinition};
use crate::proxy::HandedState;

pub use clients::OWNER;
pub(super) use clients::Onward;
pub(super) use leaving::check_note;
pub use leaving::{Leaving, RetireRequest};
pub use succeeding::Succession;

/// From the successor to the owner.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
enum ToOwner {
    /// The release is healthy: stop what there may be only one of.
    Stop {},
    /// All of the successor serves: it goes on alone.
    Done {},
}

/// From the owner to the successor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
enum FromOwner {
    /// Nothing runs any more of what there may be only one of.
    Stopped {},
    /// This daemon has left: the successor goes on alone.
    Left {
        /// Where the successor numbers its own connections from, so that they are not taken for those that come over.
        next_connection: u64,
    },
    /// A client that is at rest, or whose request has been held; its descriptor comes with this.
    Client {
        /// How it stands.
        state: HandedState,
    },
}

/// Why a daemon did not take another one's place.
#[derive(Debug, Error)]
pub enum SuccessionError {
    /// It ended, or took back its word.
    #[error(
        "the daemon whose place was to be taken has gone in the middle of it; look at its log, and start again"
    )]
    OwnerGone,
    /// Something of its own did not start.
    #[error("{0}; the daemon that was to be succeeded goes on")]
    NotStarted(String),
    /// Somebody ended this daemon first.
    #[error("this daemon was told to end; the daemon that was to be succeeded goes on")]
    Ended,
    /// The system refused.
    #[error("cannot speak to the daemon whose place is to be taken: {0}")]
    Socket(#[from] std::io::Error),
}

/// What an owner passes to its successor.
#[derive(Debug)]
pub struct Passed {
    /// Where clients of the proxy come in.
    pub proxy: OwnedFd,
    /// Where clients of the daemon come in.
    pub control: OwnedFd,
    /// The way to the owner.
    pub way: OwnedFd,
}

/// Whether there may be only one of this process beside all releases and daemons: it has no port that another copy could
/// differ in.
fn is_exclusive(definition: &ProcessDefinition) -> bool {
    match definition.policy {
        Policy::Singleton => true,
        Policy::Service => {
            let has_range = matches!(definition.port, Some(PortSpec::Range { .. }));
            definition.deploy_strategy == DeployStrategy::Persistent && !has_range
        }
        Policy::Proxied | Policy::Companion => false,
    }
}
