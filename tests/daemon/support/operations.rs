//! The commands that change what serves, and what a test changes behind the daemon's back.

use serde_json::{Value, json};

use super::client::{Answer, Client};
use super::daemon::Daemon;
use super::patience::wait_until;
use super::process::Process;

impl Daemon {
    pub fn rollback(&self) -> Answer {
        self.ask(json!({ "command": "rollback" }))
    }

    pub fn rollback_to(&self, id: &str) -> Answer {
        self.ask(json!({ "command": "rollback", "releaseId": id }))
    }

    /// Restarts everything that can be.
    pub fn restart(&self) -> Answer {
        self.ask(json!({ "command": "restart" }))
    }

    pub fn restart_process(&self, id: &str) -> Answer {
        self.ask(json!({ "command": "restart", "processId": id }))
    }

    pub fn restart_policy(&self, policy: &str) -> Answer {
        self.ask(json!({ "command": "restart", "policy": policy }))
    }

    /// Sends a request whose answer the returned client gets.
    pub fn begin(&self, request: Value) -> Client {
        let mut client = self.client();
        client.send(request);
        client
    }

    /// The same, and waits for the first progress line of a phase; also returns the lines up to that.
    pub fn begin_with_progress(&self, mut request: Value, phase: &str) -> (Client, Vec<Value>) {
        request["progress"] = true.into();
        let mut client = self.begin(request);
        let mut lines = Vec::new();
        while lines.last().is_none_or(|line: &Value| line["phase"] != phase) {
            lines.push(client.line());
        }
        (client, lines)
    }

    /// Changes the config file; the daemon is not told.
    pub fn edit_config(&self, change: impl FnOnce(&mut Value)) {
        let text = std::fs::read_to_string(self.config()).expect("the config is there");
        let mut config = serde_json::from_str(&text).expect("the config is JSON");
        change(&mut config);
        std::fs::write(self.config(), config.to_string()).expect("the folder is ours");
    }

    /// Changes one definition in the config file.
    pub fn edit_process(&self, id: &str, change: impl FnOnce(&mut Value)) {
        self.edit_config(|config| {
            let processes = config["processes"].as_array_mut().expect("a list");
            let definition = processes.iter_mut().find(|process| process["id"] == id);
            change(definition.expect("it is in the config"));
        });
    }

    pub fn add_process(&self, process: Process) {
        self.edit_config(|config| {
            config["processes"]
                .as_array_mut()
                .expect("a list")
                .push(process.0)
        });
    }

    pub fn remove_process(&self, id: &str) {
        self.edit_config(|config| {
            let processes = config["processes"].as_array_mut().expect("a list");
            processes.retain(|process| process["id"] != id);
        });
    }

    /// Leaves a script in a release's folder for [`Process::unless_told`] to run instead.
    pub fn tell(&self, release: &str, id: &str, script: &str) {
        let file = self.release_folder(release).join(format!("instead-of-{id}"));
        std::fs::write(file, script).expect("the folder is ours");
    }

    /// The state of a release; null if it is not known.
    pub fn state(&self, release: &str) -> Value {
        self.release(release)["state"].clone()
    }

    pub fn wait_for_state(&self, release: &str, state: &str) {
        wait_until(&format!("{release} is {state}"), || self.state(release) == state);
    }

    /// Whether a process of a release has been spawned; false if the release is not known yet.
    pub fn process_is_up(&self, release: &str, id: &str) -> bool {
        let processes = self.release(release)["processes"].clone();
        let mut processes = processes.as_array().into_iter().flatten();
        processes.any(|process| process["id"] == id && process["state"] == "running")
    }

    /// The ids of the known releases, oldest first.
    pub fn release_ids(&self) -> Vec<String> {
        let status = self.status();
        let releases = status["releases"].as_array().expect("a list").iter();
        releases.map(|one| text(&one["releaseId"])).collect()
    }

    /// How many events there are so far: those that follow are what happens next.
    pub fn moment(&self) -> usize {
        self.events().len()
    }

    /// The events since `moment` as short lines.
    pub fn story_since(&self, moment: usize) -> Vec<String> {
        super::story::told(&self.events()[moment..])
    }
}

impl Process {
    /// Runs its command, except in a release whose folder says what to do instead; see [`Daemon::tell`].
    pub fn unless_told(self) -> Process {
        let (id, command) = (text(&self.0["id"]), text(&self.0["command"]));
        self.running(&format!(
            "if [ -f {{{{releasePath}}}}/instead-of-{id} ]; then . {{{{releasePath}}}}/instead-of-{id}; fi; {command}"
        ))
    }
}

/// The pid in the status of a process that runs.
pub fn pid(process: &Value) -> i32 {
    i32::try_from(
        process["pid"]
            .as_i64()
            .unwrap_or_else(|| panic!("no pid in {process:#}")),
    )
    .expect("a pid")
}

/// Whether a process, by its status, has written this line.
pub fn has_said(process: &Value, line: &str) -> bool {
    let logs = process["logs"].as_array().expect("a list");
    logs.iter().any(|log| log["line"] == line)
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}
