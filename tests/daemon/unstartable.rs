//! Deploys that ask for what cannot be had: a folder, a value, a port.

use std::path::Path;

use serde_json::Value;

use crate::support::{Process, Setup, wait_until};

fn message(error: &Value) -> &str {
    error["error"].as_str().expect("a message")
}

/// What v2 asks for that cannot be had, and what the error says of it.
struct Impossible {
    process: Process,
    code: &'static str,
    phase: &'static str,
    says: &'static [&'static str],
}

#[test]
fn what_cannot_be_started_is_named_and_undone() {
    let table = [
        Impossible {
            process: Process::companion("worker").set("cwd", "only-in-{{releaseId}}"),
            code: "spawn_failed",
            phase: "companions",
            says: &["worker", "only-in-v2", "No such file or directory", "sleep 1000"],
        },
        Impossible {
            process: Process::companion("worker").running("exec sleep {{env.ONLY_SOMETIMES}}"),
            code: "spawn_failed",
            phase: "companions",
            says: &["worker", "{{env.ONLY_SOMETIMES}}", "command"],
        },
        Impossible {
            process: Process::companion("worker").env("TOKEN", "{{env.ONLY_SOMETIMES}}"),
            code: "spawn_failed",
            phase: "companions",
            says: &["worker", "{{env.ONLY_SOMETIMES}}", "env.TOKEN"],
        },
        Impossible {
            process: Process::service("broker").set("cwd", "/nowhere/at/all"),
            code: "spawn_failed",
            phase: "services",
            says: &["broker", "/nowhere/at/all", "No such file or directory"],
        },
        Impossible {
            process: Process::companion("worker")
                .running("test {{releaseId}} = v1 && exec sleep 1000; exit 7")
                .set("restart", serde_json::json!({ "maxRestarts": 0 })),
            code: "process_exited",
            phase: "health",
            says: &["worker exited with code 7"],
        },
    ];
    for impossible in table {
        // A web process that takes its time, so that a companion's end is always seen while it starts.
        let web = Process::web().running("exec sleep 1000");
        let daemon = Setup::new()
            .process(impossible.process)
            .process(web)
            .process(
                Process::service("other")
                    .running("trap 'sleep 0.2; exit' TERM; while :; do sleep 0.05; done"),
            )
            .start();
        let error = daemon.deploy("v2").fails_with(impossible.code);
        assert_eq!(error["phase"], impossible.phase, "{error}");
        for part in impossible.says {
            assert!(message(&error).contains(part), "{part:?} in {error}");
        }
        daemon.leaves_nothing_running();
        assert_eq!(daemon.status()["services"], Value::Array(Vec::new()));
    }
}

#[test]
fn only_what_the_failed_deploy_started_is_stopped() {
    let worker = Process::companion("worker").set("cwd", "sub");
    let daemon = Setup::with_idle_web()
        .process(Process::service("broker"))
        .process(Process::singleton("scheduler"))
        .process(Process::companion("mailer"))
        .process(worker)
        .start();
    std::fs::create_dir(daemon.release_folder("v1").join("sub")).expect("a folder");
    daemon.deploy("v1").succeeds();
    let before = daemon.living();
    assert_eq!(before.len(), 5);
    daemon.deploy("v2").fails_with("spawn_failed");
    assert_eq!(daemon.status()["activeReleaseId"], "v1");
    assert_eq!(daemon.living(), before, "exactly what ran before runs after it");
    assert_eq!(daemon.process("v2", "mailer")["state"], "stopped");
}

#[test]
fn a_release_path_must_be_a_folder() {
    let daemon = Setup::with_idle_web().start();
    let file = daemon.folder().join("a-file");
    std::fs::write(&file, "").expect("the folder is ours");
    let ask = |path: &Path| daemon.ask(serde_json::json!({ "command": "deploy", "releasePath": path }));
    for (path, reason) in [
        (daemon.folder().join("missing"), "No such file or directory"),
        (file, "not a directory"),
    ] {
        let error = ask(&path).fails_with("release_path_missing");
        assert_eq!(error["phase"], "config");
        assert!(message(&error).contains(reason), "{error}");
        assert!(message(&error).contains(path.to_str().expect("UTF-8")), "{error}");
    }
    let error = ask(Path::new("relative/path")).fails_with("invalid_request");
    assert!(message(&error).contains("absolute"), "{error}");
}

#[test]
fn a_linked_release_path_is_followed_once() {
    let daemon = Setup::with_idle_web().start();
    let (first, current) = (daemon.release_folder("first"), daemon.folder().join("current"));
    std::os::unix::fs::symlink(&first, &current).expect("a link");
    daemon
        .ask(serde_json::json!({ "command": "deploy", "releasePath": current, "releaseId": "v1" }))
        .succeeds();
    assert_eq!(
        daemon.release("v1")["releasePath"],
        first.to_str().expect("UTF-8")
    );
}

#[test]
fn an_exhausted_range_says_who_has_its_ports() {
    let setup = Setup::with_idle_web();
    let (from, to) = (setup.spare_port(0), setup.spare_port(2));
    let stranger = std::net::TcpListener::bind(("127.0.0.1", to)).expect("the port is ours to take");
    let range = serde_json::json!({ "from": from, "to": to });
    // Stops so slowly that its port is taken as long as the test looks.
    let worker = Process::companion("worker")
        .set("port", range)
        .set("gracefulStopMs", "indefinite")
        .running("trap '' TERM; echo ready; while :; do sleep 1; done");
    let daemon = setup.process(worker).start();
    for release in ["v1", "v2"] {
        daemon.deploy(release).succeeds();
        wait_until("the worker ignores SIGTERM", || {
            daemon.process(release, "worker")["logs"][0]["line"] == "ready"
        });
    }
    let error = daemon.deploy("v3").fails_with("port_exhausted");
    assert_eq!(
        (&error["phase"], &error["processId"]),
        (&"ports".into(), &"worker".into())
    );
    let counts = format!("worker in {from}-{to}: 2 reserved by running releases, 1 in use by other programs");
    assert!(message(&error).contains(&counts), "{error}");
    drop(stranger);
    daemon.deploy("v3").succeeds();
}

#[test]
fn a_port_is_free_again_once_its_release_is_over() {
    let setup = Setup::new();
    let port = setup.port(0);
    let daemon = setup.process(Process::idle_web()).start();
    for release in ["v1", "v2", "v3"] {
        daemon.deploy(release).succeeds();
        wait_until("only one release is left", || {
            let releases = daemon.status()["releases"].clone();
            let over = |release: &&Value| release["state"] == "stopped";
            let releases = releases.as_array().expect("a list");
            releases.iter().filter(over).count() + 1 == releases.len()
        });
    }
    let ports: Vec<Value> = ["v1", "v2", "v3"]
        .map(|id| daemon.release(id)["ports"]["web"].clone())
        .into();
    assert_eq!(ports, [port, port + 1, port]);
}

#[test]
fn a_failure_behind_the_switch_leaves_traffic_on_the_new_release() {
    let scheduler = Process::singleton("scheduler")
        .set("cwd", "only-in-v1")
        .set("restartDelayMs", 60_000);
    let daemon = Setup::with_web().process(scheduler).start();
    std::fs::create_dir(daemon.release_folder("v1").join("only-in-v1")).expect("a folder");
    daemon.deploy("v1").succeeds();
    let error = daemon.deploy("v2").fails_with("post_switch_failed");
    assert!(message(&error).starts_with("traffic is on v2"), "{error}");
    assert_eq!(
        (&error["phase"], &error["processId"]),
        (&"singletons".into(), &"scheduler".into())
    );
    assert_eq!(error["activeReleaseId"], "v2");
    assert_eq!(daemon.get("/").body, "v2");
    wait_until("v1 drains all the same", || {
        daemon.release("v1")["state"] == "stopped"
    });
    assert_eq!(
        daemon.singleton("scheduler")["state"],
        "backoff",
        "its restart policy goes on"
    );
}
