//! Processes that end although nobody asked them to.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{Daemon, Process, Setup, Traffic, is_alive, send, wait_for, wait_until};

fn pid(process: &Value) -> i32 {
    i32::try_from(process["pid"].as_i64().expect("it runs")).expect("a pid")
}

fn worker(daemon: &Daemon) -> Value {
    daemon.process("v1", "worker")
}

#[test]
fn a_companion_that_crashes_comes_back_after_its_delay() {
    // Long enough to be seen on a busy machine.
    let companion = Process::companion("worker").set("restartDelayMs", 2000);
    let daemon = Setup::with_idle_web().process(companion).start();
    daemon.deploy("v1").succeeds();
    let first = worker(&daemon);
    assert_eq!(
        (&first["restarts"], &first["lastStartReason"]),
        (&json!(0), &json!("deploy"))
    );
    send(pid(&first), Signal::SIGKILL);
    let waiting = wait_for("the restart is pending", || {
        let now = worker(&daemon);
        (now["state"] == "backoff").then_some(now)
    });
    assert!(
        waiting["nextRestartAt"].is_string() && waiting["pid"].is_null(),
        "{waiting}"
    );
    assert_eq!(waiting["exitSignal"], "SIGKILL");
    wait_until("it runs again", || worker(&daemon)["state"] == "running");
    let again = worker(&daemon);
    assert_ne!(again["pid"], first["pid"]);
    assert_eq!(
        (&again["restarts"], &again["lastStartReason"]),
        (&json!(1), &json!("crash"))
    );
    assert_eq!(again["nextRestartAt"], Value::Null);
    assert_eq!(daemon.events_of("process restart scheduled")[0]["delayMs"], 2000);
    assert_eq!(
        daemon
            .events_of("process started")
            .last()
            .expect("it was started")["reason"],
        "crash"
    );
}

#[test]
fn a_spent_budget_is_the_end() {
    let companion = Process::companion("worker")
        .running("test -f ../calm; seen=$?; echo try >> ../tries; test $seen = 0 || exit 5; exec sleep 1000")
        .set("restartDelayMs", 10)
        .set("restart", json!({ "maxRestarts": 2, "backoffFactor": 3 }));
    let daemon = Setup::with_idle_web().process(companion).start();
    std::fs::write(daemon.release_folder("v1").join("../calm"), "").expect("the folder is ours");
    daemon.deploy("v1").succeeds();
    wait_until("it has found calm", || {
        daemon.release_folder("v1").join("../tries").exists()
    });
    std::fs::remove_file(daemon.release_folder("v1").join("../calm")).expect("it is there");
    send(pid(&worker(&daemon)), Signal::SIGKILL);
    wait_until("it has failed for good", || worker(&daemon)["state"] == "failed");
    let tries = std::fs::read_to_string(daemon.release_folder("v1").join("../tries")).expect("it ran");
    assert_eq!(tries.lines().count(), 3, "the first start and two restarts");
    let failed = worker(&daemon);
    assert_eq!((&failed["restarts"], &failed["exitCode"]), (&json!(2), &json!(5)));
    let delays: Vec<Value> = daemon
        .events_of("process restart scheduled")
        .iter()
        .map(|data| data["delayMs"].clone())
        .collect();
    assert_eq!(delays, [10, 30]);
    let reached = daemon.events_of("restart limit reached");
    assert_eq!(reached.len(), 1, "{reached:?}");
    assert_eq!(
        (&reached[0]["processId"], &reached[0]["maxRestarts"]),
        (&json!("worker"), &json!(2))
    );
    assert_eq!(daemon.status()["activeReleaseId"], "v1");
}

#[test]
fn one_replica_crashes_alone() {
    let pool = Process::companion("pool")
        .set("replicas", 2)
        .set("restartDelayMs", 0);
    let daemon = Setup::with_idle_web().process(pool).start();
    daemon.deploy("v1").succeeds();
    let (first, second) = (daemon.process("v1", "pool#0"), daemon.process("v1", "pool#1"));
    send(pid(&first), Signal::SIGKILL);
    wait_until("the first is back", || {
        daemon.process("v1", "pool#0")["restarts"] == 1
    });
    assert_eq!(daemon.process("v1", "pool#1")["pid"], second["pid"]);
    assert_eq!(daemon.process("v1", "pool#1")["restarts"], 0);
}

#[test]
fn requests_wait_while_the_web_process_comes_back() {
    let web = Process::web().set("restartDelayMs", 100);
    let daemon = Setup::new().process(web).proxy("holdTimeoutMs", 30_000).start();
    daemon.deploy("v1").succeeds();
    // Nothing is in flight when it dies: what is, cannot be saved.
    let leader = pid(&daemon.process("v1", "web"));
    send(leader, Signal::SIGKILL);
    wait_until("it is dead", || !is_alive(leader));
    let traffic = Traffic::start(daemon.proxy_address(), 8, 0);
    traffic.promise(1);
    wait_until("everybody has been answered", || traffic.requests() >= 80);
    traffic.ends_without_a_failure();
    let web = daemon.process("v1", "web");
    assert_eq!(
        (&web["restarts"], &web["lastStartReason"]),
        (&json!(1), &json!("crash"))
    );
    assert_eq!(daemon.status()["activeReleaseId"], "v1");
}

#[test]
fn a_web_process_that_will_not_come_back_is_not_waited_for() {
    let web = Process::web().set("restart", json!({ "maxRestarts": 0 }));
    let daemon = Setup::new().process(web).proxy("holdTimeoutMs", 60_000).start();
    daemon.deploy("v1").succeeds();
    send(pid(&daemon.process("v1", "web")), Signal::SIGKILL);
    wait_until("it has failed", || {
        daemon.process("v1", "web")["state"] == "failed"
    });
    assert_eq!(daemon.get("/").status, 502);
    daemon.deploy("v2").succeeds();
    assert_eq!(daemon.get("/").body, "v2");
}

#[test]
fn a_web_process_is_not_restarted_while_its_release_starts() {
    let web = Process::web()
        .running("echo try >> ../tries; exit 1")
        .set("restartDelayMs", 0);
    let daemon = Setup::new().process(web).start();
    daemon.deploy("v1").fails_with("process_exited");
    let tries = std::fs::read_to_string(daemon.release_folder("v1").join("../tries")).expect("it ran");
    assert_eq!(tries, "try\n");
    assert!(daemon.events_of("process restart scheduled").is_empty());
}

#[test]
fn a_companion_may_crash_while_its_release_starts() {
    // The web process waits for what the companion only does at its second start.
    let companion = Process::companion("worker")
        .running("mkdir first && exit 1; touch second; exec sleep 1000")
        .set("restartDelayMs", 0);
    let web = Process::web_after("while [ ! -f second ]; do sleep 0.01; done");
    let daemon = Setup::new().process(web).process(companion).start();
    daemon.deploy("v1").succeeds();
    assert_eq!(worker(&daemon)["restarts"], 1);
}

/// A companion whose next restart is an hour away.
fn pending() -> Daemon {
    let companion = Process::companion("worker").set("restartDelayMs", 3_600_000);
    let daemon = Setup::with_web().process(companion).start();
    daemon.deploy("v1").succeeds();
    send(pid(&worker(&daemon)), Signal::SIGKILL);
    wait_until("the restart is pending", || worker(&daemon)["state"] == "backoff");
    daemon
}

#[test]
fn a_stop_cancels_a_pending_restart() {
    let daemon = pending();
    daemon.stop().succeeds();
    let stopped = worker(&daemon);
    assert_eq!(
        (&stopped["state"], &stopped["nextRestartAt"]),
        (&json!("stopped"), &Value::Null)
    );
    daemon.leaves_nothing_running();
}

#[test]
fn a_retirement_cancels_a_pending_restart() {
    let daemon = pending();
    let mut tunnel = daemon.wire();
    tunnel.upgrade();
    daemon.deploy("v2").succeeds();
    wait_until("it rests while v1 drains", || {
        worker(&daemon)["state"] == "stopped"
    });
    assert_eq!(daemon.release("v1")["state"], "draining");
    // And whatever crashes from now on stays down.
    send(pid(&daemon.process("v1", "web")), Signal::SIGKILL);
    assert!(tunnel.is_cut());
    drop(tunnel);
    wait_until("v1 is over", || daemon.release("v1")["state"] == "stopped");
    assert_eq!(daemon.process("v1", "web")["restarts"], 0);
}

#[test]
fn a_shutdown_cancels_a_pending_restart() {
    let daemon = pending();
    daemon.signal(Signal::SIGTERM);
    daemon.ends_clean();
}

#[test]
fn what_a_crashed_process_left_behind_goes_before_the_restart() {
    let leftover =
        "(trap 'sleep 0.3; rmdir ../lock; exit' TERM; echo ready; while :; do sleep 0.02; done) & ";
    let companion = Process::companion("worker")
        .running(&format!("mkdir ../lock || touch ../overlap; {leftover} wait"))
        .set("restartDelayMs", 0);
    let daemon = Setup::with_idle_web().process(companion).start();
    daemon.deploy("v1").succeeds();
    wait_until("the child is ready", || {
        worker(&daemon)["logs"][0]["line"] == "ready"
    });
    send(pid(&worker(&daemon)), Signal::SIGKILL);
    wait_until("it is back", || {
        worker(&daemon)["restarts"] == 1 && worker(&daemon)["state"] == "running"
    });
    wait_until("its child is ready again", || {
        let logs = worker(&daemon)["logs"].clone();
        let ready = |line: &&Value| line["line"] == "ready";
        logs.as_array().expect("a list").iter().filter(ready).count() == 2
    });
    assert!(!daemon.release_folder("v1").join("../overlap").exists());
}
