//! Definitions of managed processes, as the config has them.

use serde_json::{Value, json};

/// One entry of `processes`.
#[derive(Clone, Debug)]
pub struct Process(pub(super) Value);

impl Process {
    /// A web process that serves HTTP: see `apps/web.js`.
    pub fn web() -> Process {
        Process::web_after("true")
    }

    /// A web process whose shell does something first, and may never come to serving.
    pub fn web_after(preamble: &str) -> Process {
        let app = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/daemon/apps/web.js");
        Process::new("web", "proxied").running(&format!("{preamble}; exec node '{app}'"))
    }

    /// A web process that serves nothing and is never asked for its health.
    pub fn idle_web() -> Process {
        Process::new("web", "proxied").set("health", false)
    }

    pub fn companion(id: &str) -> Process {
        Process::new(id, "companion")
    }

    pub fn singleton(id: &str) -> Process {
        Process::new(id, "singleton")
    }

    pub fn service(id: &str) -> Process {
        Process::new(id, "service")
    }

    fn new(id: &str, policy: &str) -> Process {
        Process(json!({ "id": id, "policy": policy, "command": "exec sleep 1000" }))
    }

    /// The shell command.
    pub fn running(self, command: &str) -> Process {
        self.set("command", command)
    }

    pub fn set(mut self, field: &str, value: impl Into<Value>) -> Process {
        self.0[field] = value.into();
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Process {
        self.0["env"][name] = value.into();
        self
    }
}
