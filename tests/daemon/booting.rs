//! A daemon that is told which release to begin with.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{Daemon, Process, Setup, pid, send, wait_for, wait_until};

const ATTESTATION: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// The daemon begins with release v1, from a folder of that name.
fn beginning_with_v1(setup: Setup) -> Setup {
    let folder = setup.folder().join("releases/v1");
    std::fs::create_dir_all(&folder).expect("a folder for the release");
    let path = folder.display().to_string();
    setup.arguments(["--release-path", &path, "--release-id", "v1", "--revision", "abc"])
}

/// Waits until the web process of the first release runs, which is not healthy yet; nobody can ask for its pid.
fn begun(daemon: &Daemon) -> Vec<i32> {
    wait_for("the boot has begun", || {
        let living = daemon.living();
        (!living.is_empty()).then_some(living)
    })
}

#[test]
fn it_can_be_reached_once_its_release_is_active() {
    let gate = "while [ ! -e ../gate ]; do sleep 0.01; done";
    let setup = Setup::new()
        .process(Process::web_after(gate))
        .process(Process::singleton("scheduler"))
        .arguments(["--boot-attestation", ATTESTATION]);
    let daemon = beginning_with_v1(setup).launch();
    begun(&daemon);
    wait_until("its health is asked for", || {
        daemon
            .log()
            .iter()
            .any(|event| event["message"] == "process started")
    });
    assert!(!daemon.socket().exists(), "nobody can deploy to it yet");
    std::fs::write(daemon.folder().join("releases/gate"), "").expect("the folder is ours");
    daemon.wait_until_ready();
    let status = daemon.status();
    assert_eq!(status["activeReleaseId"], "v1");
    assert_eq!(status["releases"][0]["revision"], "abc");
    let expected = json!({
        "releaseId": "v1",
        "releasePath": daemon.release_folder("v1"),
        "revision": "abc",
        "attestation": ATTESTATION,
    });
    assert_eq!(status["bootstrap"], expected);
    assert_eq!(daemon.get("/").body, "v1");
    let told: Vec<Value> = daemon
        .events()
        .iter()
        .map(|event| event["message"].clone())
        .collect();
    let place = |message: &str| told.iter().position(|one| one == message);
    assert!(
        place("traffic switched") < place("control socket listening"),
        "{told:?}"
    );

    // What it was told once is not done again, and not forgotten.
    let web = pid(&daemon.process("v1", "web"));
    daemon.kill_engine();
    let status = daemon.status();
    assert_eq!(status["bootstrap"], expected);
    assert_eq!(pid(&daemon.process("v1", "web")), web);
    daemon.deploy("v2").succeeds();
    daemon.kill_engine();
    assert_eq!(daemon.status()["activeReleaseId"], "v2");
    assert_eq!(daemon.events_of("deploy starting").len(), 2);
    daemon.signal(Signal::SIGTERM);
    daemon.ends_clean();
}

#[test]
fn without_an_attestation_there_is_none() {
    let daemon = beginning_with_v1(Setup::with_idle_web()).start();
    assert_eq!(daemon.status()["bootstrap"]["attestation"], Value::Null);
    let other = Setup::with_idle_web().start();
    assert_eq!(other.status()["bootstrap"], Value::Null);
}

#[test]
fn one_that_does_not_come_up_leaves_nothing() {
    let broken = Process::web_after("echo no database; exit 3");
    let setup = Setup::new().process(broken).process(Process::service("broker"));
    let daemon = beginning_with_v1(setup.set("statePath", "tmp/state.json")).launch();
    assert_eq!(daemon.end().code(), Some(1), "{}", daemon.stderr());
    let stderr = daemon.stderr();
    for part in [
        "  no database\n",
        "deploy of v1 failed in phase",
        "web exited with code 3",
        "next: put it right, and start the daemon again",
    ] {
        assert!(stderr.contains(part), "{part:?} in {stderr}");
    }
    daemon.leaves_nothing_running();
    let left: Vec<_> = std::fs::read_dir(daemon.own_folder())
        .expect("it stays")
        .flatten()
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn what_another_daemon_runs_is_left_alone() {
    let first = Setup::with_web().start();
    first.deploy("v1").succeeds();
    let web = pid(&first.process("v1", "web"));
    let path = first.socket().display().to_string();
    let second = beginning_with_v1(Setup::with_web().control("path", path)).launch();
    assert_eq!(second.end().code(), Some(1));
    assert!(
        second.stderr().contains("with release v1 active"),
        "{}",
        second.stderr()
    );
    assert_eq!(pid(&first.process("v1", "web")), web);
    assert_eq!(first.get("/").body, "v1");
}

#[test]
fn a_release_that_is_not_there_is_named() {
    let setup = beginning_with_v1(Setup::with_idle_web());
    std::fs::remove_dir(setup.folder().join("releases/v1")).expect("the folder is ours");
    let daemon = setup.launch();
    assert_eq!(daemon.end().code(), Some(1));
    assert!(daemon.stderr().contains("releases/v1"), "{}", daemon.stderr());
}

#[test]
fn who_is_ended_while_starting_ends_well() {
    let setup = Setup::new().process(Process::web_after("exec sleep 1000"));
    let daemon = beginning_with_v1(setup).launch();
    begun(&daemon);
    daemon.signal(Signal::SIGTERM);
    daemon.ends_clean();
    assert!(daemon.stderr().is_empty(), "{}", daemon.stderr());
}

#[test]
fn an_engine_that_is_killed_while_starting_ends_the_daemon() {
    let setup = Setup::new().process(Process::web_after("exec sleep 1000"));
    let daemon = beginning_with_v1(setup).launch();
    begun(&daemon);
    let engine = wait_for("there is an engine", || daemon.engine());
    send(engine, Signal::SIGKILL);
    assert_eq!(daemon.end().code(), Some(1));
    assert!(
        daemon.stderr().contains("start the daemon again"),
        "{}",
        daemon.stderr()
    );
    daemon.leaves_nothing_running();
    assert!(!daemon.socket().exists());
}

#[test]
fn wrong_options_are_usage() {
    let daemon = Setup::with_idle_web()
        .arguments(["--release-path", "v1"])
        .launch();
    assert_eq!(daemon.end().code(), Some(2));
    assert!(daemon.stderr().contains("--release-path"), "{}", daemon.stderr());
}
