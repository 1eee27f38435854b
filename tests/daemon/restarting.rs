//! Restarting processes in place: which ones, and what is left alone.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{Daemon, Process, Setup, pid, position, wait_until};

/// One of each kind, and v1 active.
fn everything() -> Daemon {
    let setup = Setup::with_idle_web();
    let range = json!({ "from": setup.spare_port(0), "to": setup.spare_port(3) });
    let daemon = setup
        .process(Process::companion("worker").set("replicas", 2))
        .process(Process::companion("mailer"))
        .process(Process::singleton("scheduler"))
        .process(Process::service("broker"))
        .process(
            Process::service("cache")
                .set("deployStrategy", "handoff")
                .set("port", range),
        )
        .start();
    daemon.deploy("v1").succeeds();
    daemon
}

/// The pid of everything that status shows running, by id.
fn pids(daemon: &Daemon) -> BTreeMap<String, i32> {
    let status = daemon.status();
    let list = |value: &Value| value.as_array().expect("a list").clone();
    let standing = [list(&status["services"]), list(&status["singletons"])].concat();
    let of_releases = list(&status["releases"])
        .into_iter()
        .flat_map(|release| list(&release["processes"]));
    let all = standing
        .into_iter()
        .map(|one| one["process"].clone())
        .chain(of_releases);
    let running = all.filter(|process| process["pid"].is_number());
    running
        .map(|process| (process["id"].as_str().expect("an id").to_owned(), pid(&process)))
        .collect()
}

#[test]
fn what_is_restarted_is_what_was_asked_for() {
    let daemon = everything();
    let all = ["broker", "cache", "mailer", "scheduler", "worker#0", "worker#1"];
    let table = [
        (json!({}), &all[..]),
        (json!({ "processId": "worker" }), &["worker#0", "worker#1"]),
        (json!({ "processId": "worker#0" }), &["worker#0"]),
        (json!({ "processId": "mailer" }), &["mailer"]),
        (json!({ "processId": "broker" }), &["broker"]),
        (
            json!({ "processId": "scheduler", "policy": "singleton" }),
            &["scheduler"],
        ),
        (
            json!({ "policy": "companion" }),
            &["mailer", "worker#0", "worker#1"],
        ),
        (json!({ "policy": "singleton" }), &["scheduler"]),
        (json!({ "policy": "service" }), &["broker", "cache"]),
    ];
    for (mut request, expected) in table {
        let (before, moment) = (pids(&daemon), daemon.moment());
        request["command"] = "restart".into();
        let answer = daemon.ask(request.clone()).succeeds();
        let mut restarted: Vec<&str> = answer["restarted"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        restarted.sort_unstable();
        assert_eq!(restarted, expected, "{request}");
        let after = pids(&daemon);
        assert_eq!(after.len(), before.len(), "{request}");
        for (id, pid) in &after {
            assert_eq!(
                before[id] != *pid,
                expected.contains(&id.as_str()),
                "{id} after {request}"
            );
        }
        let started: Vec<Value> = daemon.events()[moment..]
            .iter()
            .filter(|event| event["message"] == "process started")
            .cloned()
            .collect();
        assert_eq!(started.len(), expected.len());
        assert!(
            started.iter().all(|event| event["data"]["reason"] == "manual"),
            "{started:#?}"
        );
    }
}

#[test]
fn what_cannot_be_restarted_is_said() {
    let daemon = everything();
    let before = daemon.living();
    for answer in [daemon.restart_process("web"), daemon.restart_policy("proxied")] {
        answer.fails_with("proxied_not_restartable");
    }
    for unknown in ["nobody", "worker#2", "worker#", ""] {
        let error = daemon.restart_process(unknown).fails_with("process_not_found");
        let known = "known processes: broker, cache, mailer, scheduler, web, worker#0, worker#1";
        assert!(
            error["error"].as_str().expect("a message").contains(known),
            "{error}"
        );
    }
    daemon.restart_policy("everything").fails_with("invalid_request");
    assert_eq!(daemon.living(), before);
}

#[test]
fn a_failed_process_is_revived_with_its_counts_cleared() {
    let worker = Process::companion("worker")
        .running("test -e ../broken && exit 1; echo up; exec sleep 1000")
        .set("restartDelayMs", 0)
        .set("restart", json!({ "maxRestarts": 2 }));
    let daemon = Setup::with_idle_web().process(worker).start();
    let broken = daemon.folder().join("releases/broken");
    daemon.deploy("v1").succeeds();
    let fail = |times: usize| {
        // One that has not looked yet would end by itself.
        wait_until("it has found nothing broken", || {
            let logs = daemon.process("v1", "worker")["logs"].clone();
            let up = |line: &&Value| line["line"] == "up";
            logs.as_array().expect("a list").iter().filter(up).count() == times
        });
        std::fs::write(&broken, "").expect("the folder is ours");
        crate::support::send(
            pid(&daemon.process("v1", "worker")),
            nix::sys::signal::Signal::SIGKILL,
        );
        wait_until("the budget is used up", || {
            daemon.events_of("restart limit reached").len() == times
        });
        assert_eq!(daemon.process("v1", "worker")["state"], "failed");
        std::fs::remove_file(&broken).expect("it is there");
    };
    for times in 1..=2 {
        fail(times);
        let answer = daemon.restart().succeeds();
        assert_eq!(answer["restarted"], json!(["worker"]));
        let worker = daemon.process("v1", "worker");
        assert_eq!(
            (&worker["state"], &worker["lastStartReason"]),
            (&"running".into(), &"manual".into())
        );
        assert_eq!(worker["restarts"], 2 * times, "both budgets were used in full");
    }
}

#[test]
fn a_process_in_back_off_is_started_at_once() {
    let worker = Process::companion("worker").set("restartDelayMs", 600_000);
    let daemon = Setup::with_idle_web().process(worker).start();
    daemon.deploy("v1").succeeds();
    crate::support::send(
        pid(&daemon.process("v1", "worker")),
        nix::sys::signal::Signal::SIGKILL,
    );
    wait_until("it waits", || {
        daemon.process("v1", "worker")["state"] == "backoff"
    });
    assert!(daemon.process("v1", "worker")["nextRestartAt"].is_string());
    daemon.restart_process("worker").succeeds();
    let worker = daemon.process("v1", "worker");
    assert_eq!(
        (&worker["state"], &worker["nextRestartAt"]),
        (&"running".into(), &Value::Null)
    );
}

#[test]
fn what_is_stopped_is_left_alone() {
    let daemon = everything();
    daemon.stop().succeeds();
    let answer = daemon.restart().succeeds();
    assert_eq!(answer["restarted"], json!(["broker"]));
    assert_eq!(daemon.singleton("scheduler")["state"], "stopped");
    assert_eq!(
        daemon.restart_process("scheduler").succeeds()["restarted"],
        json!([])
    );
    assert_eq!(daemon.living().len(), 1);
    daemon.restart_process("worker").fails_with("process_not_found");
}

#[test]
fn a_draining_release_is_left_alone() {
    let daemon = Setup::with_web().process(Process::companion("worker")).start();
    daemon.deploy("v1").succeeds();
    let mut tunnel = daemon.wire();
    tunnel.upgrade();
    daemon.deploy("v2").succeeds();
    let (old, new) = (daemon.process("v1", "worker"), daemon.process("v2", "worker"));
    assert_eq!(daemon.restart().succeeds()["restarted"], json!(["worker"]));
    assert_eq!(daemon.process("v1", "worker")["pid"], old["pid"]);
    assert_ne!(daemon.process("v2", "worker")["pid"], new["pid"]);
}

#[test]
fn a_restart_waits_behind_a_deploy() {
    let web = Process::web().env("UNHEALTHY_FILE", "{{releasePath}}/unhealthy");
    let daemon = Setup::new()
        .process(web)
        .process(Process::companion("worker"))
        .start();
    daemon.deploy("v1").succeeds();
    let unhealthy = daemon.release_folder("v2").join("unhealthy");
    std::fs::write(&unhealthy, "").expect("the folder is ours");
    let mut deploy = daemon.begin_deploy("v2");
    wait_until("v2 waits for its health", || daemon.process_is_up("v2", "web"));
    let moment = daemon.moment();
    let mut restart = daemon.begin(json!({ "command": "restart", "processId": "worker" }));
    assert_eq!(daemon.state("v2"), "starting");
    std::fs::remove_file(&unhealthy).expect("it is there");
    deploy.answer().succeeds();
    assert_eq!(restart.answer().succeeds()["restarted"], json!(["worker"]));
    let worker = daemon.process("v2", "worker");
    assert_eq!(
        (&worker["state"], &worker["lastStartReason"]),
        (&"running".into(), &"manual".into())
    );
    let story = daemon.story_since(moment);
    assert!(
        position(&story, "deploy finished v2") < position(&story, "process restart requested worker"),
        "{story:#?}"
    );
}

#[test]
fn one_that_does_not_come_up_keeps_no_other_from_its_restart() {
    let worker = Process::companion("worker")
        .set("cwd", "sub")
        .set("restartDelayMs", 600_000);
    let daemon = Setup::with_idle_web()
        .process(worker)
        .process(Process::companion("mailer"))
        .start();
    let folder = daemon.release_folder("v1").join("sub");
    std::fs::create_dir(&folder).expect("a folder");
    daemon.deploy("v1").succeeds();
    let mailer = pid(&daemon.process("v1", "mailer"));
    std::fs::remove_dir(&folder).expect("it is there");
    let error = daemon.restart().fails_with("spawn_failed");
    assert_eq!(error["processId"], "worker");
    assert_ne!(pid(&daemon.process("v1", "mailer")), mailer);
    assert_eq!(
        daemon.process("v1", "worker")["state"],
        "backoff",
        "its restart policy goes on"
    );
}

#[test]
fn the_command_line_restarts_too() {
    let daemon = everything();
    let before = pids(&daemon);
    let output = daemon.run(&["restart", "--process", "worker"]);
    assert!(output.status.success(), "{output:?}");
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(answer["restarted"], json!(["worker#0", "worker#1"]));
    assert_ne!(pids(&daemon)["worker#0"], before["worker#0"]);
    let output = daemon.run(&["restart", "--policy", "proxied"]);
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(2), &b""[..]));
}
