//! What clients have open, through one upgrade after the other.

use nix::sys::signal::Signal;
use serde_json::json;

use super::{engine, engines, file_in, http, running, upgrade};
use crate::support::{Process, Setup, Traffic, is_alive, wait_for, wait_until};

const UPGRADES: usize = 20;
const REQUESTERS: usize = 16;
const TUNNELS: usize = 50;

#[test]
fn twenty_upgrades_lose_no_request_and_tear_no_tunnel() {
    let daemon = Setup::with_web()
        .process(Process::companion("worker"))
        .process(Process::singleton("scheduler"))
        .process(Process::service("broker"))
        .start();
    daemon.deploy("v1").succeeds();
    let before = running(&daemon);
    let traffic = Traffic::start(daemon.proxy_address(), REQUESTERS, TUNNELS);
    wait_until("the tunnels are open", || traffic.tunnels() == TUNNELS);
    let mut pids = vec![engine(&daemon)];
    for _ in 0..UPGRADES {
        let requests = traffic.requests();
        let versions = upgrade(&daemon);
        assert_eq!(versions["previousVersion"], env!("CARGO_PKG_VERSION"));
        assert_eq!(versions["version"], env!("CARGO_PKG_VERSION"));
        pids.push(engine(&daemon));
        wait_until("traffic flows", || {
            traffic.requests() >= requests + 2 * REQUESTERS
        });
    }
    let websockets = || daemon.release("v1")["connections"]["websocket"].clone();
    wait_until("every tunnel is counted once", || websockets() == TUNNELS);
    assert_eq!(traffic.tunnels(), TUNNELS, "no tunnel was opened a second time");
    traffic.ends_without_a_failure();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), UPGRADES + 1, "an engine each time");
    wait_until("one engine is left", || engines(&daemon) == [engine(&daemon)]);
    assert_eq!(running(&daemon), before, "every process keeps its pid");
    assert_eq!(daemon.events_of("daemon upgraded").len(), UPGRADES);
    assert!(daemon.events_of("engine restarted").is_empty());
    assert!(daemon.events_of("stray process found").is_empty());
    assert_eq!(daemon.status()["engine"]["restarts"], 0);
    daemon.deploy("v2").succeeds();
    daemon.signal(Signal::SIGTERM);
    daemon.ends_clean();
}

#[test]
fn a_request_in_flight_is_answered_by_the_engine_that_has_it() {
    let daemon = Setup::with_web().proxy("drainTimeoutMs", 60_000).start();
    daemon.deploy("v1").succeeds();
    let first = engine(&daemon);
    let file = file_in(&daemon, "go");
    let mut slow = daemon.wire();
    slow.ask(&format!("/until?file={file}"));
    let head = slow.head();
    upgrade(&daemon);
    upgrade(&daemon);
    wait_until("the second goes, for it has nothing to finish", || {
        engines(&daemon).len() == 2
    });
    assert!(is_alive(first), "it serves the request");
    wait_until("it is counted once", || http(&daemon) == 1);

    // What it still has is of a release that another deploy retires: it is waited for all the same.
    daemon.deploy("v2").succeeds();
    assert_eq!(daemon.get("/").body, "v2");
    assert_eq!(daemon.state("v1"), "draining");
    upgrade(&daemon);
    assert_eq!(daemon.state("v1"), "draining");
    std::fs::write(&file, "").expect("the folder is ours");
    assert_eq!(slow.body(&head).as_deref(), Some("begun v1"));
    daemon.wait_for_state("v1", "stopped");
    let drained = &daemon.events_of("release drained")[0];
    assert_eq!(
        (&drained["cutHttp"], &drained["cutWebsocket"]),
        (&json!(0), &json!(0))
    );
    // The connection is kept alive, and is the new engine's by now.
    assert_eq!(slow.get("/").body, "v2");
    wait_until("one engine is left", || engines(&daemon) == [engine(&daemon)]);
}

#[test]
fn a_drain_goes_on_in_the_next_engine() {
    let daemon = Setup::with_web().proxy("drainTimeoutMs", 60_000).start();
    daemon.deploy("v1").succeeds();
    let mut tunnel = daemon.wire();
    assert_eq!(tunnel.upgrade(), "v1");
    daemon.deploy("v2").succeeds();
    assert_eq!(daemon.state("v1"), "draining");
    let connections = daemon.ask(json!({ "command": "connections" })).succeeds();
    let number = connections["connections"][0]["number"].clone();
    assert!(number.is_u64(), "{connections}");
    upgrade(&daemon);
    assert!(tunnel.echoes("still here"));
    assert_eq!(daemon.state("v1"), "draining");
    wait_until("it is counted once", || {
        daemon.release("v1")["connections"]["websocket"] == 1
    });
    // On its way from one engine to the other it is in neither list.
    let connection = wait_for("it is listed", || {
        let connections = daemon.ask(json!({ "command": "connections" })).succeeds();
        connections["connections"].as_array()?.first().cloned()
    });
    assert_eq!(connection["number"], number, "{connection}");
    assert_eq!(connection["path"], "/echo");
    drop(tunnel);
    daemon.wait_for_state("v1", "stopped");
    let drained = &daemon.events_of("release drained")[0];
    assert_eq!(drained["cutWebsocket"], 0);
}

#[test]
fn the_end_of_a_drain_reaches_the_engine_that_has_retired() {
    // A web process that does not end when it is asked to: only the cut can end the request.
    let stubborn = Process::web()
        .set("stopSignal", "SIGWINCH")
        .set("gracefulStopMs", 60_000);
    let daemon = Setup::new()
        .process(stubborn)
        .proxy("drainTimeoutMs", 2000)
        .start();
    daemon.deploy("v1").succeeds();
    let mut slow = daemon.wire();
    slow.ask(&format!("/until?file={}", file_in(&daemon, "never")));
    let head = slow.head();
    upgrade(&daemon);
    daemon.deploy("v2").succeeds();
    let begun = std::time::Instant::now();
    assert_eq!(slow.body(&head), None, "it is cut when its time is up");
    assert!(
        begun.elapsed() < std::time::Duration::from_secs(25),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(daemon.state("v1"), "draining", "its process is still there");
    assert_eq!(daemon.events_of("release drained")[0]["cutHttp"], 1);
    wait_until("one engine is left", || engines(&daemon) == [engine(&daemon)]);
}

#[test]
fn what_several_retired_engines_have_is_counted_once_each() {
    let daemon = Setup::with_web().start();
    daemon.deploy("v1").succeeds();
    let mut slow: Vec<_> = (1..=4)
        .map(|number| {
            let file = file_in(&daemon, &format!("go-{number}"));
            let mut wire = daemon.wire();
            wire.ask(&format!("/until?file={file}"));
            let head = wire.head();
            upgrade(&daemon);
            (number, file, wire, head)
        })
        .collect();
    wait_until("each is counted once", || http(&daemon) == 4);
    while let Some((number, file, mut wire, head)) = slow.pop() {
        std::fs::write(&file, "").expect("the folder is ours");
        assert_eq!(wire.body(&head).as_deref(), Some("begun v1"));
        wait_until("it has left the count", || http(&daemon) == number - 1);
    }
    wait_until("one engine is left", || engines(&daemon) == [engine(&daemon)]);
}

#[test]
fn what_a_retired_engine_still_answers_is_listed_and_can_be_closed() {
    let daemon = Setup::with_web().start();
    daemon.deploy("v1").succeeds();
    let path = format!("/until?file={}", file_in(&daemon, "never"));
    let mut slow: Vec<_> = (0..2)
        .map(|_| {
            let mut wire = daemon.wire();
            wire.ask(&path);
            let head = wire.head();
            upgrade(&daemon);
            (wire, head)
        })
        .collect();
    let list = || daemon.ask(json!({ "command": "connections" })).succeeds()["connections"].clone();
    let open = list();
    assert_eq!(open.as_array().map(Vec::len), Some(2), "{open:#}");
    for connection in [&open[0], &open[1]] {
        assert_eq!(
            (&connection["releaseId"], &connection["path"]),
            (&json!("v1"), &json!("/until"))
        );
    }
    // The older one is that of the engine before the last.
    for expected in [1, 0] {
        let number = list()[0]["number"].clone();
        let closed = daemon
            .ask(json!({ "command": "connections", "close": number }))
            .succeeds();
        assert_eq!(closed["connections"][0]["number"], number);
        let (mut wire, head) = slow.remove(0);
        assert_eq!(wire.body(&head), None, "it is cut");
        wait_until("it is gone", || list().as_array().map(Vec::len) == Some(expected));
        daemon
            .ask(json!({ "command": "connections", "close": number }))
            .fails_with("invalid_request");
    }
    wait_until("one engine is left", || engines(&daemon) == [engine(&daemon)]);
}
