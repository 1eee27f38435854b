//! A rollback to a release that still drains: it is put back as it is, connections and all.

use serde_json::{Value, json};

use crate::support::{
    Client, Daemon, Process, Setup, Wire, has_said, is_alive, pid, position, send, wait_until,
};

/// A daemon with v2 active while an open tunnel keeps v1 draining.
fn draining(setup: Setup) -> (Daemon, Wire) {
    let daemon = setup.proxy("drainTimeoutMs", 600_000).start();
    daemon.deploy("v1").succeeds();
    let mut tunnel = daemon.wire();
    assert_eq!(tunnel.upgrade(), "v1");
    daemon.deploy("v2").succeeds();
    assert_eq!(daemon.state("v1"), "draining");
    (daemon, tunnel)
}

fn pids(daemon: &Daemon, ids: &[&str]) -> Vec<i32> {
    ids.iter().map(|id| pid(&daemon.process("v1", id))).collect()
}

#[test]
fn nothing_of_it_is_restarted_and_no_connection_notices() {
    let (daemon, mut tunnel) = draining(Setup::with_web().process(Process::companion("worker")));
    let before = pids(&daemon, &["web", "worker"]);
    let moment = daemon.moment();
    daemon.rollback().succeeds();

    assert_eq!(pids(&daemon, &["web", "worker"]), before);
    let v1 = daemon.release("v1");
    assert_eq!(
        (&v1["instance"], &v1["state"], &v1["drainStartedAt"]),
        (&json!(1), &json!("active"), &Value::Null)
    );
    assert_eq!(daemon.get("/").body, "v1");
    assert!(tunnel.echoes("while active again"));
    daemon.wait_for_state("v2", "stopped");
    let story = daemon.story_since(moment);
    assert!(
        !story.iter().any(|line| line.starts_with("process started")),
        "{story:#?}"
    );

    // And on through the next drain.
    daemon.deploy("v3").succeeds();
    assert_eq!(daemon.state("v1"), "draining");
    assert!(tunnel.echoes("while draining once more"));
    drop(tunnel);
    daemon.wait_for_state("v1", "stopped");
    let drained = daemon.events_of("release drained");
    let v1: Vec<&Value> = drained.iter().filter(|data| data["releaseId"] == "v1").collect();
    assert_eq!(v1.len(), 1, "it drained to the end only once: {drained:?}");
    assert_eq!(v1[0]["cutWebsocket"], 0);
}

#[test]
fn what_had_stopped_already_is_started_again_first() {
    let early = Process::companion("early").set("nonBlockingDrain", true);
    let (daemon, mut tunnel) = draining(
        Setup::with_web()
            .process(early)
            .process(Process::companion("late")),
    );
    wait_until("the early one stops", || {
        daemon.process("v1", "early")["state"] == "stopped"
    });
    let before = pids(&daemon, &["web", "late"]);
    let moment = daemon.moment();
    daemon.rollback().succeeds();
    assert_eq!(pids(&daemon, &["web", "late"]), before);
    let early = daemon.process("v1", "early");
    assert_eq!(
        (&early["state"], &early["lastStartReason"]),
        (&"running".into(), &"rollback".into())
    );
    let story = daemon.story_since(moment);
    assert!(
        position(&story, "process started early v1") < position(&story, "traffic switched v1"),
        "{story:#?}"
    );
    assert!(tunnel.echoes("still there"));
}

/// A companion that stops early, says so in `releases/asked`, and is gone once there is a `releases/go`.
fn slow_to_stop() -> Process {
    let script = "trap 'touch ../asked; while ! [ -e ../go ]; do sleep 0.01; done; exit' TERM; echo ready; \
                  while :; do sleep 0.02; done";
    Process::companion("early")
        .set("nonBlockingDrain", true)
        .set("gracefulStopMs", "indefinite")
        .running(script)
}

/// A daemon whose rollback to v1 waits until its early companion is gone, with that companion's pid.
fn rolling_back_behind_a_stop() -> (Daemon, Wire, Client, i32) {
    let daemon = Setup::with_web().process(slow_to_stop()).start();
    daemon.deploy("v1").succeeds();
    wait_until("it is ready", || {
        has_said(&daemon.process("v1", "early"), "ready")
    });
    let first = pid(&daemon.process("v1", "early"));
    let mut tunnel = daemon.wire();
    tunnel.upgrade();
    daemon.deploy("v2").succeeds();
    wait_until("it is asked to stop", || {
        daemon.folder().join("releases/asked").exists()
    });
    let (rollback, lines) = daemon.begin_with_progress(json!({ "command": "rollback" }), "ports");
    assert!(
        lines
            .last()
            .expect("a line")
            .to_string()
            .contains("put back as it is"),
        "{lines:?}"
    );
    (daemon, tunnel, rollback, first)
}

fn go(daemon: &Daemon) {
    std::fs::write(daemon.folder().join("releases/go"), "").expect("the folder is ours");
}

#[test]
fn one_that_is_just_stopping_is_started_again_too() {
    let (daemon, mut tunnel, mut rollback, first) = rolling_back_behind_a_stop();
    assert!(is_alive(first));
    assert_eq!(daemon.status()["activeReleaseId"], "v2");
    go(&daemon);
    rollback.answer().succeeds();
    let early = daemon.process("v1", "early");
    assert_eq!(early["state"], "running");
    assert!(pid(&early) != first && !is_alive(first));
    assert!(tunnel.echoes("still there"));
}

#[test]
fn a_stop_of_the_release_cancels_its_way_back() {
    let (daemon, mut tunnel, mut rollback, first) = rolling_back_behind_a_stop();
    let mut stop = daemon.begin(json!({ "command": "stop", "releaseId": "v1" }));
    let error = rollback.answer().fails_with("deploy_cancelled");
    assert_eq!(
        (&error["phase"], &error["activeReleaseId"]),
        (&"companions".into(), &"v2".into())
    );
    go(&daemon);
    stop.answer().succeeds();
    assert_eq!(daemon.state("v1"), "stopped");
    assert!(!is_alive(first) && tunnel.is_cut());
    assert_eq!(daemon.get("/").body, "v2");
    let alive = daemon.living();
    let v2 = ["early", "web"].map(|id| pid(&daemon.process("v2", id)));
    assert!(alive.len() >= 2 && v2.iter().all(|pid| alive.contains(pid)));
}

#[test]
fn one_whose_health_is_gone_is_started_anew_beside_it() {
    let web = Process::web().env("UNHEALTHY_FILE", "{{releasePath}}/unhealthy");
    let (daemon, mut tunnel) = draining(Setup::new().process(web));
    let first = pid(&daemon.process("v1", "web"));
    let unhealthy = daemon.release_folder("v1").join("unhealthy");
    std::fs::write(&unhealthy, "").expect("the folder is ours");
    // While the old instance says no, the new one must say yes.
    let mut rollback = daemon.begin(json!({ "command": "rollback" }));
    wait_until("another instance is started", || {
        daemon.release("v1")["instance"] == 2
    });
    std::fs::remove_file(&unhealthy).expect("it is there");
    rollback.answer().succeeds();
    let second = daemon.process("v1", "web");
    assert!(pid(&second) != first);
    assert_eq!(second["lastStartReason"], "rollback");
    assert_eq!(daemon.status()["releases"][0]["state"], "draining");
    assert!(tunnel.echoes("the first instance goes on draining"));
    drop(tunnel);
    wait_until("the first instance is over", || {
        daemon.status()["releases"][0]["state"] == "stopped"
    });
}

#[test]
fn one_whose_web_process_died_is_started_anew() {
    let (daemon, tunnel) = draining(Setup::with_web());
    send(
        pid(&daemon.process("v1", "web")),
        nix::sys::signal::Signal::SIGKILL,
    );
    drop(tunnel);
    daemon.rollback_to("v1").succeeds();
    assert_eq!(daemon.release("v1")["instance"], 2);
    assert_eq!(daemon.get("/").body, "v1");
}

#[test]
fn a_rollback_that_fails_on_the_way_back_lets_it_drain_on() {
    let early = |id: &str| Process::companion(id).set("nonBlockingDrain", true);
    let setup = Setup::with_web()
        .process(early("first"))
        .process(early("second").set("cwd", "sub"))
        .proxy("drainTimeoutMs", 600_000);
    let daemon = setup.start();
    for release in ["v1", "v2"] {
        std::fs::create_dir(daemon.release_folder(release).join("sub")).expect("a folder");
    }
    daemon.deploy("v1").succeeds();
    let mut tunnel = daemon.wire();
    tunnel.upgrade();
    daemon.deploy("v2").succeeds();
    wait_until("both have stopped", || {
        let has_stopped = |id: &&str| daemon.process("v1", id)["state"] == "stopped";
        ["first", "second"].iter().all(has_stopped)
    });
    let before = daemon.living();

    std::fs::remove_dir(daemon.release_folder("v1").join("sub")).expect("it is there");
    // Only a rollback that succeeds brings a config into force: by this one the tunnel would be cut.
    daemon.edit_config(|config| config["proxy"]["drainTimeoutMs"] = 0.into());
    let error = daemon.rollback().fails_with("spawn_failed");
    assert_eq!(
        (&error["processId"], &error["activeReleaseId"]),
        (&"second".into(), &"v2".into())
    );
    wait_until("what the rollback started is stopped again", || {
        daemon.living() == before
    });
    assert_eq!(daemon.events_of("rollback failed").len(), 1);
    assert_eq!(daemon.state("v1"), "draining");
    assert!(tunnel.echoes("still there"));
    assert_eq!(daemon.get("/").body, "v2");
}

#[test]
fn what_the_config_gained_meanwhile_keeps_its_port() {
    let setup = Setup::with_web();
    let port = setup.spare_port(0);
    let (daemon, _tunnel) = draining(setup);
    daemon.add_process(
        Process::service("broker")
            .set("port", port)
            .set("restartDelayMs", 0)
            .running("echo on {{port}}; exec sleep 1000"),
    );
    daemon.deploy("v3").succeeds();
    daemon.rollback_to("v1").succeeds();
    assert_eq!(daemon.release("v1")["instance"], 1, "it was put back as it was");
    let broker = daemon.service("broker");
    assert_eq!(broker["port"], port);
    send(pid(&broker), nix::sys::signal::Signal::SIGKILL);
    wait_until("the broker is back", || {
        let again = daemon.service("broker");
        again["state"] == "running" && again["pid"] != broker["pid"]
    });
    assert_eq!(daemon.service("broker")["port"], port);
    let line = format!("on {port}");
    wait_until("it was given its port", || {
        has_said(&daemon.service("broker"), &line)
    });
}
