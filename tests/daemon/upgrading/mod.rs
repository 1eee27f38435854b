//! Another program takes over the running daemon: everything goes over, nothing is refused, cut or started again.

mod connections;
mod failing;
mod surroundings;

use serde_json::{Value, json};

use crate::support::Daemon;

/// The program that takes over in these tests: the same one, as another file would be.
fn program() -> &'static str {
    env!("CARGO_BIN_EXE_rollbridge")
}

fn request() -> Value {
    json!({ "command": "upgrade", "binary": program() })
}

fn upgrade(daemon: &Daemon) -> Value {
    daemon.ask(request()).succeeds()
}

fn engine(daemon: &Daemon) -> i32 {
    let pid = daemon.status()["engine"]["pid"].as_i64().expect("an engine");
    i32::try_from(pid).expect("a pid")
}

/// The engines there are: the one that serves, and those that still finish something.
fn engines(daemon: &Daemon) -> Vec<i32> {
    let name = |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", daemon.pid()));
    let children = children.expect("the daemon lives");
    let pids = children
        .split_ascii_whitespace()
        .filter_map(|pid| pid.parse().ok());
    pids.filter(|pid| name(*pid).trim() == "rollbridge").collect()
}

fn running(daemon: &Daemon) -> Vec<i32> {
    // In this order, because one that has nothing to finish any more may just be going.
    let engines = engines(daemon);
    let mut pids = daemon.living();
    pids.retain(|pid| !engines.contains(pid));
    pids
}

fn http(daemon: &Daemon) -> Value {
    daemon.release("v1")["connections"]["http"].clone()
}

fn file_in(daemon: &Daemon, name: &str) -> String {
    daemon.folder().join(name).display().to_string()
}
