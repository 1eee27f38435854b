//! An engine that is killed, and the next one that goes on as if nothing had happened.

mod absence;
mod deploys;
mod keeper;
mod load;
mod states;

use serde_json::Value;

use crate::support::{Daemon, Setup, wait_for, wait_until};

/// A setup whose engine can be told to die at a point it comes to.
fn mortal(setup: Setup) -> Setup {
    let file = setup.folder().join("fail-point").display().to_string();
    setup.env("ROLLBRIDGE_TEST_FAIL_POINT_FILE", &file)
}

/// Has the engine die once it comes to `point` in the course of `what`, and waits for the next one.
fn die_at(daemon: &Daemon, point: &str, what: Value) {
    let file = daemon.folder().join("fail-point");
    let engine = wait_for("there is an engine", || daemon.engine());
    std::fs::write(&file, point).expect("the folder is ours");
    let mut client = daemon.client();
    client.send(what);
    wait_until(point, || !file.exists());
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
