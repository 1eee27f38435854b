//! How a retired release finishes what it accepted, and what happens when its time is up.

use serde_json::{Value, json};

use crate::support::{Daemon, Process, Setup, Wire, is_alive, position, told, wait_until};

/// A daemon with v1 active.
fn started(setup: Setup) -> Daemon {
    let daemon = setup.start();
    daemon.deploy("v1").succeeds();
    daemon
}

/// A request to the active release whose answer has begun and ends once `finish` is called.
fn slow_request(daemon: &Daemon) -> (Wire, crate::support::Reply) {
    let mut wire = daemon.wire();
    wire.ask(&format!("/until?file={}", finish_file(daemon)));
    let head = wire.head();
    assert_eq!(wire.chunk().as_deref(), Some("begun "));
    (wire, head)
}

fn finish_file(daemon: &Daemon) -> String {
    daemon.folder().join("finish").display().to_string()
}

fn finish(daemon: &Daemon) {
    std::fs::write(finish_file(daemon), "").expect("the folder is ours");
}

fn state(daemon: &Daemon, release: &str) -> Value {
    daemon.release(release)["state"].clone()
}

fn drained(daemon: &Daemon, release: &str) -> Value {
    let events = daemon.events_of("release drained").into_iter();
    let mut of_release = events.filter(|data| data["releaseId"] == release);
    of_release.next().expect("the release has drained")
}

#[test]
fn open_connections_keep_a_release_until_they_end() {
    let daemon = started(Setup::with_web().process(Process::companion("worker")));
    let (mut slow, head) = slow_request(&daemon);
    let mut tunnel = daemon.wire();
    assert_eq!(tunnel.upgrade(), "v1");
    let mut idle = daemon.wire();
    assert_eq!(idle.get("/").body, "v1");
    daemon.deploy("v2").succeeds();

    let v1 = daemon.release("v1");
    assert_eq!(v1["state"], "draining");
    assert_eq!(v1["connections"], json!({ "http": 1, "websocket": 1 }));
    assert_eq!(v1["connectionCount"], 2);
    assert_eq!(
        idle.get("/").body,
        "v2",
        "an idle connection goes over with its next request"
    );
    assert_eq!(daemon.get("/").body, "v2");

    finish(&daemon);
    assert_eq!(slow.body(&head).as_deref(), Some("v1"));
    wait_until("only the tunnel is left", || {
        daemon.release("v1")["connections"] == json!({ "http": 0, "websocket": 1 })
    });
    assert!(tunnel.echoes("still there"));
    assert_eq!(state(&daemon, "v1"), "draining");
    assert_eq!(daemon.process("v1", "worker")["state"], "running");

    drop(tunnel);
    wait_until("v1 is over", || state(&daemon, "v1") == "stopped");
    let event = drained(&daemon, "v1");
    assert_eq!(
        (&event["cutHttp"], &event["cutWebsocket"]),
        (&json!(0), &json!(0))
    );
    let v1 = daemon.release("v1");
    for moment in ["activatedAt", "drainStartedAt", "stoppedAt"] {
        assert!(v1[moment].is_string(), "{moment} in {v1}");
    }
}

#[test]
fn what_is_left_when_the_time_is_up_is_cut_and_counted() {
    let daemon = started(Setup::with_web().proxy("drainTimeoutMs", 300));
    let (mut slow, head) = slow_request(&daemon);
    let mut tunnels = [daemon.wire(), daemon.wire()];
    for tunnel in &mut tunnels {
        tunnel.upgrade();
    }
    daemon.deploy("v2").succeeds();
    assert!(tunnels.iter_mut().all(Wire::is_cut));
    assert_eq!(
        slow.body(&head),
        None,
        "an answer that was cut does not look like a whole one"
    );
    wait_until("v1 is over", || state(&daemon, "v1") == "stopped");
    let event = drained(&daemon, "v1");
    assert_eq!(
        (&event["cutHttp"], &event["cutWebsocket"]),
        (&json!(1), &json!(2))
    );
    assert!(event["elapsedMs"].as_u64().expect("a figure") >= 300, "{event}");
    assert_eq!(daemon.release("v1")["connectionCount"], 0);
}

#[test]
fn no_time_to_drain_means_at_once() {
    let daemon = started(Setup::with_web().proxy("drainTimeoutMs", 0));
    let mut tunnel = daemon.wire();
    tunnel.upgrade();
    daemon.deploy("v2").succeeds();
    assert!(tunnel.is_cut());
    wait_until("v1 is over", || state(&daemon, "v1") == "stopped");
    assert_eq!(drained(&daemon, "v1")["cutWebsocket"], 1);
}

#[test]
fn workers_may_stop_before_the_connections_do() {
    let daemon = started(
        Setup::with_web()
            .process(Process::companion("early").set("nonBlockingDrain", true))
            .process(Process::companion("late")),
    );
    let mut tunnel = daemon.wire();
    tunnel.upgrade();
    daemon.deploy("v2").succeeds();
    wait_until("the early one stops", || {
        daemon.process("v1", "early")["state"] == "stopped"
    });
    assert_eq!(state(&daemon, "v1"), "draining");
    assert_eq!(daemon.process("v1", "late")["state"], "running");
    assert_eq!(daemon.process("v1", "web")["state"], "running");
    assert!(tunnel.echoes("still there"));
    drop(tunnel);
    wait_until("v1 is over", || state(&daemon, "v1") == "stopped");
}

#[test]
fn handoff_services_stop_last() {
    let setup = Setup::with_web();
    let range = json!({ "from": setup.spare_port(0), "to": setup.spare_port(3) });
    let broker = Process::service("broker")
        .set("deployStrategy", "handoff")
        .set("port", range);
    let slow = "trap 'sleep 0.3; exit' TERM; echo ready; while :; do sleep 0.02; done";
    let worker = Process::companion("worker").running(slow);
    let daemon = started(setup.process(broker).process(worker));
    wait_until("the worker is ready to stop slowly", || {
        daemon.process("v1", "worker")["logs"][0]["line"] == "ready"
    });
    let first = daemon.process("v1", "broker");
    daemon.deploy("v2").succeeds();
    let second = daemon.process("v2", "broker");
    assert_ne!(
        first["port"], second["port"],
        "each release has a broker of its own"
    );
    assert_eq!(daemon.status()["services"], json!([]));
    wait_until("v1 is over", || state(&daemon, "v1") == "stopped");

    let story = told(&daemon.events());
    let started = |release| position(&story, &format!("process started broker {release}"));
    assert!(started("v2") < position(&story, "process started worker v2"));
    let stopping = position(&story, "process stopping broker v1");
    assert!(
        position(&story, "process exited worker v1") < stopping,
        "{story:#?}"
    );
    assert!(position(&story, "process exited web v1") < stopping, "{story:#?}");
    assert!(stopping < position(&story, "release stopped v1"));
}

#[test]
fn several_releases_drain_side_by_side() {
    let daemon = started(Setup::with_web());
    let mut tunnels = Vec::new();
    for (release, next) in [("v1", "v2"), ("v2", "v3"), ("v3", "v4")] {
        let mut tunnel = daemon.wire();
        assert_eq!(tunnel.upgrade(), release);
        tunnels.push(tunnel);
        daemon.deploy(next).succeeds();
    }
    for release in ["v1", "v2", "v3"] {
        assert_eq!(state(&daemon, release), "draining");
    }
    // In another order than they came in.
    drop(tunnels.remove(1));
    wait_until("v2 is over", || state(&daemon, "v2") == "stopped");
    assert_eq!(state(&daemon, "v1"), "draining");
    assert!(tunnels.iter_mut().all(|tunnel| tunnel.echoes("still there")));
}

#[test]
fn the_same_id_again_is_another_instance() {
    let daemon = started(Setup::with_web());
    let first = daemon.process("v1", "web")["pid"].clone();
    let mut tunnel = daemon.wire();
    tunnel.upgrade();
    let answer = daemon.deploy("v1").succeeds();
    assert_eq!(
        (&answer["activeReleaseId"], &answer["previousReleaseId"]),
        (&json!("v1"), &json!("v1"))
    );
    let status = daemon.status();
    let releases = status["releases"].as_array().expect("a list");
    let seen: Vec<_> = releases
        .iter()
        .map(|one| (&one["instance"], &one["state"]))
        .collect();
    assert_eq!(
        seen,
        [(&json!(1), &json!("draining")), (&json!(2), &json!("active"))]
    );
    drop(tunnel);
    let first = i32::try_from(first.as_i64().expect("a pid")).expect("a pid");
    wait_until("the first instance is gone", || !is_alive(first));
    assert_eq!(daemon.get("/").status, 200);
}

#[test]
fn only_so_many_stopped_releases_are_remembered() {
    let retention = json!({ "keep": 2 });
    let daemon = started(Setup::with_idle_web().set("releaseRetention", retention));
    let mut previous = "v1";
    for release in ["v2", "v3", "v4", "v5"] {
        daemon.deploy(release).succeeds();
        // One after the other: what counts is the order in which they stop.
        wait_until("the one before it is over", || {
            state(&daemon, previous) == "stopped"
        });
        previous = release;
    }
    wait_until("v3 and v4 are left of the old ones", || {
        let releases = daemon.status()["releases"].clone();
        let ids = releases.as_array().expect("a list").iter();
        ids.map(|one| one["releaseId"].clone()).collect::<Vec<_>>() == ["v3", "v4", "v5"]
    });
}

#[test]
fn a_deploy_can_wait_for_the_drain() {
    let daemon = started(Setup::with_web());
    let mut tunnel = daemon.wire();
    tunnel.upgrade();
    let mut request = daemon.deploy_request("v2");
    request["waitDrained"] = true.into();
    let mut client = daemon.client();
    client.send(request);
    wait_until("traffic is on v2", || daemon.get("/").body == "v2");
    wait_until("v1 drains", || state(&daemon, "v1") == "draining");
    drop(tunnel);
    client.answer().succeeds();
    assert_eq!(state(&daemon, "v1"), "stopped");
}
