//! The end of a daemon: everything it started is gone, whatever tried to stay.

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::{
    Client, Daemon, PATIENCE, Process, Setup, Traffic, is_alive, position, told, wait_until,
};

/// A process whose descendants try to get away: one ignores SIGTERM, one left the session, one was forked twice.
/// It says `ready` once all of them run.
const CLINGING: &str = "\
    (trap '' TERM; echo a > ../a; exec sleep 1000) & \
    setsid sh -c 'trap \"\" TERM; echo b > ../b; exec sleep 1000' & \
    (setsid sh -c '(trap \"\" TERM; echo c > ../c; exec sleep 1000) &' &) ; \
    while ! [ -f ../a -a -f ../b -a -f ../c ]; do sleep 0.01; done; echo ready; wait";

/// The first line a process prints is `ready`.
fn is_ready(daemon: &Daemon, id: &str) -> bool {
    daemon.process("v1", id)["logs"][0]["line"] == "ready"
}

fn everything() -> Setup {
    Setup::with_web()
        .process(Process::companion("worker").set("replicas", 2))
        .process(Process::service("broker"))
        .process(Process::singleton("scheduler"))
}

/// Two releases with connections, so that one of them drains.
fn busy() -> (Daemon, crate::support::Wire) {
    let daemon = everything().start();
    daemon.deploy("v1").succeeds();
    let mut tunnel = daemon.wire();
    tunnel.upgrade();
    daemon.deploy("v2").succeeds();
    assert_eq!(daemon.release("v1")["state"], "draining");
    assert_eq!(daemon.living().len(), 2 * 3 + 2);
    (daemon, tunnel)
}

#[test]
fn the_command_answers_when_all_is_gone() {
    let (daemon, mut tunnel) = busy();
    let mut client = daemon.client();
    let answer = client.ask(json!({ "command": "shutdown" })).succeeds();
    daemon.leaves_nothing_running();
    assert!(!daemon.socket().exists());
    assert_eq!(answer["message"], "shutdown");
    assert!(tunnel.is_cut());
    daemon.ends_clean();
    let story = told(&daemon.log());
    assert_eq!(
        story.last().map(String::as_str),
        Some("shutdown finished"),
        "{story:#?}"
    );
    position(&story, "shutdown starting");
}

#[test]
fn either_signal_ends_it_well() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let (daemon, _tunnel) = busy();
        daemon.signal(signal);
        daemon.ends_clean();
    }
}

#[test]
fn a_hang_up_is_no_reason_to_end() {
    let daemon = Setup::with_idle_web().start();
    daemon.signal(Signal::SIGHUP);
    daemon.deploy("v1").succeeds();
    daemon.signal(Signal::SIGTERM);
    daemon.ends_clean();
}

#[test]
fn a_second_signal_does_not_cut_the_first_short() {
    let slow = "trap 'touch ../stopping; sleep 0.5; touch ../finished; exit' TERM; echo ready; while :; do sleep 0.05; done";
    let daemon = Setup::with_idle_web()
        .process(Process::companion("worker").running(slow))
        .start();
    daemon.deploy("v1").succeeds();
    wait_until("the worker is ready", || is_ready(&daemon, "worker"));
    let file = |name: &str| daemon.release_folder("v1").join("..").join(name);
    daemon.signal(Signal::SIGTERM);
    wait_until("the worker is stopping", || file("stopping").exists());
    daemon.signal(Signal::SIGTERM);
    daemon.signal(Signal::SIGINT);
    daemon.ends_clean();
    assert!(file("finished").exists());
    let begun = told(&daemon.log());
    position(&begun, "shutdown starting");
}

#[test]
fn a_deploy_under_way_is_cancelled_and_undone() {
    let silent = Process::web().running("exec sleep 1000");
    let daemon = Setup::new()
        .process(silent)
        .process(Process::companion("worker"))
        .process(Process::service("broker"))
        .start();
    let mut deploying = daemon.begin_deploy("v1");
    wait_until("the deploy waits for the health check", || {
        daemon.living().len() == 3
    });
    let mut queued = daemon.client();
    let mut request = daemon.deploy_request("v2");
    request["wait"] = true.into();
    // The answer to the first request shows that the daemon goes on with the second.
    queued.send_bytes(format!("{}\n{request}\n", json!({ "command": "status" })));
    queued.answer().succeeds();
    daemon.signal(Signal::SIGTERM);
    let error = deploying.answer().fails_with("deploy_cancelled");
    assert!(
        error["error"].to_string().contains("cancelled by a shutdown"),
        "{error}"
    );
    queued.answer().fails_with("shutting_down");
    daemon.ends_clean();
    let log = told(&daemon.log());
    assert!(!log.contains(&"deploy starting v2".to_owned()), "{log:#?}");
}

#[test]
#[cfg_attr(
    feature = "portable",
    ignore = "only Linux tells whose a process in a session of its own is"
)]
fn nobody_gets_away() {
    let companion = Process::companion("worker")
        .running(CLINGING)
        .set("gracefulStopMs", 200);
    let daemon = Setup::with_idle_web().process(companion).start();
    daemon.deploy("v1").succeeds();
    wait_until("the descendants run", || is_ready(&daemon, "worker"));
    let all = daemon.living();
    assert!(all.len() >= 5, "{all:?}");
    daemon.signal(Signal::SIGTERM);
    daemon.ends_clean();
    assert!(!all.into_iter().any(is_alive));
}

#[test]
fn a_leader_that_obeys_does_not_excuse_its_child() {
    let worker = Process::companion("worker")
        .running("trap 'exit 0' TERM; (trap '' TERM; echo ready; exec sleep 1000) & wait")
        .set("gracefulStopMs", 300);
    let daemon = Setup::with_idle_web().process(worker).start();
    daemon.deploy("v1").succeeds();
    wait_until("the child ignores SIGTERM", || is_ready(&daemon, "worker"));
    daemon.stop().succeeds();
    daemon.leaves_nothing_running();
    let killed = daemon.events_of("process killed");
    assert_eq!(killed.len(), 1, "{killed:?}");
    assert_eq!(killed[0]["processId"], "worker");
    assert!(
        killed[0]["afterMs"].as_u64().expect("a figure") >= 300,
        "{killed:?}"
    );
}

#[test]
fn a_process_that_ignores_its_stop_signal_is_killed_after_its_grace() {
    let stubborn = |id: &str, grace: i64| {
        Process::companion(id)
            .running("trap '' TERM INT; echo ready; while :; do sleep 0.05; done")
            .set("stopSignal", "SIGINT")
            .set("gracefulStopMs", grace)
    };
    let daemon = Setup::with_idle_web()
        .process(stubborn("patient", 600))
        .process(stubborn("hasty", 0))
        .start();
    daemon.deploy("v1").succeeds();
    wait_until("both ignore the signal", || {
        is_ready(&daemon, "patient") && is_ready(&daemon, "hasty")
    });
    let begun = Instant::now();
    daemon.stop().succeeds();
    assert!(begun.elapsed() >= Duration::from_millis(600));
    for id in ["patient", "hasty"] {
        let process = daemon.process("v1", id);
        assert_eq!(
            (&process["state"], &process["exitSignal"]),
            (&json!("stopped"), &json!("SIGKILL"))
        );
    }
    let signals = daemon.events_of("process stopping");
    let to_patient = signals.iter().find(|data| data["processId"] == "patient");
    assert_eq!(to_patient.expect("it was asked to stop")["signal"], "SIGINT");
}

#[test]
fn everything_stops_side_by_side() {
    let slow = "trap 'sleep 1; exit' TERM; echo ready; while :; do sleep 0.05; done";
    let mut setup = Setup::with_idle_web();
    for id in ["one", "two", "three", "four", "five", "six"] {
        setup = setup.process(Process::companion(id).running(slow));
    }
    let daemon = setup.start();
    daemon.deploy("v1").succeeds();
    for id in ["one", "two", "three", "four", "five", "six"] {
        wait_until("it is ready", || is_ready(&daemon, id));
    }
    let begun = Instant::now();
    daemon.signal(Signal::SIGTERM);
    daemon.ends_clean();
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "one after the other would take six"
    );
}

#[test]
fn an_idle_daemon_ends_at_once() {
    // Nothing that takes a whole second by itself; the least of several tries, for a machine may be busy.
    let ends_within = |limit: Duration| {
        let daemon = Setup::with_idle_web().start();
        daemon.deploy("v1").succeeds();
        let begun = Instant::now();
        daemon.signal(Signal::SIGTERM);
        daemon.ends_clean();
        begun.elapsed() < limit
    };
    assert!((0..5).any(|_| ends_within(Duration::from_millis(700))));
}

#[test]
fn nothing_is_accepted_any_more() {
    let slow = "trap 'touch ../stopping; while [ ! -f ../go ]; do sleep 0.02; done; exit' TERM; echo ready; \
                while :; do sleep 0.05; done";
    let daemon = Setup::with_idle_web()
        .process(
            Process::companion("worker")
                .running(slow)
                .set("gracefulStopMs", 60_000),
        )
        .start();
    daemon.deploy("v1").succeeds();
    wait_until("the worker is ready", || is_ready(&daemon, "worker"));
    let file = |name: &str| daemon.release_folder("v1").join("..").join(name);
    let (mut early, socket) = (daemon.client(), daemon.socket());
    early.ask(json!({ "command": "status" })).succeeds();
    daemon.signal(Signal::SIGTERM);
    wait_until("the worker is stopping", || file("stopping").exists());
    wait_until("new clients are turned away", || {
        UnixStream::connect(&socket).is_err()
    });
    early.ask(daemon.deploy_request("v2")).fails_with("shutting_down");
    early.ask(json!({ "command": "status" })).succeeds();
    std::fs::write(file("go"), "").expect("the folder is ours");
    daemon.ends_clean();
}

#[test]
fn a_client_that_reads_nothing_does_not_keep_it() {
    let daemon = Setup::with_idle_web().start();
    daemon.deploy("v1").succeeds();
    let mut mute = daemon.client();
    mute.send(json!({ "command": "events", "follow": true }));
    let mut stuffed = daemon.client();
    stuff(&mut stuffed);
    let begun = Instant::now();
    daemon.signal(Signal::SIGTERM);
    daemon.ends_clean();
    assert!(begun.elapsed() < PATIENCE / 2);
}

/// Asks for so much, without reading any of it, that the connection holds no more answers.
fn stuff(client: &mut Client) {
    let status = format!("{}\n", json!({ "command": "status" }));
    client.send_bytes(status.repeat(1000));
}

#[test]
fn a_shutdown_under_traffic_hangs_on_nobody() {
    let daemon = everything().start();
    daemon.deploy("v0").succeeds();
    let traffic = Traffic::start(daemon.proxy_address(), 16, 4);
    wait_until("traffic flows", || traffic.requests() > 16);
    daemon.ask(json!({ "command": "shutdown" })).succeeds();
    daemon.ends_clean();
}
