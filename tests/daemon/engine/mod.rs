//! An engine that is killed, and the next one that goes on as if nothing had happened.

mod absence;
mod deploys;
mod keeper;
mod load;
mod states;

use serde_json::Value;

use crate::support::{Daemon, wait_for, wait_until};

/// Has the engine die once it comes to `point` in the course of `what`, and waits for the next one.
fn die_at(daemon: &Daemon, point: &str, what: Value) {
    let engine = wait_for("there is an engine", || daemon.engine());
    let _client = daemon.fail_at(point, what);
    wait_until("another engine is there", || {
        daemon.engine().is_some_and(|pid| pid != engine)
    });
}

/// What is running, by id, with its pid: of every release, service and singleton.
fn running(status: &Value) -> Vec<(String, i64)> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut processes: Vec<Value> = Vec::new();
    for release in list(&status["releases"]) {
        processes.extend(list(&release["processes"]));
    }
    for standing in list(&status["services"])
        .into_iter()
        .chain(list(&status["singletons"]))
    {
        processes.push(standing["process"].clone());
    }
    let pid = |process: &Value| Some((process["id"].as_str()?.to_owned(), process["pid"].as_i64()?));
    processes.iter().filter_map(pid).collect()
}
