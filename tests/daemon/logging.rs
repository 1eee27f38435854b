//! What processes said, by the command and over the control socket.

use serde_json::{Value, json};

use crate::support::{Daemon, Process, Setup, has_said, wait_until};

fn talking() -> Daemon {
    let saying = |what: &str| format!("echo {what}-$ROLLBRIDGE_RELEASE_ID; exec sleep 1000");
    let worker = Process::companion("worker").running(&saying("worker"));
    let daemon = Setup::with_idle_web()
        .process(worker.set("replicas", 2))
        .process(Process::singleton("scheduler").running(&saying("scheduler")))
        .start();
    for release in ["v1", "v2"] {
        daemon.deploy(release).succeeds();
        wait_until("all have spoken", || {
            let worker = |id: &str| has_said(&daemon.process(release, id), &format!("worker-{release}"));
            let scheduler = has_said(&daemon.singleton("scheduler"), &format!("scheduler-{release}"));
            worker("worker#0") && worker("worker#1") && scheduler
        });
        daemon.wait_for_state(release, "active");
    }
    daemon.wait_for_state("v1", "stopped");
    daemon
}

/// `source id line` of every line.
fn told(logs: &Value) -> Vec<String> {
    let logs = logs.as_array().expect("a list").iter();
    logs.flat_map(|process| {
        let lines = process["logs"].as_array().expect("a list").iter();
        lines.map(move |line| {
            let words = [&process["source"], &process["id"], &line["line"]];
            words.map(|word| word.as_str().expect("text")).join(" ")
        })
    })
    .collect()
}

#[test]
fn the_command_prints_what_was_asked_for() {
    let daemon = talking();
    let run = |arguments: &[&str]| {
        let output = daemon.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let listed = |arguments: &[&str]| told(&serde_json::from_str(&run(arguments)).expect("JSON"));
    let all = listed(&["logs", "--json"]);
    for line in [
        "v2 worker#0 worker-v2",
        "v2 worker#1 worker-v2",
        "singleton scheduler scheduler-v2",
    ] {
        assert!(all.contains(&line.to_owned()), "{all:?}");
    }
    assert!(!all.iter().any(|line| line.starts_with("v1")), "{all:?}");
    let both = listed(&["logs", "--process", "worker", "--json"]);
    assert_eq!(both, ["v2 worker#0 worker-v2", "v2 worker#1 worker-v2"]);
    let one = listed(&["logs", "--process", "worker#1", "--release", "v1", "--json"]);
    assert_eq!(one, ["v1 worker#1 worker-v1"]);
    let readable = run(&["logs", "--process", "worker#1"]);
    assert!(readable.ends_with("  v2 worker#1 | worker-v2\n"), "{readable}");
}

#[test]
fn what_is_not_known_is_an_error() {
    let daemon = talking();
    for (request, code) in [
        (
            json!({ "command": "logs", "process": "nobody" }),
            "process_not_found",
        ),
        (
            json!({ "command": "logs", "releaseId": "v9" }),
            "release_not_found",
        ),
        (json!({ "command": "logs", "process": 5 }), "invalid_request"),
    ] {
        daemon.ask(request).fails_with(code);
    }
    let failed = daemon.run(&["logs", "--process", "nobody", "--json"]);
    assert_eq!(failed.status.code(), Some(1));
    let error: Value = serde_json::from_slice(&failed.stdout).expect("JSON");
    assert_eq!(error["code"], "process_not_found");
    assert!(error["error"].to_string().contains("worker#1"), "{error}");
}
