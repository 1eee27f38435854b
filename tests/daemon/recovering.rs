//! After a crash of everything: who is left is known, and stopped only when somebody asks for it.

use std::process::Output;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{Daemon, Process, Setup, has_said, is_alive, wait_until};

fn remembering() -> Setup {
    Setup::with_idle_web().set("statePath", "tmp/state.json")
}

fn recorded(daemon: &Daemon) -> String {
    std::fs::read_to_string(daemon.own_folder().join("state.json")).unwrap_or_default()
}

/// A daemon of which everything but itself is left.
fn crashed(setup: Setup) -> (Daemon, Vec<i32>) {
    let daemon = setup.start();
    daemon.deploy("v1").succeeds();
    let leaders: Vec<i32> = leaders(&daemon.status());
    wait_until("the state is on disk", || {
        let text = recorded(&daemon);
        let state: Value = serde_json::from_str(&text).unwrap_or_default();
        leaders
            .iter()
            .all(|pid| text.contains(&format!("\"pid\":{pid},")))
            && state["activeReleaseId"] == "v1"
    });
    daemon.crash();
    (daemon, leaders)
}

fn leaders(status: &Value) -> Vec<i32> {
    let lists = [
        &status["releases"][0]["processes"],
        &status["services"],
        &status["singletons"],
    ];
    let processes = lists.into_iter().filter_map(Value::as_array).flatten();
    let pid = |process: &Value| {
        process["pid"]
            .as_i64()
            .or_else(|| process["process"]["pid"].as_i64())
    };
    let mut pids: Vec<i32> = processes
        .filter_map(pid)
        .map(|pid| i32::try_from(pid).expect("a pid"))
        .collect();
    pids.sort_unstable();
    pids
}

fn pids(orphans: &Value) -> Vec<i32> {
    let orphans = orphans.as_array().expect("a list").iter();
    let mut pids: Vec<i32> = orphans
        .map(|orphan| i32::try_from(orphan["pid"].as_i64().expect("a pid")).expect("a pid"))
        .collect();
    pids.sort_unstable();
    pids
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("JSON on stdout")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[test]
fn whoever_survives_is_listed_and_left_alone() {
    let setup = remembering()
        .process(Process::companion("worker").set("replicas", 2))
        .process(Process::service("broker"))
        .process(Process::singleton("scheduler"));
    let (daemon, mut left) = crashed(setup);
    assert_eq!(left.len(), 5);
    let listed = daemon.run(&["recover", "--json"]);
    assert_eq!(listed.status.code(), Some(0), "{listed:?}");
    let found = json_of(&listed);
    assert_eq!(pids(&found["orphans"]), left);
    assert_eq!(found["remaining"], found["orphans"]);
    assert_eq!(
        (&found["forced"], &found["cleared"]),
        (&json!(false), &json!(false))
    );
    let listed = text(&daemon.run(&["recover"]).stdout);
    assert!(
        listed.contains("orphan: worker#1 of release v1, pid "),
        "{listed}"
    );

    // Two more daemons one after the other: neither touches them, and both pass on what is known.
    for _ in 0..2 {
        daemon.start_again();
        assert_eq!(pids(&daemon.status()["orphans"]), left);
        assert_eq!(daemon.events_of("orphan found").len(), left.len());
        daemon.deploy("v2").succeeds();
        daemon.stop().succeeds();
        assert_eq!(pids(&daemon.status()["orphans"]), left);
        wait_until("the state is on disk", || {
            recorded(&daemon).contains("stop requested")
        });
        daemon.crash();
        // What the engine had asked the system with may just be ending.
        let expected = left.len() + 1;
        wait_until("the service of this daemon has survived too", || {
            left = daemon.living();
            left.len() == expected
        });
    }
    assert_eq!(left.len(), 7);
    assert!(left.iter().all(|pid| is_alive(*pid)));

    daemon.start_again();
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.end().code(), Some(0));
    let kept: Value = serde_json::from_str(&recorded(&daemon)).expect("the file stays, for them");
    assert_eq!((&kept["releases"], &kept["daemon"]), (&json!([]), &Value::Null));
    assert_eq!(kept["orphans"].as_array().map(Vec::len), Some(left.len()));

    let stopped = json_of(&daemon.run(&["recover", "--force", "--json"]));
    assert_eq!(pids(&stopped["orphans"]), left);
    assert_eq!(
        (&stopped["remaining"], &stopped["cleared"]),
        (&json!([]), &json!(true))
    );
    assert!(!left.into_iter().any(is_alive));
    assert_eq!(recorded(&daemon), "");
    let again = daemon.run(&["recover", "--force"]);
    assert_eq!(again.status.code(), Some(0));
    assert!(text(&again.stdout).starts_with("no orphans"), "{again:?}");
}

#[test]
#[cfg_attr(
    feature = "portable",
    ignore = "only Linux tells whose a process in a session of its own is"
)]
fn what_ignores_sigterm_or_ran_away_is_stopped_too() {
    let clinging = "trap '' TERM; setsid sh -c '(trap \"\" TERM; echo b > ../b; exec sleep 1000) &' & \
        while ! [ -f ../b ]; do sleep 0.01; done; echo ready; while :; do sleep 0.05; done";
    let setup = remembering()
        .proxy("forceStopTimeoutMs", 200)
        .process(Process::companion("worker").running(clinging));
    let daemon = setup.start();
    daemon.deploy("v1").succeeds();
    wait_until("the descendants run", || {
        has_said(&daemon.process("v1", "worker"), "ready")
    });
    wait_until("the state is on disk", || {
        recorded(&daemon).contains("deploy finished")
    });
    daemon.crash();
    let stopped = daemon.run(&["recover", "--force", "--json"]);
    assert_eq!(stopped.status.code(), Some(0), "{stopped:?}");
    assert_eq!(json_of(&stopped)["orphans"].as_array().map(Vec::len), Some(2));
    daemon.leaves_nothing_running();
}

#[test]
fn a_pid_that_was_given_out_again_is_not_touched() {
    let (daemon, left) = crashed(remembering());
    let original = recorded(&daemon);
    let state: Value = serde_json::from_str(&original).expect("JSON");
    let process = &state["releases"][0]["processes"][0]["process"];
    let ticks = process["startTicks"].as_u64().expect("a time");
    let boot = process["bootId"].as_str().expect("a name");
    for changed in [
        original.replace(
            &format!("\"startTicks\":{ticks}"),
            &format!("\"startTicks\":{}", ticks - 1),
        ),
        original.replace(boot, "00000000-0000-0000-0000-000000000000"),
    ] {
        assert_ne!(changed, original);
        std::fs::write(daemon.own_folder().join("state.json"), changed).expect("the folder is ours");
        let recovered = json_of(&daemon.run(&["recover", "--force", "--json"]));
        assert_eq!(recovered["orphans"], json!([]));
        assert!(is_alive(left[0]));
        std::fs::write(daemon.own_folder().join("state.json"), &original).expect("the folder is ours");
    }
    assert_eq!(
        pids(&json_of(&daemon.run(&["recover", "--json"]))["orphans"]),
        left
    );
}

#[test]
fn nothing_is_recovered_beside_a_daemon_or_without_a_state_file() {
    let daemon = remembering().start();
    daemon.deploy("v1").succeeds();
    let refused = daemon.run(&["recover", "--force", "--json"]);
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(json_of(&refused)["code"], "internal");
    assert!(
        text(&refused.stderr).contains("a daemon listens on"),
        "{refused:?}"
    );
    // It counts as well when its socket is gone.
    wait_until("the state is on disk", || {
        recorded(&daemon).contains("deploy finished")
    });
    std::fs::remove_file(daemon.socket()).expect("the folder is ours");
    let refused = daemon.run(&["recover", "--force"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("still runs"), "{refused:?}");
    assert_eq!(daemon.living().len(), 1);

    let daemon = Setup::with_idle_web().start();
    daemon.crash();
    let refused = daemon.run(&["recover"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("no statePath"), "{refused:?}");
}
