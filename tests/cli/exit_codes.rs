//! Every exit status, and every error code that a command can end with. `docs/cli.md` names these tests beside the codes.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::process::Output;

use serde_json::json;

use crate::stage::{Daemon, Process, Setup, rollbridge};

/// What a command ended with, and what it said.
fn ended(output: &Output) -> (Option<i32>, String) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains("panicked") && !said.contains("Error {"), "{said}");
    (output.status.code(), said)
}

fn fails(output: &Output, code: i32, words: &str) {
    let (status, said) = ended(output);
    assert_eq!(status, Some(code), "{said}");
    assert!(said.contains(words), "{words:?} in {said}");
    assert!(output.stdout.is_empty(), "{output:?}");
}

fn deploy(daemon: &Daemon, id: &str) -> Output {
    let folder = daemon.release_folder(id).display().to_string();
    daemon.run(&["deploy", "--release-path", &folder, "--release-id", id])
}

#[test]
fn done_is_0() {
    let daemon = Setup::with_web().start();
    for arguments in [
        &["status"][..],
        &["ps"],
        &["connections"],
        &["events"],
        &["logs"],
        &["validate"],
        &["stop"],
        &["restart"],
        &["shutdown"],
    ] {
        assert_eq!(daemon.run(arguments).status.code(), Some(0), "{arguments:?}");
    }
}

#[test]
fn wrong_arguments_are_2() {
    let daemon = Setup::with_web().start();
    for arguments in [
        &["dance"][..],
        &["deploy"],
        &["deploy", "--release-path"],
        &["deploy", "--release-path", ".", "--release-id", "../up"],
        &["restart", "--policy", "proxied"],
        &["events", "--limit", "many"],
        &["status", "--loud"],
        &["connections", "--close", "-1"],
        &["completion", "tcsh"],
    ] {
        let (status, said) = ended(&daemon.run(arguments));
        assert_eq!(status, Some(2), "{arguments:?}: {said}");
        assert!(said.starts_with("error: ") && said.contains("--help"), "{said}");
    }
    let (status, said) = ended(&rollbridge().output().expect("it runs"));
    assert_eq!(status, Some(2));
    assert!(said.contains("Usage: rollbridge"), "{said}");
}

#[test]
fn no_daemon_is_3() {
    let daemon = Setup::with_web().start();
    daemon.ask(json!({ "command": "shutdown" })).succeeds();
    daemon.end();
    for arguments in [
        &["status"][..],
        &["ps"],
        &["ps", "--watch"],
        &["connections"],
        &["events"],
        &["events", "--follow"],
        &["logs"],
        &["logs", "--follow"],
        &["stop"],
        &["restart"],
        &["rollback"],
        &["shutdown"],
        &["deploy", "--release-path", "/"],
    ] {
        fails(&daemon.run(arguments), 3, "; start one with rollbridge daemon");
    }
}

/// Somebody on the control socket who answers the first request with `answer`, and leaves.
fn impostor(daemon: &Daemon, answer: &'static [u8]) -> std::thread::JoinHandle<()> {
    let listener = UnixListener::bind(daemon.socket()).expect("the path is free");
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client comes");
        let mut request = [0; 1024];
        assert!(stream.read(&mut request).is_ok_and(|read| read > 0));
        stream.write_all(answer).expect("the client reads");
    })
}

#[test]
fn a_broken_connection_is_4_and_a_stranger_1() {
    let daemon = Setup::with_web().start();
    daemon.ask(json!({ "command": "shutdown" })).succeeds();
    daemon.end();
    let broken = impostor(&daemon, b"");
    fails(
        &daemon.run(&["status"]),
        4,
        "ask for the outcome with rollbridge status",
    );
    broken.join().expect("it only answers");
    std::fs::remove_file(daemon.socket()).expect("it is ours");
    let stranger = impostor(&daemon, b"HTTP/1.1 400 Bad Request\r\n\r\n");
    fails(
        &daemon.run(&["status"]),
        1,
        "it does not speak the control protocol",
    );
    stranger.join().expect("it only answers");
}

#[test]
fn a_bad_config_is_1() {
    let daemon = Setup::with_web().start();
    daemon.edit_config(|config| config["processes"] = json!([]));
    // What is asked of a daemon that runs.
    let (status, said) = ended(&daemon.run(&["status"]));
    assert_eq!(status, Some(1));
    assert!(
        said.contains("exactly one proxied process") && said.contains("send it SIGTERM"),
        "{said}"
    );
    assert_eq!(daemon.run(&["validate"]).status.code(), Some(1));
    std::fs::write(daemon.config(), "{").expect("it is ours");
    assert_eq!(daemon.run(&["status"]).status.code(), Some(1));
    std::fs::remove_file(daemon.config()).expect("it is ours");
    fails(&daemon.run(&["validate"]), 1, "rollbridge.json");
}

#[test]
fn what_a_daemon_refuses_is_1() {
    let daemon = Setup::with_web().start();
    fails(
        &daemon.run(&["rollback"]),
        1,
        "no earlier release is known to go back to",
    );
    daemon.deploy("v1").succeeds();
    for (arguments, words) in [
        (
            &["rollback", "--release-id", "v1"][..],
            "release \"v1\" is active already",
        ),
        (
            &["rollback", "--release-id", "v9"],
            "no release \"v9\" is known; known releases: v1",
        ),
        (
            &["stop", "--release-id", "v9"],
            "no release \"v9\" is known; known releases: v1",
        ),
        (
            &["restart", "--process", "web"],
            "the proxied process is never restarted in place",
        ),
        (
            &["restart", "--process", "wob"],
            "no process \"wob\" is there to restart",
        ),
        (
            &["logs", "--process", "wob"],
            "no process \"wob\" is known there; known processes: web",
        ),
        (
            &["deploy", "--release-path", "/no/such/folder"],
            "release path /no/such/folder: No such file or directory",
        ),
        (&["recover"], "the config has no statePath"),
    ] {
        fails(&daemon.run(arguments), 1, words);
    }
    daemon.edit_config(|config| config["application"] = "bakery".into());
    fails(
        &deploy(&daemon, "v2"),
        1,
        "next: undo these changes and deploy again",
    );
}

#[test]
fn a_release_that_does_not_come_up_is_1() {
    let daemon = Setup::new()
        .process(
            Process::web()
                .unless_told()
                .set("health", json!({ "path": "/ping", "timeoutMs": 300 })),
        )
        .process(Process::companion("worker").set("cwd", "{{releasePath}}/backend"))
        .start();
    fails(
        &deploy(&daemon, "v1"),
        1,
        "next: check the release with rollbridge doctor --release-path <folder>",
    );
    daemon.remove_process("worker");
    daemon.tell("v2", "web", "exec sleep 1000");
    fails(&deploy(&daemon, "v2"), 1, "web is not healthy");
    daemon.tell("v3", "web", "exit 9");
    fails(&deploy(&daemon, "v3"), 1, "web exited with code 9");
}

#[test]
fn a_failure_behind_the_switch_is_1_and_says_where_traffic_is() {
    let daemon = Setup::with_web()
        .process(Process::singleton("clock").set("cwd", "{{releasePath}}/clock"))
        .start();
    let output = deploy(&daemon, "v1");
    fails(&output, 1, "traffic is on v1, but phase singletons failed");
    fails(&output, 1, "rollbridge rollback goes back");
    assert_eq!(daemon.get("/").body, "v1");
}

#[test]
fn one_deploy_at_a_time_and_a_cancelled_one_are_1() {
    let daemon = Setup::new().process(Process::web_after("sleep 1000")).start();
    let (mut first, _) = daemon.begin_with_progress(daemon.deploy_request("v1"), "health");
    fails(&deploy(&daemon, "v2"), 1, "use --wait to queue behind it");
    assert_eq!(daemon.run(&["stop", "--release-id", "v1"]).status.code(), Some(0));
    first.answer().fails_with("deploy_cancelled");
}

#[test]
fn a_daemon_that_cannot_start_is_1() {
    let setup = Setup::with_web();
    let port = setup.spare_port(0);
    let daemon = setup.proxy("port", port).start();
    fails(&daemon.run(&["daemon"]), 1, "already listens on");
    let socket = daemon.folder().join("other.sock");
    daemon.edit_config(|config| config["control"]["path"] = socket.display().to_string().into());
    fails(
        &daemon.run(&["daemon"]),
        1,
        "free the port, or set another proxy.port",
    );
}

#[test]
fn with_json_the_error_is_on_stdout_too() {
    let daemon = Setup::with_web().start();
    daemon.ask(json!({ "command": "shutdown" })).succeeds();
    daemon.end();
    for arguments in [
        &["ps", "--json"][..],
        &["connections", "--json"],
        &["events", "--json"],
        &["logs", "--json"],
        &["ps", "--watch", "--json"],
        &["events", "--follow", "--json"],
        &["logs", "--follow", "--json"],
    ] {
        let output = daemon.run(arguments);
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        let error: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(error["code"], "no_daemon", "{arguments:?}");
        assert!(
            error["error"]
                .as_str()
                .is_some_and(|error| error.contains("start one")),
            "{error}"
        );
    }
}

#[test]
fn a_full_disk_is_1() {
    let daemon = Setup::with_web().start();
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .expect("Linux has it");
    let output = daemon
        .command(&["status"])
        .stdout(full)
        .output()
        .expect("it runs");
    let (status, said) = ended(&output);
    assert_eq!(status, Some(1));
    assert!(
        said.contains("could not be written to stdout: No space left on device"),
        "{said}"
    );
}
