//! Deploys that fail: at once, with all the evidence, and without a trace in what serves.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Daemon, Process, Setup, Traffic, wait_until};

/// A web process that serves, except in a release whose folder says what to do instead.
fn web_unless_told() -> Process {
    Process::web_after("if [ -f instead ]; then . ./instead; fi")
}

fn tell(daemon: &Daemon, release: &str, instead: &str) {
    let file = daemon.release_folder(release).join("instead");
    std::fs::write(file, instead).expect("the folder is ours");
}

fn message(error: &Value) -> &str {
    error["error"].as_str().expect("a message")
}

/// Asserts that the failed deploy of v2 left v1 as it was.
fn only_v1_is_left(daemon: &Daemon, before: &[i32]) {
    assert_eq!(daemon.status()["activeReleaseId"], "v1");
    assert_eq!(
        daemon.living(),
        before,
        "exactly what ran before the deploy runs after it"
    );
}

#[test]
fn an_exit_fails_the_deploy_at_once_and_nobody_notices() {
    let daemon = Setup::new()
        .process(web_unless_told())
        .process(Process::companion("worker"))
        .start();
    daemon.deploy("v1").succeeds();
    let before = daemon.living();
    let traffic = Traffic::start(daemon.proxy_address(), 8, 2);
    traffic.promise(1);
    wait_until("traffic flows", || {
        traffic.requests() > 8 && traffic.tunnels() == 2
    });

    tell(
        &daemon,
        "v2",
        "echo one; echo 'cannot find the database' >&2; exit 42",
    );
    let begun = Instant::now();
    let error = daemon.deploy("v2").fails_with("process_exited");
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "far below the 30 s of the health check"
    );
    assert_eq!(error["phase"], "health");
    assert_eq!(error["processId"], "web");
    assert_eq!(error["exitCode"], 42);
    assert_eq!(error["exitSignal"], Value::Null);
    assert_eq!(error["releaseId"], "v2");
    assert_eq!(error["activeReleaseId"], "v1");
    let lines: Vec<&Value> = error["logs"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|log| &log["line"])
        .collect();
    assert_eq!(lines.len(), 2, "{error}");
    assert!(lines.contains(&&"one".into()) && lines.contains(&&"cannot find the database".into()));
    for part in ["web exited with code 42", "v1 keeps serving"] {
        assert!(message(&error).contains(part), "{error}");
    }
    only_v1_is_left(&daemon, &before);
    traffic.ends_without_a_failure();

    let failed = daemon.release("v2");
    assert_eq!(failed["state"], "failed");
    assert_eq!(daemon.process("v2", "web")["exitCode"], 42);
    daemon.deploy("v3").succeeds();
    assert_eq!(
        daemon.release("v2"),
        Value::Null,
        "the next deploy sweeps it away"
    );
}

#[test]
fn the_last_words_of_a_process_are_in_the_message() {
    let daemon = Setup::new().process(web_unless_told()).start();
    for attempt in 0..5 {
        let release = format!("v{attempt}");
        tell(&daemon, &release, "seq 2000; printf 'no line end'; exit 1");
        let error = daemon.deploy(&release).fails_with("process_exited");
        assert!(message(&error).contains("last output: no line end"), "{error}");
        let logs = error["logs"].as_array().expect("a list");
        assert_eq!((logs.len(), &logs[18]["line"]), (20, &"2000".into()), "{error}");
    }
    assert!(message(&daemon.deploy("v0").fails_with("process_exited")).contains("no release is active"));
    daemon.leaves_nothing_running();
}

#[test]
fn a_signal_that_ends_the_web_process_is_named() {
    let daemon = Setup::new().process(web_unless_told()).start();
    tell(&daemon, "v1", "echo out of memory; kill -KILL $$");
    let error = daemon.deploy("v1").fails_with("process_exited");
    assert_eq!(
        (&error["exitCode"], &error["exitSignal"]),
        (&Value::Null, &"SIGKILL".into())
    );
    assert!(message(&error).contains("web was ended by SIGKILL"), "{error}");
    assert!(message(&error).contains("last output: out of memory"), "{error}");
    daemon.leaves_nothing_running();
}

#[test]
#[cfg_attr(
    feature = "portable",
    ignore = "only Linux tells whose a process in a session of its own is"
)]
fn a_web_process_that_leaves_children_behind_leaves_none() {
    let web = web_unless_told().set("gracefulStopMs", 200);
    let daemon = Setup::new().process(web).start();
    tell(
        &daemon,
        "v1",
        "(trap '' TERM; sleep 1000) & setsid sleep 1000 & exit 3",
    );
    daemon.deploy("v1").fails_with("process_exited");
    daemon.leaves_nothing_running();
}

#[test]
fn an_app_that_never_becomes_healthy_is_given_up_with_its_last_answer() {
    let web = |timeout_ms: u64| {
        let health = serde_json::json!({ "path": "/ping", "timeoutMs": timeout_ms, "intervalMs": 50 });
        Process::web().set("health", health)
    };
    // Long enough for the app to come up on a busy machine.
    let unhealthy = web(4000).env("PING_STATUS", "500");
    let daemon = Setup::new().process(unhealthy).start();
    let error = daemon.deploy("v1").fails_with("health_timeout");
    assert_eq!(
        (&error["phase"], &error["processId"]),
        (&"health".into(), &"web".into())
    );
    for part in [
        "GET /ping on 127.0.0.1:",
        "within 4000 ms",
        "last answer: 500 Internal Server Error",
    ] {
        assert!(message(&error).contains(part), "{error}");
    }
    daemon.leaves_nothing_running();
    assert_eq!(daemon.get("/").status, 503);

    let silent = web(300).running("echo still thinking; exec sleep 1000");
    let daemon = Setup::new().process(silent).start();
    let error = daemon.deploy("v1").fails_with("health_timeout");
    for part in ["last answer: connection refused", "last output: still thinking"] {
        assert!(message(&error).contains(part), "{error}");
    }
    daemon.leaves_nothing_running();
}
