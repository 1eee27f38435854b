//! An engine that dies in the middle of a deploy or a rollback: what was not switched is undone, what was is finished.

use serde_json::{Value, json};

use super::{die_at, running};
use crate::support::{Daemon, Process, Setup, wait_until};

/// The points before the switch is acknowledged, and those after it.
const BEFORE: [&str; 14] = [
    "before config",
    "after config",
    "before ports",
    "after ports",
    "before services",
    "after services",
    "before companions",
    "after companions",
    "before proxied",
    "after proxied",
    "before health",
    "after health",
    "before switch",
    "between acknowledgements",
];
const AFTER: [&str; 6] = [
    "switch acknowledged",
    "after switch",
    "before singletons",
    "before a singleton is replaced",
    "after singletons",
    "after retire",
];

/// A singleton that never runs twice, or says so.
fn exclusive(id: &str) -> Process {
    // The trap first: it may be told to end before it has done anything.
    Process::singleton(id).running(&format!(
        "trap 'rmdir ../{id}-lock; exit' TERM; mkdir ../{id}-lock || touch ../doubled; while :; do sleep 0.01; done"
    ))
}

/// How many processes run, without the short sleeps of those above, which come and go.
fn lasting(daemon: &Daemon) -> usize {
    let command = |pid: &i32| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let living = daemon.living();
    let commands = living.iter().map(command);
    commands
        .filter(|command| !command.is_empty() && command != b"sleep\x000.01\x00")
        .count()
}

fn rollback() -> Value {
    json!({ "command": "rollback" })
}

fn started() -> Daemon {
    let setup = Setup::with_web()
        .process(Process::companion("worker"))
        .process(Process::service("broker"))
        .process(exclusive("first"))
        .process(exclusive("second"));
    let daemon = setup.mortal().start();
    daemon.deploy("v1").succeeds();
    daemon
}

/// The daemon is as it should be, with `active` in service and nothing else.
fn is_sound(daemon: &Daemon, active: &str, point: &str) {
    wait_until("nothing is under way any more", || {
        let status = daemon.status();
        let releases = status["releases"].as_array().expect("a list").clone();
        let rests = |release: &Value| match release["state"].as_str() {
            Some("active") => true,
            Some(state) => ["stopped", "failed"].contains(&state),
            None => false,
        };
        // A deploy that is brought to its end has the turn until then.
        releases.iter().all(rests)
            && running(&status).len() == 5
            && lasting(daemon) == 5
            && status["singletons"][1]["process"]["releaseId"] == active
    });
    let status = daemon.status();
    assert_eq!(status["activeReleaseId"], active, "{point}");
    let releases = status["releases"].as_array().expect("a list");
    let is_active = |release: &&Value| release["state"] == "active";
    assert_eq!(
        releases.iter().filter(is_active).count(),
        1,
        "{point}: {releases:#?}"
    );
    for singleton in status["singletons"].as_array().expect("a list") {
        assert_eq!(singleton["process"]["state"], "running", "{point}");
        assert_eq!(singleton["process"]["releaseId"], active, "{point}");
    }
    assert_eq!(daemon.get("/").body, active, "{point}");
    let doubled = daemon.folder().join("releases/doubled").exists();
    assert!(!doubled, "{point}: a singleton ran twice");
}

#[test]
fn a_deploy_that_was_not_switched_is_undone() {
    let daemon = started();
    let service = daemon.service("broker")["pid"].clone();
    let singleton = daemon.singleton("first")["pid"].clone();
    for (index, point) in BEFORE.into_iter().enumerate() {
        let told = || daemon.events_of("deploy failed").len();
        // At once: what was noted last is lost with the engine, and has not been done then.
        die_at(&daemon, point, daemon.deploy_request(&format!("a{index}")));
        is_sound(&daemon, "v1", point);
        let before = told();
        let settled = format!("{point}, settled");
        die_at(&daemon, &settled, daemon.deploy_request(&format!("n{index}")));
        is_sound(&daemon, "v1", point);
        wait_until("the failure is told", || told() == before + 1);
        assert_eq!(daemon.service("broker")["pid"], service, "{point}");
        assert_eq!(daemon.singleton("first")["pid"], singleton, "{point}");
    }
    assert!(!has_died_unnoticed(&daemon));
    daemon.deploy("v2").succeeds();
    is_sound(&daemon, "v2", "a deploy afterwards");
}

#[test]
fn a_deploy_that_was_switched_is_finished() {
    let daemon = started();
    for (index, point) in AFTER.into_iter().enumerate() {
        let id = format!("n{index}");
        die_at(&daemon, point, daemon.deploy_request(&id));
        is_sound(&daemon, &id, point);
        let finished = || daemon.events_of("deploy finished").len();
        wait_until("it is told to be finished", || finished() == index + 2);
        let switched = daemon.events_of("traffic switched");
        assert_eq!(switched.len(), index + 2, "{point}: {switched:#?}");
    }
    assert!(daemon.events_of("deploy failed").is_empty());
    assert!(!has_died_unnoticed(&daemon));
}

#[test]
fn a_rollback_is_undone_or_finished_too() {
    let daemon = started();
    daemon.deploy("v2").succeeds();
    wait_until("v1 is over", || daemon.release("v1")["state"] == "stopped");
    for point in BEFORE {
        die_at(&daemon, &format!("{point}, settled"), rollback());
        is_sound(&daemon, "v2", point);
    }
    let told = |message: &str| daemon.events_of(message).len();
    wait_until("each is told", || told("rollback failed") == BEFORE.len());
    let mut active = ["v1", "v2"].into_iter().cycle();
    for point in AFTER {
        die_at(&daemon, point, rollback());
        is_sound(&daemon, active.next().expect("it goes on"), point);
    }
    wait_until("each is told to be finished", || {
        told("rollback finished") == AFTER.len()
    });
}

#[test]
fn a_release_that_was_being_put_back_drains_on() {
    let daemon = started();
    let mut tunnel = daemon.wire();
    tunnel.upgrade();
    daemon.deploy("v2").succeeds();
    die_at(&daemon, "after ports", rollback());
    assert!(tunnel.is_cut());
    is_sound(&daemon, "v2", "a put-back");
}

/// Whether the last engine was one more than were meant to die.
fn has_died_unnoticed(daemon: &Daemon) -> bool {
    let restarted = daemon.events_of("engine restarted");
    restarted.iter().any(|event| event["exitSignal"] != "SIGKILL")
}

#[test]
fn whenever_it_dies_things_are_sound_afterwards() {
    const DEATHS: u64 = 12;
    let daemon = started();
    let mut before = "v1".to_owned();
    for number in 0..DEATHS {
        let id = format!("n{number}");
        let mut client = daemon.begin_deploy(&id);
        // Spread over the whole of a deploy, whatever comes first.
        std::thread::sleep(std::time::Duration::from_millis(number * 35));
        daemon.kill_engine();
        let answered = client.next_line();
        let active = daemon.status()["activeReleaseId"].clone();
        let active = active.as_str().expect("there is always one").to_owned();
        if answered.is_some_and(|line| line["status"] == "success") {
            assert_eq!(active, id, "what was promised holds");
        }
        assert!(
            active == id || active == before,
            "{active}, after {before} and {id}"
        );
        is_sound(&daemon, &active, &format!("death {number}"));
        before = active;
    }
}
