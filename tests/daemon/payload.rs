//! The status payload: every documented name is there, and nothing but them.

use serde_json::{Value, json};

use crate::support::{Process, Setup, wait_until};

const PROCESS: [&str; 22] = [
    "id",
    "baseId",
    "replicaIndex",
    "policy",
    "releaseId",
    "state",
    "pid",
    "port",
    "command",
    "cwd",
    "startedAt",
    "uptimeMs",
    "restarts",
    "nextRestartAt",
    "lastStartReason",
    "exitCode",
    "exitSignal",
    "logs",
    "rssBytes",
    "memoryRestarts",
    "lastMemoryRestartAt",
    "children",
];

fn names(object: &Value) -> Vec<&str> {
    let object = object.as_object().expect("an object");
    let mut names: Vec<&str> = object.keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

fn sorted<const N: usize>(mut names: [&'static str; N]) -> Vec<&'static str> {
    names.sort_unstable();
    names.to_vec()
}

#[test]
fn the_payload_has_every_documented_field() {
    let worker = Process::companion("worker").running("echo hello; echo oops >&2; exec sleep 1000");
    let setup = Setup::with_idle_web();
    let web_port = setup.port(0);
    let daemon = setup
        .process(worker)
        .process(Process::service("broker"))
        .process(Process::singleton("scheduler"))
        .start();
    let mut request = daemon.deploy_request("v1");
    request["revision"] = "abc".into();
    daemon.ask(request).succeeds();
    wait_until("the worker has spoken twice", || {
        daemon.process("v1", "worker")["logs"]
            .as_array()
            .is_some_and(|logs| logs.len() == 2)
    });

    let status = daemon.status();
    assert_eq!(
        names(&status),
        sorted([
            "status",
            "application",
            "version",
            "protocolVersion",
            "activeReleaseId",
            "control",
            "proxy",
            "daemonRuntime",
            "bootstrap",
            "engine",
            "orphans",
            "releases",
            "services",
            "singletons",
        ])
    );
    assert_eq!(status["application"], "shop");
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert!(status["protocolVersion"].is_u64());
    assert_eq!(status["activeReleaseId"], "v1");
    assert_eq!(
        status["control"]["path"],
        daemon.socket().to_str().expect("UTF-8")
    );
    assert_eq!(names(&status["proxy"]), sorted(["host", "port", "upstreamHost"]));
    assert_eq!(status["proxy"]["host"], "127.0.0.1");
    assert_eq!(status["proxy"]["upstreamHost"], "127.0.0.1");
    assert_eq!(status["orphans"], json!([]));

    let release = &status["releases"][0];
    assert_eq!(
        names(release),
        sorted([
            "releaseId",
            "instance",
            "releasePath",
            "revision",
            "state",
            "ports",
            "connections",
            "connectionCount",
            "activatedAt",
            "drainStartedAt",
            "stoppedAt",
            "processes",
        ])
    );
    assert_eq!(release["revision"], "abc");
    assert_eq!(release["state"], "active");
    assert_eq!(release["ports"], json!({ "web": web_port }));
    assert_eq!(names(&release["connections"]), sorted(["http", "websocket"]));
    assert_eq!(
        (&release["drainStartedAt"], &release["stoppedAt"]),
        (&Value::Null, &Value::Null)
    );

    for list in ["services", "singletons"] {
        assert_eq!(names(&status[list][0]), sorted(["id", "process"]));
        assert_eq!(names(&status[list][0]["process"]), sorted(PROCESS));
    }
    let worker = daemon.process("v1", "worker");
    assert_eq!(names(&worker), sorted(PROCESS));
    assert_eq!(
        (&worker["policy"], &worker["state"]),
        (&json!("companion"), &json!("running"))
    );
    assert_eq!(
        (&worker["port"], &worker["replicaIndex"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(
        (&worker["restarts"], &worker["memoryRestarts"]),
        (&json!(0), &json!(0))
    );
    assert!(worker["command"].to_string().contains("echo hello"));
    assert!(
        worker["uptimeMs"].is_u64() && worker["startedAt"].is_string(),
        "{worker}"
    );
    let logs = worker["logs"].as_array().expect("a list");
    for line in logs {
        assert_eq!(names(line), sorted(["seq", "at", "stream", "line"]));
    }
    let mut said: Vec<_> = logs
        .iter()
        .map(|line| (line["stream"].as_str(), line["line"].as_str()))
        .collect();
    said.sort_unstable();
    assert_eq!(
        said,
        [(Some("stderr"), Some("oops")), (Some("stdout"), Some("hello"))]
    );
}

#[test]
fn a_stopped_process_has_every_field_too() {
    let daemon = Setup::with_idle_web().start();
    daemon.deploy("v1").succeeds();
    daemon.stop().succeeds();
    let web = daemon.process("v1", "web");
    assert_eq!(names(&web), sorted(PROCESS));
    assert_eq!(web["state"], "stopped");
    assert_eq!((&web["pid"], &web["uptimeMs"]), (&Value::Null, &Value::Null));
    assert_eq!(web["exitSignal"], "SIGTERM");
}

#[test]
fn only_the_last_lines_of_output_are_kept() {
    let worker = Process::companion("worker")
        .running("seq 100; head -c 70000 /dev/zero | tr '\\0' x; echo; printf 'a\\377b\\n'; exec sleep 1000")
        .set("outputLines", 4);
    let daemon = Setup::with_idle_web().process(worker).start();
    daemon.deploy("v1").succeeds();
    wait_until("the last line is there", || {
        daemon.process("v1", "worker")["logs"][3]["seq"] == 102
    });
    let logs = daemon.process("v1", "worker")["logs"].clone();
    assert_eq!(logs.as_array().map(Vec::len), Some(4));
    assert_eq!(
        (&logs[0]["line"], &logs[1]["line"]),
        (&json!("99"), &json!("100"))
    );
    let long = logs[2]["line"].as_str().expect("a line");
    assert!(
        long.starts_with(&"x".repeat(64 * 1024)) && long.contains("cut"),
        "{}",
        long.len()
    );
    assert_eq!(logs[3]["line"], "a\u{fffd}b");
}
