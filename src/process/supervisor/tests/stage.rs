//! What a test of one supervised process needs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::config::{self, Origin};
use crate::events::{EventLog, Milestone};
use crate::host::ProcessHost;
use crate::process::{Launch, ManagedProcess, Scope};

/// A supervised process, not started yet, with its history.
pub struct Stage {
    pub process: ManagedProcess,
    pub events: Arc<EventLog>,
}

impl Stage {
    /// A companion whose definition has these `fields` besides its id.
    pub fn new(host: Arc<dyn ProcessHost>, fields: Value) -> Stage {
        let events = Arc::new(EventLog::new(|_| ()));
        let launch = launch(fields);
        Stage {
            process: ManagedProcess::supervise(host, events.clone(), launch, true),
            events,
        }
    }

    /// The words of its history.
    pub fn messages(&self) -> Vec<String> {
        let word = |milestone: &Milestone| {
            let value = serde_json::to_value(milestone).unwrap();
            value["message"].as_str().unwrap().to_owned()
        };
        let events = self.events.recent(None, None);
        events.iter().map(|event| word(&event.milestone)).collect()
    }

    /// What its history tells besides a message, for each time it was told.
    pub fn told(&self, message: &str) -> Vec<Value> {
        let events = self.events.recent(None, None);
        events
            .iter()
            .map(|event| serde_json::to_value(&event.milestone).unwrap())
            .filter(|value| value["message"] == message)
            .map(|mut value| value["data"].take())
            .collect()
    }
}

/// The launch of a companion whose definition has these `fields` besides its id.
pub fn launch(fields: Value) -> Launch {
    launch_of("v1", fields)
}

/// The same in a release with this id.
pub fn launch_of(release_id: &str, fields: Value) -> Launch {
    let mut companion = json!({ "id": "worker", "policy": "companion" });
    for (name, value) in fields.as_object().unwrap() {
        companion[name] = value.clone();
    }
    let value = json!({
        "application": "stage",
        "processes": [{ "id": "web", "policy": "proxied", "command": "web", "port": { "from": 3000, "to": 3001 } }, companion],
    });
    let origin = Origin {
        folder: PathBuf::from("/"),
        application: None,
        path: None,
        shown: "the stage".to_owned(),
    };
    let report = config::examine_value(&value, &[], &origin);
    let config = report.config.unwrap_or_else(|| panic!("{:?}", report.issues));
    let scope = Scope {
        application: "stage".to_owned(),
        release_id: release_id.to_owned(),
        instance: 1,
        release_path: std::env::temp_dir(),
        revision: "v1".to_owned(),
        ports: BTreeMap::new(),
        proxy_host: "127.0.0.1".to_owned(),
        proxy_port: 8182,
        upstream_host: "127.0.0.1".to_owned(),
        environment: Arc::new(std::env::vars_os().collect()),
    };
    Launch::single(config.process("worker").unwrap(), &Arc::new(scope))
}
