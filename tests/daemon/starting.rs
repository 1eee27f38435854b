//! How a daemon starts, and what keeps it from starting.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::process::{Output, Stdio};

use nix::fcntl::{FcntlArg, fcntl};
use serde_json::{Value, json};

use crate::support::{Daemon, Process, Setup, wait_until};

/// What became of a daemon that was not to start.
fn refused(daemon: &Daemon) -> String {
    assert_eq!(daemon.end().code(), Some(1), "{}", daemon.stderr());
    let stderr = daemon.stderr();
    assert!(!stderr.is_empty());
    stderr
}

fn stdout(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON on stdout")
}

fn fails(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert!(
        output.stdout.is_empty(),
        "stdout carries results only: {output:?}"
    );
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

#[test]
fn a_live_daemon_keeps_a_second_one_out() {
    let first = Setup::with_web().start();
    let second = |first: &Daemon| {
        let socket = first.socket().display().to_string();
        refused(&Setup::with_web().control("path", socket).launch())
    };
    let stderr = second(&first);
    assert!(
        stderr.contains("the daemon of shop, with no active release,"),
        "{stderr}"
    );
    first.deploy("v1").succeeds();
    let stderr = second(&first);
    for part in [
        "the daemon of shop, with release v1 active,",
        first.socket().to_str().expect("UTF-8"),
        "rollbridge shutdown",
    ] {
        assert!(stderr.contains(part), "{part:?} in {stderr}");
    }
    assert_eq!(first.get("/").body, "v1");
}

#[test]
fn a_stale_socket_is_replaced() {
    let setup = Setup::with_idle_web();
    drop(UnixListener::bind(setup.socket()).expect("a socket"));
    assert!(setup.socket().exists(), "a closed listener leaves its file");
    setup.start().deploy("v1").succeeds();
}

#[test]
fn a_daemon_that_was_killed_does_not_block_the_next() {
    let daemon = Setup::with_idle_web().start();
    daemon.crash();
    assert!(daemon.socket().exists());
    let socket = daemon.socket().display().to_string();
    let next = Setup::with_idle_web().control("path", socket).launch();
    wait_until("the next one serves", || daemon.run(&["status"]).status.success());
    drop(next);
}

#[test]
fn a_file_in_the_way_is_left_alone() {
    let setup = Setup::with_idle_web();
    let path = setup.socket();
    std::fs::write(&path, "precious").expect("the folder is ours");
    let daemon = setup.launch();
    let stderr = refused(&daemon);
    assert!(stderr.contains("exists and is not a socket"), "{stderr}");
    assert_eq!(
        std::fs::read_to_string(path).expect("it is still there"),
        "precious"
    );
}

#[test]
fn a_taken_proxy_port_is_an_error_that_names_it() {
    let setup = Setup::with_idle_web();
    let port = setup.spare_port(0);
    let _holder = std::net::TcpListener::bind(("127.0.0.1", port)).expect("the port is ours to take");
    let daemon = setup.proxy("port", port).launch();
    let stderr = refused(&daemon);
    assert!(
        stderr.contains(&format!("cannot listen on 127.0.0.1:{port}")),
        "{stderr}"
    );
    assert!(!daemon.socket().exists());
}

#[test]
fn an_invalid_config_is_reported_as_validate_does() {
    let daemon = Setup::new()
        .set("releaseRetention", json!({ "keep": "all" }))
        .launch();
    let stderr = refused(&daemon);
    for part in [
        "Found 2 configuration issues in",
        "Config must define exactly one proxied process; found 0",
        "Fix: ",
    ] {
        assert!(stderr.contains(part), "{part:?} in {stderr}");
    }
    let report = daemon.run(&["validate"]);
    assert_eq!(report.status.code(), Some(1));
    let report = String::from_utf8(report.stdout).expect("UTF-8");
    assert!(stderr.contains(report.trim()), "{stderr}\nis not\n{report}");
    assert!(daemon.log().is_empty());
}

#[test]
fn the_control_socket_gets_its_mode() {
    let daemon = Setup::with_idle_web().control("mode", "640").start();
    let metadata = std::fs::metadata(daemon.socket()).expect("it is there");
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o640);
}

#[test]
fn a_closed_stdout_stops_nothing() {
    let setup = Setup::with_web();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let daemon = setup.launch_with(Stdio::from(writer), Stdio::null());
    let mut first = String::new();
    BufReader::new(reader).read_line(&mut first).expect("a line");
    assert!(first.contains("proxy listening"), "{first}");
    daemon.wait_until_ready();
    for release in ["v1", "v2"] {
        daemon.deploy(release).succeeds();
        assert_eq!(daemon.get("/").body, release);
    }
    daemon.ask(json!({ "command": "shutdown" })).succeeds();
    assert_eq!(daemon.end().code(), Some(0));
}

#[test]
fn a_stdout_that_nobody_reads_stops_nothing() {
    let worker = Process::companion("worker")
        .running("exit 1")
        .set("restartDelayMs", 0);
    let (_reader, writer) = std::io::pipe().expect("a pipe");
    fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096)).expect("a pipe can be made smaller");
    let daemon = Setup::with_web()
        .process(worker)
        .launch_with(Stdio::from(writer), Stdio::null());
    daemon.wait_until_ready();
    daemon.deploy("v1").succeeds();
    wait_until("the pipe is full", || {
        daemon
            .events()
            .last()
            .is_some_and(|event| event["seq"].as_u64() > Some(100))
    });
    daemon.deploy("v2").succeeds();
    assert_eq!(daemon.get("/").body, "v2");
    daemon.ask(json!({ "command": "shutdown" })).succeeds();
    assert_eq!(daemon.end().code(), Some(0));
}

#[test]
fn the_log_is_json_lines() {
    let daemon = Setup::with_idle_web().start();
    daemon.deploy("v1").succeeds();
    daemon.ask(json!({ "command": "shutdown" })).succeeds();
    daemon.ends_clean();
    for (number, event) in daemon.log().iter().enumerate() {
        let names: Vec<&String> = event.as_object().expect("an object").keys().collect();
        assert_eq!(names, ["seq", "at", "message", "data"]);
        assert_eq!(event["seq"], number + 1);
    }
    assert_eq!(daemon.stderr(), "");
}

#[test]
fn the_command_line_drives_a_daemon() {
    let daemon = Setup::with_web().start();
    let folder = daemon.release_folder("v1").display().to_string();
    let deployed = stdout(&daemon.run(&["deploy", "--release-path", &folder, "--revision", "feature/x"]));
    assert_eq!(deployed["status"], "success");
    assert_eq!(deployed["activeReleaseId"], "feature-x");
    assert_eq!(stdout(&daemon.run(&["status"]))["activeReleaseId"], "feature-x");
    let events = stdout(&daemon.run(&["events", "--limit", "1", "--json"]));
    assert_eq!(events[0]["message"], "deploy finished");
    let stderr = fails(&daemon.run(&["stop", "--release-id", "v9"]), 1);
    assert!(
        stderr.starts_with("rollbridge: no release \"v9\" is known"),
        "{stderr}"
    );
    let missing = daemon.folder().join("missing").display().to_string();
    let stderr = fails(&daemon.run(&["deploy", "--release-path", &missing]), 1);
    assert!(stderr.contains("No such file or directory"), "{stderr}");
    assert_eq!(stdout(&daemon.run(&["stop"]))["activeReleaseId"], Value::Null);
    assert_eq!(stdout(&daemon.run(&["shutdown"]))["message"], "shutdown");
    daemon.ends_clean();

    let stderr = fails(&daemon.run(&["status"]), 3);
    assert!(stderr.contains("no daemon answers on"), "{stderr}");
    fails(&daemon.run(&["shutdown"]), 3);
    for wrong in [&["deploy"][..], &["dance"], &["status", "--loudly"]] {
        fails(&daemon.run(wrong), 2);
    }
}

#[test]
fn a_failed_deploy_shows_the_last_lines_on_stderr() {
    let web = Process::web().running("seq 30; echo the end; exit 9");
    let daemon = Setup::new().process(web).start();
    let folder = daemon.release_folder("v1").display().to_string();
    let stderr = fails(
        &daemon.run(&["deploy", "--release-path", &folder, "--progress"]),
        1,
    );
    for part in [
        "last output of web:",
        "  the end",
        "web exited with code 9",
        "health ",
    ] {
        assert!(stderr.contains(part), "{part:?} in {stderr}");
    }
    assert!(
        stderr.contains("\n  12\n") && !stderr.contains("\n  11\n"),
        "the last 20 lines: {stderr}"
    );
}
