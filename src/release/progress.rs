//! The phases of a deploy, and the steps whoever waits for it can watch.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::clock::Timestamp;

/// The phases of a deploy, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum DeployPhase {
    /// The config and the release path are checked.
    Config,
    /// Every process of the release gets its port.
    Ports,
    /// Services that do not run yet are started.
    Services,
    /// The release's companions are started.
    Companions,
    /// Its web process is started.
    Proxied,
    /// The web process is asked until it answers with a 2xx.
    Health,
    /// New requests go to the release.
    Switch,
    /// Singletons are replaced, one at a time.
    Singletons,
}

impl DeployPhase {
    /// Every phase, in order.
    pub const ALL: [DeployPhase; 8] = [
        DeployPhase::Config,
        DeployPhase::Ports,
        DeployPhase::Services,
        DeployPhase::Companions,
        DeployPhase::Proxied,
        DeployPhase::Health,
        DeployPhase::Switch,
        DeployPhase::Singletons,
    ];

    /// The word progress lines and errors use.
    pub fn as_str(self) -> &'static str {
        match self {
            DeployPhase::Config => "config",
            DeployPhase::Ports => "ports",
            DeployPhase::Services => "services",
            DeployPhase::Companions => "companions",
            DeployPhase::Proxied => "proxied",
            DeployPhase::Health => "health",
            DeployPhase::Switch => "switch",
            DeployPhase::Singletons => "singletons",
        }
    }
}

/// One step of a deploy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// When.
    pub at: Timestamp,
    /// In which phase.
    pub phase: DeployPhase,
    /// The process it is about, if it is about one.
    pub process_id: Option<String>,
    /// For people.
    pub message: String,
    /// For programs.
    pub detail: Detail,
}

/// The figures of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detail {
    /// None.
    None,
    /// A process was started.
    Started {
        /// Its pid.
        pid: Option<i32>,
        /// Its port.
        port: Option<u16>,
    },
    /// A health probe was made.
    Probe {
        /// Counts from 1.
        attempt: u32,
        /// Since the first.
        elapsed: Duration,
    },
}

/// Where the steps of a deploy go: to whoever waits for it, or nowhere.
#[derive(Clone, Debug, Default)]
pub struct Progress(Option<mpsc::UnboundedSender<Step>>);

impl Progress {
    /// Steps go to `sender`.
    pub fn to(sender: mpsc::UnboundedSender<Step>) -> Progress {
        Progress(Some(sender))
    }

    /// Tells a step that is about no process in particular.
    pub fn tell(&self, phase: DeployPhase, message: impl Into<String>) {
        self.send(phase, None, message.into(), Detail::None);
    }

    /// Tells a step of one process.
    pub fn tell_of(&self, phase: DeployPhase, process_id: &str, message: impl Into<String>, detail: Detail) {
        self.send(phase, Some(process_id.to_owned()), message.into(), detail);
    }

    fn send(&self, phase: DeployPhase, process_id: Option<String>, message: String, detail: Detail) {
        if let Some(sender) = &self.0 {
            // Whoever watched may have left; the deploy goes on.
            let _ = sender.send(Step {
                at: Timestamp::now(),
                phase,
                process_id,
                message,
                detail,
            });
        }
    }
}
