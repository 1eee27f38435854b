//! Whoever takes part in an upgrade and crashes, hangs, or is not what it should be.

use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{engine, engines, file_in, http, request, running, upgrade};
use crate::support::{Daemon, Process, Setup, Traffic, is_alive, send, wait_until};

#[test]
fn a_shutdown_that_begins_while_a_successor_rehearses_ends_the_daemon() {
    let daemon = Setup::with_web().mortal().start();
    daemon.deploy("v1").succeeds();
    let mut client = daemon.fail_at("rehearsing, pause", request());
    daemon.signal(Signal::SIGTERM);
    client.answer().fails_with("shutting_down");
    daemon.ends_clean();
}

#[test]
fn a_shutdown_ends_the_engines_that_have_retired_too() {
    let daemon = Setup::with_web().start();
    daemon.deploy("v1").succeeds();
    let mut slow = daemon.wire();
    slow.ask(&format!("/until?file={}", file_in(&daemon, "never")));
    slow.head();
    let first = engine(&daemon);
    upgrade(&daemon);
    assert!(is_alive(first));
    daemon.signal(Signal::SIGTERM);
    daemon.ends_clean();
    wait_until("nothing is left of it", || !is_alive(first));
}

#[test]
fn an_engine_that_dies_after_an_upgrade_is_replaced_by_one_of_the_new_program() {
    let daemon = Setup::with_web().start();
    daemon.deploy("v1").succeeds();
    let before = running(&daemon);
    let file = file_in(&daemon, "go");
    let mut slow = daemon.wire();
    slow.ask(&format!("/until?file={file}"));
    let head = slow.head();
    let first = engine(&daemon);
    upgrade(&daemon);
    let second = engine(&daemon);
    send(second, Signal::SIGKILL);
    wait_until("another engine serves", || {
        !is_alive(second) && engines(&daemon).len() == 2
    });
    assert!(is_alive(first));
    assert_eq!(daemon.status()["engine"]["restarts"], 1);
    wait_until("it hears what is open elsewhere", || http(&daemon) == 1);
    std::fs::write(&file, "").expect("the folder is ours");
    assert_eq!(slow.body(&head).as_deref(), Some("begun v1"));
    assert_eq!(slow.get("/").body, "v1");
    assert_eq!(running(&daemon), before);
}

/// A program of a test that is not Rollbridge.
fn script(daemon: &Daemon, name: &str, text: &str) -> String {
    let path = daemon.folder().join(name);
    std::fs::write(&path, text).expect("the folder is ours");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    path.display().to_string()
}

#[test]
fn a_program_that_cannot_take_over_changes_nothing() {
    let daemon = Setup::with_web().process(Process::companion("worker")).start();
    daemon.deploy("v1").succeeds();
    let mut tunnel = daemon.wire();
    tunnel.upgrade();
    let (before, first) = (running(&daemon), engine(&daemon));
    let (script, folder) = (
        script(&daemon, "script", "#!/bin/sh\nexit 7\n"),
        daemon.folder().display().to_string(),
    );
    for (binary, reason) in [
        ("/bin/false", "exit status 1 before it was ready"),
        ("/bin/cat", "it said: rollbridge: unrecognized option '--socket'"),
        ("/nowhere", "/nowhere: No such file or directory"),
        ("/etc/passwd", "may not be executed"),
        (folder.as_str(), "it is no file"),
        (script.as_str(), "before it was ready"),
        ("relative", "must be an absolute path"),
    ] {
        let failure = daemon
            .ask(json!({ "command": "upgrade", "binary": binary }))
            .fails_with("upgrade_failed");
        let message = failure["error"].as_str().expect("words");
        assert!(message.contains(reason), "{binary}: {message}");
        assert!(message.contains("the daemon goes on as it is"), "{message}");
    }
    assert_eq!(daemon.events_of("upgrade failed").len(), 7);
    assert_eq!((running(&daemon), engine(&daemon)), (before, first));
    assert_eq!(engines(&daemon), [first]);
    assert!(tunnel.echoes("still here"));
    assert_eq!(daemon.get("/").body, "v1");
}

/// An upgrade to this program, which then comes to the point that the test has named.
fn upgrade_that_fails(point: &str) -> (Daemon, String) {
    let daemon = Setup::with_web()
        .process(Process::companion("worker"))
        .mortal()
        .start();
    daemon.deploy("v1").succeeds();
    let before = running(&daemon);
    let traffic = Traffic::start(daemon.proxy_address(), 8, 8);
    wait_until("the tunnels are open", || traffic.tunnels() == 8);
    let failure = daemon
        .fail_at(point, request())
        .answer()
        .fails_with("upgrade_failed");
    let requests = traffic.requests();
    wait_until("traffic flows", || traffic.requests() > requests + 40);
    assert_eq!(traffic.tunnels(), 8, "no tunnel was opened a second time");
    traffic.ends_without_a_failure();
    wait_until("one engine is left", || engines(&daemon) == [engine(&daemon)]);
    assert_eq!(running(&daemon), before, "every process keeps its pid");
    assert_eq!(daemon.events_of("upgrade failed").len(), 1);
    upgrade(&daemon);
    assert_eq!(daemon.get("/").body, "v1");
    (daemon, failure["error"].as_str().expect("words").to_owned())
}

#[test]
fn a_program_that_crashes_at_its_start_leaves_the_daemon_serving() {
    let (daemon, message) = upgrade_that_fails("rehearsing");
    assert!(message.contains("ended by signal 6"), "{message}");
    assert_eq!(daemon.events_of("upgrade starting").len(), 1);
}

#[test]
fn a_program_that_hangs_at_its_start_leaves_the_daemon_serving() {
    let (daemon, message) = upgrade_that_fails("rehearsing, halt");
    assert!(
        message.contains("did not say that it is ready in time"),
        "{message}"
    );
    assert_eq!(daemon.events_of("upgrade starting").len(), 1);
}

#[test]
fn a_program_that_crashes_while_it_takes_over_is_followed_by_the_one_before() {
    let (daemon, message) = upgrade_that_fails("taking over");
    assert!(message.contains("ended by signal 6"), "{message}");
    assert_eq!(daemon.status()["engine"]["restarts"], 0);
}

#[test]
fn a_program_that_hangs_while_it_takes_over_is_followed_by_the_one_before() {
    let (_, message) = upgrade_that_fails("taking over, halt");
    assert!(message.contains("did not come to serve in time"), "{message}");
}

#[test]
fn an_engine_that_dies_with_a_successor_beside_it_leaves_no_successor() {
    let daemon = Setup::with_web().mortal().start();
    daemon.deploy("v1").succeeds();
    let first = engine(&daemon);
    let _client = daemon.fail_at("rehearsing, halt", request());
    send(first, Signal::SIGKILL);
    wait_until("one engine is left", || {
        !is_alive(first) && engines(&daemon) == [engine(&daemon)]
    });
    assert_eq!(daemon.status()["engine"]["restarts"], 1);
    assert_eq!(daemon.get("/").body, "v1");
    upgrade(&daemon);
}

#[test]
fn a_deploy_under_way_is_not_upgraded_from_under() {
    let daemon = Setup::new().process(Process::web_after("sleep 2")).start();
    let mut deploy = daemon.begin_deploy("v1");
    wait_until("it has begun", || daemon.release("v1") != Value::Null);
    let failure = daemon.ask(request()).fails_with("deploy_in_progress");
    assert!(
        failure["error"]
            .as_str()
            .is_some_and(|words| words.contains("deploy of v1"))
    );
    deploy.answer().succeeds();
    upgrade(&daemon);
}
