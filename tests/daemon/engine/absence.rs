//! What happens while there is no engine is found out by the next one: every line, every exit.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{Daemon, Process, Setup, send, wait_for, wait_until};

/// Kills engines as they come, so that a pause begins, and waits for it. Returns once there is none.
fn begin_absence(daemon: &Daemon) {
    let mut last = 0;
    for _ in 0..5 {
        let engine = wait_for("another engine is there", || {
            daemon.engine().filter(|pid| *pid != last)
        });
        send(engine, Signal::SIGKILL);
        last = engine;
    }
    wait_until("there is none", || daemon.engine().is_none());
}

#[test]
fn lines_arrive_complete_in_order_and_once() {
    const LINES: usize = 3000;
    let count =
        "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo line $i; done; touch ../written; exec sleep 1000";
    let worker = Process::companion("worker")
        .running(&format!("until [ -f ../go ]; do sleep 0.01; done; {count}"))
        .set("outputLines", LINES);
    let daemon = Setup::with_idle_web().process(worker).start();
    daemon.deploy("v1").succeeds();
    std::fs::write(daemon.folder().join("releases/go"), "").expect("the folder is ours");
    wait_until("it has begun", || {
        daemon.process("v1", "worker")["logs"][0]["line"] == "line 1"
    });
    begin_absence(&daemon);
    daemon.kill_engine();
    wait_until("all is written", || {
        daemon.folder().join("releases/written").exists()
    });
    let logs = wait_for("the last line has come", || {
        let logs = daemon.process("v1", "worker")["logs"].clone();
        let logs = logs.as_array().expect("a list").clone();
        (logs.len() == LINES).then_some(logs)
    });
    for (index, line) in logs.iter().enumerate() {
        assert_eq!(line["line"], format!("line {}", index + 1));
        assert_eq!(line["seq"], index + 1);
    }
}

#[test]
fn a_process_never_blocks_on_its_output() {
    // Ten times what a pipe holds, while nobody is there to read it but the keeper.
    let worker = Process::companion("worker").running(
        "until [ -f ../go ]; do sleep 0.01; done; head -c 655360 /dev/zero | tr '\\0' x; echo; echo done; touch ../written; \
         exec sleep 1000",
    );
    let daemon = Setup::with_idle_web().process(worker).start();
    daemon.deploy("v1").succeeds();
    begin_absence(&daemon);
    std::fs::write(daemon.folder().join("releases/go"), "").expect("the folder is ours");
    wait_until("all is written", || {
        daemon.folder().join("releases/written").exists()
    });
    wait_until("the next engine has it", || {
        daemon.process("v1", "worker")["logs"][1]["line"] == "done"
    });
}

#[test]
fn a_stuck_engine_holds_nobody_up() {
    let many = "i=0; while [ $i -lt 12000 ]; do i=$((i+1)); echo line $i \
        xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done; touch ../written";
    let worker = Process::companion("worker").running(&format!(
        "until [ -f ../go ]; do sleep 0.01; done; {many}; exec sleep 1000"
    ));
    let daemon = Setup::with_idle_web().process(worker).start();
    daemon.deploy("v1").succeeds();
    let engine = daemon.engine().expect("it lives");
    send(engine, Signal::SIGSTOP);
    std::fs::write(daemon.folder().join("releases/go"), "").expect("the folder is ours");
    wait_until("all is written", || {
        daemon.folder().join("releases/written").exists()
    });
    send(engine, Signal::SIGCONT);
    wait_until("the engine has the last line", || {
        let logs = daemon.process("v1", "worker")["logs"].clone();
        let last = logs
            .as_array()
            .and_then(|lines| lines.last())
            .cloned()
            .unwrap_or_default();
        last["seq"] == 12_000
    });
    assert!(daemon.events_of("engine restarted").is_empty());
}

#[test]
fn an_exit_is_reported_as_it_was() {
    let worker = Process::companion("worker")
        .running("until [ -f ../go ]; do sleep 0.01; done; echo last words; touch ../gone; exit 42")
        .set("restart", json!({ "maxRestarts": 0 }));
    let daemon = Setup::with_idle_web().process(worker).start();
    daemon.deploy("v1").succeeds();
    begin_absence(&daemon);
    std::fs::write(daemon.folder().join("releases/go"), "").expect("the folder is ours");
    wait_until("it has ended", || daemon.folder().join("releases/gone").exists());
    let worker = wait_for("the next engine knows", || {
        let worker = daemon.process("v1", "worker");
        (worker["state"] == "failed").then_some(worker)
    });
    assert_eq!(
        (&worker["exitCode"], &worker["exitSignal"]),
        (&json!(42), &Value::Null)
    );
    assert_eq!(worker["logs"][0]["line"], "last words");
    let exited = daemon.events_of("process exited");
    assert_eq!(exited.len(), 1, "{exited:?}");
    assert_eq!(exited[0]["exitCode"], 42);
}

#[test]
fn a_daemon_that_is_to_end_meanwhile_ends() {
    let daemon = Setup::with_idle_web()
        .process(Process::companion("worker"))
        .start();
    daemon.deploy("v1").succeeds();
    begin_absence(&daemon);
    daemon.signal(Signal::SIGTERM);
    daemon.ends_clean();
}
