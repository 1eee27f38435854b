//! Whatever a process or a release is in the middle of: the next engine goes on with it.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::running;
use crate::support::{Daemon, Process, Setup, send, wait_until};

fn pid(process: &Value) -> i32 {
    i32::try_from(process["pid"].as_i64().expect("it runs")).expect("a pid")
}

fn every_kind() -> Setup {
    Setup::with_web()
        .process(Process::companion("worker").set("replicas", 2))
        .process(Process::service("broker"))
        .process(Process::singleton("scheduler"))
}

#[test]
fn processes_events_and_the_way_to_them_stay() {
    let daemon = every_kind().start();
    daemon.deploy("v1").succeeds();
    daemon.deploy("v2").succeeds();
    wait_until("v1 is over", || daemon.release("v1")["state"] == "stopped");
    let before = daemon.status();
    let told = daemon.events();
    daemon.kill_engine();
    let after = daemon.status();
    assert_eq!(running(&before).len(), 5);
    assert_eq!(running(&before), running(&after));
    for field in ["activeReleaseId", "proxy", "control", "application"] {
        assert_eq!(before[field], after[field], "{field}");
    }
    let of_releases = |status: &Value| {
        let releases = status["releases"].as_array().expect("a list").clone();
        let fields = [
            "releaseId",
            "instance",
            "state",
            "ports",
            "activatedAt",
            "stoppedAt",
        ];
        let told = |release: &Value| fields.map(|field| release[field].clone());
        releases.iter().map(told).collect::<Vec<_>>()
    };
    assert_eq!(of_releases(&before), of_releases(&after));
    assert_eq!(daemon.get("/").body, "v2");
    let now = daemon.events();
    assert_eq!(
        now[..told.len()],
        told[..],
        "history goes on, and was not rewritten"
    );
    let restarted = daemon.events_of("engine restarted");
    assert_eq!(restarted.len(), 1, "{restarted:?}");
    assert_eq!(
        (&restarted[0]["exitSignal"], &restarted[0]["restarts"]),
        (&json!("SIGKILL"), &json!(1))
    );
    assert_eq!(after["engine"]["restarts"], 1, "{}", after["engine"]);
    // It can do everything it could before.
    daemon.deploy("v3").succeeds();
    assert_eq!(daemon.get("/").body, "v3");
    wait_until("v2 is over", || daemon.release("v2")["state"] == "stopped");
    daemon.ask(json!({ "command": "rollback" })).succeeds();
    assert_eq!(daemon.get("/").body, "v2");
    daemon.ask(json!({ "command": "restart" })).succeeds();
    daemon.signal(Signal::SIGTERM);
    daemon.ends_clean();
}

#[test]
fn no_event_is_missing_in_the_log() {
    let daemon = every_kind().start();
    daemon.deploy("v1").succeeds();
    daemon.kill_engine();
    daemon.deploy("v2").succeeds();
    daemon.kill_engine();
    daemon.signal(Signal::SIGTERM);
    daemon.ends_clean();
    let mut numbers: Vec<u64> = daemon
        .log()
        .iter()
        .map(|event| event["seq"].as_u64().expect("a number"))
        .collect();
    // An engine that dies may have printed events and not noted that yet: then they come again.
    let mut newest = 0;
    numbers.retain(|number| {
        let is_new = *number > newest;
        newest = newest.max(*number);
        is_new
    });
    let expected: Vec<u64> = (1..=numbers.len() as u64).collect();
    assert_eq!(numbers, expected);
}

#[test]
fn a_pending_restart_comes_in_its_time() {
    let companion = Process::companion("worker").set("restartDelayMs", 5000);
    let daemon = Setup::with_idle_web().process(companion).start();
    daemon.deploy("v1").succeeds();
    let worker = || daemon.process("v1", "worker");
    send(pid(&worker()), Signal::SIGKILL);
    wait_until("the restart is pending", || worker()["state"] == "backoff");
    let due = worker()["nextRestartAt"].clone();
    daemon.kill_engine();
    assert_eq!(worker()["state"], "backoff");
    assert_eq!(worker()["nextRestartAt"], due);
    wait_until("it runs again", || worker()["state"] == "running");
    assert_eq!(worker()["restarts"], 1);
    assert_eq!(worker()["exitSignal"], "SIGKILL");
}

#[test]
fn a_spent_budget_stays_spent() {
    let companion = Process::companion("worker")
        .set("restartDelayMs", 0)
        .set("restart", json!({ "maxRestarts": 2 }));
    let daemon = Setup::with_idle_web().process(companion).start();
    daemon.deploy("v1").succeeds();
    let worker = || daemon.process("v1", "worker");
    for restarts in 1..=2 {
        send(pid(&worker()), Signal::SIGKILL);
        wait_until("it is back", || {
            worker()["restarts"] == restarts && worker()["state"] == "running"
        });
        daemon.kill_engine();
    }
    send(pid(&worker()), Signal::SIGKILL);
    wait_until("it has failed for good", || worker()["state"] == "failed");
    daemon.kill_engine();
    assert_eq!(worker()["state"], "failed");
}

#[test]
fn a_stop_under_way_is_brought_to_its_end() {
    let stubborn = Process::companion("worker")
        .running("trap 'echo asked' TERM; echo ready; while :; do sleep 0.05; done")
        .set("gracefulStopMs", 1500);
    let daemon = Setup::with_idle_web().process(stubborn).start();
    daemon.deploy("v1").succeeds();
    let lines = || -> Vec<Value> {
        let logs = daemon.process("v1", "worker")["logs"].clone();
        let logs = logs.as_array().expect("a list").iter();
        logs.map(|line| line["line"].clone()).collect()
    };
    wait_until("it is ready", || lines() == ["ready"]);
    let mut client = daemon.client();
    client.send(json!({ "command": "stop" }));
    // The shell may say besides that its sleep was terminated.
    let asked = || lines().iter().filter(|line| **line == "asked").count();
    wait_until("it was asked", || asked() == 1);
    daemon.kill_engine();
    wait_until("it is stopped", || daemon.release("v1")["state"] == "stopped");
    assert_eq!(asked(), 1, "{:?}", lines());
    assert_eq!(daemon.process("v1", "worker")["exitSignal"], "SIGKILL");
    assert_eq!(daemon.events_of("process killed").len(), 1);
    daemon.leaves_nothing_running();
}

#[test]
fn a_hook_that_runs_is_waited_for() {
    let companion = Process::companion("worker").set(
        "lifecycle",
        json!({ "drainCommand": "echo drains >> ../drains; until [ -f ../done ]; do sleep 0.02; done",
                "drainTimeoutMs": 60_000 }),
    );
    let daemon = Setup::with_idle_web().process(companion).start();
    daemon.deploy("v1").succeeds();
    let mut client = daemon.client();
    client.send(json!({ "command": "stop" }));
    let drains = daemon.folder().join("releases/drains");
    wait_until("the hook runs", || drains.exists());
    daemon.kill_engine();
    daemon.kill_engine();
    assert_eq!(daemon.process("v1", "worker")["state"], "stopping");
    std::fs::write(daemon.folder().join("releases/done"), "").expect("the folder is ours");
    wait_until("it is stopped", || daemon.release("v1")["state"] == "stopped");
    assert_eq!(
        std::fs::read_to_string(&drains).expect("it ran"),
        "drains\n",
        "it runs once"
    );
    assert!(daemon.events_of("hook failed").is_empty());
    daemon.leaves_nothing_running();
}

#[test]
fn a_draining_release_comes_to_its_end() {
    let daemon = every_kind().start();
    daemon.deploy("v1").succeeds();
    let mut tunnel = daemon.wire();
    tunnel.upgrade();
    daemon.deploy("v2").succeeds();
    assert_eq!(daemon.release("v1")["state"], "draining");
    daemon.kill_engine();
    assert!(tunnel.is_cut(), "it went with its engine");
    wait_until("v1 is over", || daemon.release("v1")["state"] == "stopped");
    assert_eq!(daemon.get("/").body, "v2");
    assert_eq!(running(&daemon.status()).len(), 5);
}

#[test]
fn a_shutdown_under_way_is_brought_to_its_end() {
    let slow = Process::companion("worker")
        .running("trap 'touch ../asked; sleep 1; exit' TERM; touch ../ready; while :; do sleep 0.02; done");
    let daemon = Setup::with_idle_web().process(slow).start();
    daemon.deploy("v1").succeeds();
    wait_until("it is ready", || daemon.folder().join("releases/ready").exists());
    daemon.signal(Signal::SIGTERM);
    wait_until("it was asked", || daemon.folder().join("releases/asked").exists());
    send(daemon.engine().expect("it lives"), Signal::SIGKILL);
    daemon.ends_clean();
}

#[test]
fn one_that_keeps_dying_is_started_more_and_more_seldom() {
    let daemon = every_kind().start();
    daemon.deploy("v1").succeeds();
    let before = running(&daemon.status());
    let mut last = 0;
    for _ in 0..6 {
        let engine = crate::support::wait_for("another engine is there", || {
            daemon.engine().filter(|pid| *pid != last)
        });
        send(engine, Signal::SIGKILL);
        last = engine;
    }
    let restarted = daemon.events_of("engine restarted");
    let newest = restarted.last().expect("it was restarted");
    assert_eq!(newest["restarts"], 6, "{newest}");
    assert!(newest["shortLived"].as_u64() >= Some(3), "{newest}");
    assert!(
        newest["absentMs"].as_u64() >= Some(200),
        "it was waited for longer and longer: {newest}"
    );
    assert_eq!(running(&daemon.status()), before);
}

#[test]
fn a_crash_of_both_halves_is_still_a_crash_of_everything() {
    let daemon = Setup::with_idle_web().set("statePath", "tmp/state.json").start();
    daemon.deploy("v1").succeeds();
    daemon.kill_engine();
    let survivors = running(&daemon.status());
    wait_until("the state is on disk", || {
        let text = std::fs::read_to_string(daemon.own_folder().join("state.json")).unwrap_or_default();
        text.contains("engine restarted") && text.contains(&format!("\"pid\":{},", survivors[0].1))
    });
    assert_eq!(daemon.status()["orphans"], json!([]), "its own are no orphans");
    daemon.crash();
    daemon.start_again();
    let orphans = daemon.status()["orphans"].clone();
    assert_eq!(orphans.as_array().map(Vec::len), Some(1), "{orphans}");
    assert_eq!(orphans[0]["pid"], survivors[0].1);
    daemon.kill_engine();
    assert_eq!(daemon.status()["orphans"], orphans, "they are still known");
    let _: Daemon = daemon;
}
