//! A supervised process, what can be seen of it, and the certainty that nothing of it survives the test.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rollbridge::config::{self, Origin};
use rollbridge::events::EventLog;
use rollbridge::host::Usage;
use rollbridge::keeper::KeeperHost;
use rollbridge::process::{Condition, Launch, ManagedProcess, Scope, StartReason, Status};
use serde_json::{Value, json};

/// Long enough for anything on a machine that is busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// One supervised animal.
pub struct Cage {
    pub process: ManagedProcess,
    events: Arc<EventLog>,
    mark: Mark,
}

impl Cage {
    /// A companion with this shell command and these other `fields`, not started yet.
    pub fn build(command: &str, mut fields: Value) -> Cage {
        let mark = Mark::new();
        fields["id"] = "animal".into();
        fields["policy"] = "companion".into();
        fields["command"] = command.into();
        fields["env"] = json!({ "ZOO_MARK": mark.0 });
        let web = json!({ "id": "web", "policy": "proxied", "command": "true", "port": { "from": 3000, "to": 3001 } });
        let value = json!({ "application": "zoo", "processes": [web, fields] });
        let origin = Origin {
            folder: PathBuf::from("/"),
            application: None,
            path: None,
            shown: "the zoo".to_owned(),
        };
        let report = config::examine_value(&value, &[], &origin);
        let config = report.config.unwrap_or_else(|| panic!("{:?}", report.issues));
        let scope = Scope {
            application: "zoo".to_owned(),
            release_id: "v1".to_owned(),
            instance: 1,
            release_path: std::env::temp_dir(),
            revision: "v1".to_owned(),
            ports: BTreeMap::new(),
            proxy_host: "127.0.0.1".to_owned(),
            proxy_port: 8182,
            upstream_host: "127.0.0.1".to_owned(),
            environment: Arc::new(std::env::vars_os().collect()),
        };
        let launch = Launch::single(config.process("animal").unwrap(), &Arc::new(scope));
        let events = Arc::new(EventLog::new(|_| ()));
        let host = Arc::new(KeeperHost::in_this_process().expect("a thread"));
        Cage {
            process: ManagedProcess::supervise(host, events.clone(), launch, true),
            events,
            mark,
        }
    }

    /// Like [`Cage::build`], and started.
    pub async fn start(command: &str, fields: Value) -> Cage {
        let cage = Cage::build(command, fields);
        cage.process.start(StartReason::Deploy).await.unwrap();
        cage
    }

    pub fn lines(&self) -> Vec<String> {
        self.process.logs().into_iter().map(|line| line.line).collect()
    }

    /// The words of its history.
    pub fn messages(&self) -> Vec<String> {
        let events = self.events.recent(None, None);
        let word = |value: Value| value["message"].as_str().unwrap().to_owned();
        events
            .iter()
            .map(|event| word(serde_json::to_value(&event.milestone).unwrap()))
            .collect()
    }

    pub fn heard(&self, message: &str) -> bool {
        self.messages().iter().any(|heard| heard == message)
    }

    /// Waits until it has written a line that is just `wanted`.
    pub async fn says(&self, wanted: &str) {
        self.eventually(|cage| cage.lines().iter().any(|line| line == wanted))
            .await;
    }

    pub async fn eventually(&self, wanted: impl Fn(&Cage) -> bool) {
        let begun = Instant::now();
        while !wanted(self) {
            assert!(
                begun.elapsed() < PATIENCE,
                "{:?} {:?} {:?}",
                self.process.status(),
                self.messages(),
                self.lines()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits for a status; panics when it does not come.
    pub async fn status(&self, wanted: impl FnMut(&Status) -> bool) -> Status {
        match tokio::time::timeout(PATIENCE, self.process.wait_for(wanted)).await {
            Ok(status) => status,
            Err(_) => panic!("{:?} {:?}", self.process.status(), self.messages()),
        }
    }

    pub async fn usage(&self) -> Usage {
        match self.process.usage() {
            Some(usage) => usage.await,
            None => Usage::default(),
        }
    }

    /// Waits until it has so many members: who has led to one of them may just be ending.
    pub async fn has_members(&self, count: usize) {
        let begun = Instant::now();
        loop {
            let members = self.usage().await.members;
            if members.len() == count {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{members:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Stops it and looks for survivors.
    pub async fn stop(&self) {
        if tokio::time::timeout(PATIENCE, self.process.stop()).await.is_err() {
            panic!(
                "does not stop: {:?} {:?}",
                self.process.status(),
                self.survivors()
            );
        }
        assert_eq!(self.survivors(), Vec::<String>::new());
        let status = self.process.status();
        assert_eq!((status.condition, status.pid), (Condition::Stopped, None));
    }

    /// Live processes that carry this test's mark.
    pub fn survivors(&self) -> Vec<String> {
        self.mark.carriers()
    }
}

/// A value in the environment by which a test knows everything it started, however far it ran.
pub struct Mark(pub String);

impl Mark {
    pub fn new() -> Mark {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Mark(format!("zoo-{}-{number}", std::process::id()))
    }

    /// Live processes that carry the mark, with their commands. Zombies have no environment.
    pub fn carriers(&self) -> Vec<String> {
        let variable = format!("ZOO_MARK={}", self.0);
        let carries = |folder: &PathBuf| {
            let environment = std::fs::read(folder.join("environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|entry| entry == variable.as_bytes())
        };
        let folders = std::fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .map(|entry| entry.path());
        folders
            .filter(carries)
            .map(|folder| {
                let command = std::fs::read(folder.join("cmdline")).unwrap_or_default();
                format!("{} {}", folder.display(), String::from_utf8_lossy(&command))
            })
            .collect()
    }
}
