//! Services: they outlive releases, and each start is made from the newest release that is good.

use serde_json::{Value, json};

use crate::support::{Daemon, Process, Setup, pid, send, wait_until};

const KILL: nix::sys::signal::Signal = nix::sys::signal::Signal::SIGKILL;

/// Kills the broker and returns how it came back.
fn killed_and_back(daemon: &Daemon) -> Value {
    let first = pid(&daemon.service("broker"));
    send(first, KILL);
    wait_until("the broker is back", || {
        let broker = daemon.service("broker");
        broker["state"] == "running" && broker["pid"] != first
    });
    daemon.service("broker")
}

/// A web process that can be told to fail, and a broker with a port and without delay.
fn with_broker() -> (Daemon, u16) {
    let setup = Setup::new().process(Process::idle_web());
    let port = setup.spare_port(0);
    let broker = Process::service("broker")
        .set("port", port)
        .set("restartDelayMs", 0)
        .unless_told();
    let gate = Process::companion("gate").set("cwd", "{{releasePath}}/good");
    let daemon = setup.process(broker).process(gate).start();
    for release in ["v1", "v2", "v4"] {
        std::fs::create_dir(daemon.release_folder(release).join("good")).expect("a folder");
    }
    (daemon, port)
}

#[test]
fn it_keeps_its_pid_and_its_port_whatever_happens_to_releases() {
    let (daemon, port) = with_broker();
    daemon.deploy("v1").succeeds();
    let first = daemon.service("broker");
    assert_eq!(first["port"], port);
    type Step<'a> = &'a dyn Fn(&Daemon);
    let steps: [(&str, Step<'_>); 6] = [
        ("a deploy", &|daemon| drop(daemon.deploy("v2").succeeds())),
        ("a deploy that fails", &|daemon| {
            drop(daemon.deploy("v3").fails_with("spawn_failed"))
        }),
        ("a rollback", &|daemon| drop(daemon.rollback().succeeds())),
        ("a stop", &|daemon| drop(daemon.stop().succeeds())),
        ("a failed deploy with nothing active", &|daemon| {
            drop(daemon.deploy("v3").fails_with("spawn_failed"))
        }),
        ("a deploy after the stop", &|daemon| {
            drop(daemon.deploy("v4").succeeds())
        }),
    ];
    for (what, step) in steps {
        step(&daemon);
        let broker = daemon.service("broker");
        assert_eq!(
            (&broker["pid"], &broker["port"]),
            (&first["pid"], &first["port"]),
            "after {what}"
        );
    }
    assert_eq!(killed_and_back(&daemon)["port"], port);
}

#[test]
fn it_restarts_from_the_newest_good_release() {
    let (daemon, _) = with_broker();
    daemon.deploy("v1").succeeds();
    daemon.deploy("v3").fails_with("spawn_failed");
    assert_eq!(
        killed_and_back(&daemon)["releaseId"],
        "v1",
        "a failed deploy changes nothing"
    );
    daemon.deploy("v2").succeeds();
    let broker = killed_and_back(&daemon);
    assert_eq!(broker["releaseId"], "v2");
    assert_eq!(
        broker["cwd"],
        daemon.release_folder("v2").to_str().expect("UTF-8")
    );
    daemon.stop().succeeds();
    assert_eq!(
        killed_and_back(&daemon)["releaseId"],
        "v2",
        "also while nothing is active"
    );
}

#[test]
fn one_that_a_failed_deploy_started_goes_with_it_and_its_port_is_free() {
    let (daemon, port) = with_broker();
    daemon.deploy("v3").fails_with("spawn_failed");
    assert_eq!(daemon.status()["services"], json!([]));
    daemon.leaves_nothing_running();
    std::net::TcpListener::bind(("127.0.0.1", port)).expect("nobody has the port");
    daemon.deploy("v1").succeeds();
    assert_eq!(
        (
            &daemon.service("broker")["state"],
            &daemon.service("broker")["port"]
        ),
        (&"running".into(), &port.into())
    );
}

/// A daemon whose broker, started from v1, has used up its restarts.
fn given_up() -> Daemon {
    let broker = Process::service("broker")
        .unless_told()
        .set("restart", json!({ "maxRestarts": 0 }));
    let gate = Process::companion("gate").set("cwd", "{{releasePath}}/good");
    let daemon = Setup::with_idle_web().process(broker).process(gate).start();
    for release in ["v1", "v2"] {
        std::fs::create_dir(daemon.release_folder(release).join("good")).expect("a folder");
    }
    daemon.deploy("v1").succeeds();
    send(pid(&daemon.service("broker")), KILL);
    wait_until("it gives up", || daemon.service("broker")["state"] == "failed");
    daemon
}

#[test]
fn one_that_gave_up_is_started_by_the_next_deploy() {
    let daemon = given_up();
    daemon.deploy("v2").succeeds();
    let broker = daemon.service("broker");
    assert_eq!(
        (&broker["state"], &broker["releaseId"]),
        (&"running".into(), &"v2".into())
    );
}

#[test]
fn one_that_gave_up_keeps_its_place_when_the_next_deploy_fails() {
    let daemon = given_up();
    daemon.deploy("v3").fails_with("spawn_failed");
    let broker = daemon.service("broker");
    assert_eq!(
        broker["pid"],
        Value::Null,
        "what the deploy started is stopped again"
    );
    daemon.deploy("v2").succeeds();
    assert_eq!(daemon.service("broker")["releaseId"], "v2");
}

#[test]
fn one_that_gives_up_while_it_is_needed_fails_the_deploy() {
    let broker = Process::service("broker")
        .unless_told()
        .set("restart", json!({ "maxRestarts": 0 }));
    // A web process that takes its time, so that the broker's end is always seen while it starts.
    let daemon = Setup::new()
        .process(Process::web().running("exec sleep 1000"))
        .process(broker)
        .start();
    daemon.tell("v1", "broker", "echo no database; exit 7");
    let error = daemon.deploy("v1").fails_with("process_exited");
    assert_eq!(
        (&error["processId"], &error["exitCode"]),
        (&"broker".into(), &7.into())
    );
    assert!(
        error["error"]
            .as_str()
            .expect("a message")
            .contains("no database"),
        "{error}"
    );
    daemon.leaves_nothing_running();
    assert_eq!(daemon.status()["services"], json!([]));
}

/// Each release has a broker of its own, from a range of its own.
fn with_handoff() -> (Daemon, u16) {
    let setup = Setup::with_web();
    let port = setup.spare_port(0);
    let range = json!({ "from": port, "to": port + 3 });
    let broker = Process::service("broker")
        .set("deployStrategy", "handoff")
        .set("port", range)
        .set("restartDelayMs", 0);
    (setup.process(broker).start(), port)
}

#[test]
fn a_handoff_service_belongs_to_its_release() {
    let (daemon, port) = with_handoff();
    daemon.deploy("v1").succeeds();
    let mut tunnel = daemon.wire();
    tunnel.upgrade();
    daemon.deploy("v2").succeeds();
    let ports = ["v1", "v2"].map(|release| daemon.process(release, "broker")["port"].clone());
    assert_eq!(ports, [port, port + 1]);
    assert_eq!(
        daemon.process("v1", "broker")["state"],
        "running",
        "its release still drains"
    );

    let first = pid(&daemon.process("v2", "broker"));
    send(first, KILL);
    wait_until("it is back", || {
        daemon.process_is_up("v2", "broker") && daemon.process("v2", "broker")["pid"] != first
    });
    assert_eq!(daemon.process("v2", "broker")["port"], port + 1);

    daemon.stop().succeeds();
    assert_eq!(
        daemon.process("v2", "broker")["state"],
        "stopped",
        "it goes with its release"
    );
    drop(tunnel);
    daemon.wait_for_state("v1", "stopped");
    daemon.deploy("v3").succeeds();
    assert_eq!(
        daemon.process("v3", "broker")["port"],
        port,
        "ports of old releases are free again"
    );
}
