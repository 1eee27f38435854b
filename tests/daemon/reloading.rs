//! A config that changed between two deploys: what applies to the new release, to the one that retires, to the proxy.

use serde_json::{Value, json};

use crate::support::{Daemon, Process, Setup, has_said, pid, wait_until};

/// A worker that ignores SIGTERM, leaves word of the signal that ends it, and says when it is ready.
fn telling(signal: &str) -> Process {
    let script = format!(
        "trap '' TERM; trap 'echo {signal} > ../ended; exit' {signal}; echo ready; while :; do sleep 0.02; done"
    );
    Process::companion("worker").running(&script)
}

/// A daemon with v1 active, whose worker is ready.
fn with_worker(worker: Process) -> Daemon {
    let daemon = Setup::with_web().process(worker).start();
    daemon.deploy("v1").succeeds();
    wait_until("the worker is ready", || {
        has_said(&daemon.process("v1", "worker"), "ready")
    });
    daemon
}

fn ended(daemon: &Daemon) -> String {
    std::fs::read_to_string(daemon.folder().join("releases/ended")).unwrap_or_default()
}

#[test]
fn companions_come_and_go_and_change() {
    let daemon = Setup::with_idle_web()
        .process(Process::companion("worker"))
        .process(Process::companion("mailer"))
        .start();
    daemon.deploy("v1").succeeds();
    let first: Vec<i32> = ["worker", "mailer", "web"]
        .map(|id| pid(&daemon.process("v1", id)))
        .into();

    daemon.remove_process("mailer");
    daemon.add_process(Process::companion("indexer"));
    daemon.edit_process("worker", |worker| {
        worker["replicas"] = 2.into();
        worker["command"] = "echo anew; exec sleep 1000".into();
    });
    daemon.deploy("v2").succeeds();
    daemon.wait_for_state("v1", "stopped");

    let processes = daemon.release("v2")["processes"].clone();
    let ids: Vec<&Value> = processes
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| &one["id"])
        .collect();
    assert_eq!(ids, ["worker#0", "worker#1", "indexer", "web"]);
    for replica in ["worker#0", "worker#1"] {
        wait_until("the new command runs", || {
            has_said(&daemon.process("v2", replica), "anew")
        });
    }
    let living = daemon.living();
    assert_eq!(living.len(), 4);
    assert!(first.iter().all(|pid| !living.contains(pid)), "all of v1 is gone");
}

#[test]
fn the_previous_release_stops_by_the_new_signal() {
    let daemon = with_worker(telling("USR1").set("gracefulStopMs", "indefinite"));
    daemon.edit_process("worker", |worker| worker["stopSignal"] = "SIGUSR1".into());
    daemon.deploy("v2").succeeds();
    daemon.wait_for_state("v1", "stopped");
    assert_eq!(ended(&daemon), "USR1\n");
}

#[test]
fn the_previous_release_stops_within_the_new_time() {
    let daemon = with_worker(telling("USR1").set("gracefulStopMs", "indefinite"));
    daemon.edit_process("worker", |worker| worker["gracefulStopMs"] = 50.into());
    daemon.deploy("v2").succeeds();
    daemon.wait_for_state("v1", "stopped");
    let killed = daemon.events_of("process killed");
    assert_eq!(killed.len(), 1, "{killed:?}");
    assert_eq!(
        (&killed[0]["processId"], &killed[0]["releaseId"]),
        (&"worker".into(), &"v1".into())
    );
}

#[test]
fn the_previous_release_stops_with_the_new_hooks() {
    let daemon = with_worker(telling("USR2"));
    daemon.edit_process("worker", |worker| {
        worker["lifecycle"] = json!({
            "quietCommand": "echo quiet > ../quiet",
            "stopCommand": "kill -USR2 $ROLLBRIDGE_PID",
        });
        worker["gracefulStopMs"] = 20_000.into();
    });
    daemon.deploy("v2").succeeds();
    daemon.wait_for_state("v1", "stopped");
    assert_eq!(ended(&daemon), "USR2\n");
    assert!(daemon.folder().join("releases/quiet").exists());
}

#[test]
fn whether_a_worker_waits_for_the_drain_is_said_by_the_new_config() {
    let daemon = Setup::with_web()
        .process(Process::companion("now-early"))
        .process(Process::companion("now-late").set("nonBlockingDrain", true))
        .start();
    daemon.deploy("v1").succeeds();
    let mut tunnel = daemon.wire();
    tunnel.upgrade();
    daemon.edit_process("now-early", |worker| worker["nonBlockingDrain"] = true.into());
    daemon.edit_process("now-late", |worker| worker["nonBlockingDrain"] = false.into());
    daemon.deploy("v2").succeeds();
    wait_until("the early one stops", || {
        daemon.process("v1", "now-early")["state"] == "stopped"
    });
    assert_eq!(daemon.state("v1"), "draining");
    assert_eq!(daemon.process("v1", "now-late")["state"], "running");
    assert!(tunnel.echoes("still there"));
}

#[test]
fn a_worker_that_the_config_has_no_longer_leaves_by_its_own_rules() {
    let daemon = with_worker(
        telling("USR1")
            .set("stopSignal", "SIGUSR1")
            .set("gracefulStopMs", "indefinite"),
    );
    daemon.remove_process("worker");
    daemon.deploy("v2").succeeds();
    daemon.wait_for_state("v1", "stopped");
    assert_eq!(ended(&daemon), "USR1\n");
}

#[test]
fn the_previous_release_drains_as_long_as_the_new_config_says() {
    let daemon = Setup::with_web().proxy("drainTimeoutMs", 600_000).start();
    daemon.deploy("v1").succeeds();
    let mut tunnel = daemon.wire();
    tunnel.upgrade();
    daemon.edit_config(|config| config["proxy"]["drainTimeoutMs"] = 0.into());
    daemon.deploy("v2").succeeds();
    assert!(tunnel.is_cut());
    daemon.wait_for_state("v1", "stopped");
}

#[test]
fn a_service_and_a_singleton_may_be_added() {
    let setup = Setup::with_idle_web();
    let port = setup.spare_port(0);
    let daemon = setup.start();
    daemon.deploy("v1").succeeds();
    daemon.add_process(Process::service("broker").set("port", port));
    daemon.add_process(Process::singleton("scheduler"));
    daemon.deploy("v2").succeeds();
    let (broker, scheduler) = (daemon.service("broker"), daemon.singleton("scheduler"));
    assert_eq!(
        (&broker["state"], &broker["port"]),
        (&"running".into(), &port.into())
    );
    assert_eq!(
        (&scheduler["state"], &scheduler["releaseId"]),
        (&"running".into(), &"v2".into())
    );
    daemon.deploy("v3").succeeds();
    assert_eq!(daemon.service("broker")["pid"], broker["pid"]);
    assert_ne!(daemon.singleton("scheduler")["pid"], scheduler["pid"]);
}

#[test]
fn the_web_process_may_move_to_other_ports() {
    let setup = Setup::with_web();
    let range = json!({ "from": setup.spare_port(0), "to": setup.spare_port(1) });
    let daemon = setup.start();
    daemon.deploy("v1").succeeds();
    let mut tunnel = daemon.wire();
    tunnel.upgrade();
    let expected = range["from"].clone();
    daemon.edit_process("web", |web| web["port"] = range);
    daemon.deploy("v2").succeeds();
    assert_eq!(daemon.release("v2")["ports"]["web"], expected);
    assert_eq!(daemon.get("/").body, "v2");
    assert!(tunnel.echoes("v1 stays where it is"));
}

#[test]
fn how_long_and_how_many_requests_are_held_is_live() {
    // Nobody ever listens where the proxy forwards to.
    let daemon = Setup::with_idle_web().proxy("holdTimeoutMs", 600_000).start();
    daemon.deploy("v1").succeeds();
    let mut held = daemon.wire();
    held.ask("/");
    daemon.edit_config(|config| config["proxy"]["maxHeldRequests"] = 0.into());
    daemon.deploy("v2").succeeds();
    assert_eq!(
        daemon.get("/").body,
        "too many requests are waiting for the application\n"
    );
    daemon.edit_config(|config| {
        config["proxy"]["maxHeldRequests"] = 1000.into();
        config["proxy"]["holdTimeoutMs"] = 1.into();
    });
    daemon.deploy("v3").succeeds();
    assert_eq!(
        daemon.get("/").body,
        "the application does not accept connections\n"
    );
}

#[test]
fn how_many_clients_are_let_in_is_live() {
    let daemon = Setup::with_web().start();
    daemon.deploy("v1").succeeds();
    let mut client = daemon.wire();
    assert_eq!(client.get("/").body, "v1");
    daemon.edit_config(|config| config["proxy"]["maxConnections"] = 1.into());
    daemon.deploy("v2").succeeds();
    let refused = daemon.wire().head();
    assert_eq!(refused.status, 503);
    assert_eq!(client.get("/").body, "v2", "who was in before stays in");
    daemon.edit_config(|config| config["proxy"]["maxConnections"] = 100.into());
    daemon.deploy("v3").succeeds();
    assert_eq!(daemon.get("/").body, "v3");
}

#[test]
fn whose_word_about_the_client_is_taken_is_live() {
    let daemon = Setup::with_web().start();
    daemon.deploy("v1").succeeds();
    let mut client = daemon.wire();
    let mut seen = || {
        client
            .get_with("/forwarded-for", "x-forwarded-for: 203.0.113.7")
            .body
    };
    assert_eq!(seen(), "203.0.113.7, 127.0.0.1");
    daemon.edit_config(|config| config["proxy"]["trustedProxies"] = json!(["192.0.2.0/24"]));
    daemon.deploy("v2").succeeds();
    assert_eq!(seen(), "127.0.0.1");
}
