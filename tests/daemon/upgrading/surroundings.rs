//! What is around the daemon: its name, its log, its files, its commands, its descriptors; and the program of the commit before.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{engine, engines, program, request, running, upgrade};
use crate::support::{
    Process, Setup, Traffic, VERSION_BEFORE, copy_program, is_alive, program_before, send, wait_for,
    wait_until,
};

#[test]
fn fifty_upgrades_in_a_row_leave_nothing_behind() {
    let daemon = Setup::with_web().start();
    daemon.deploy("v1").succeeds();
    let descriptors = |pid: i32| {
        let open = std::fs::read_dir(format!("/proc/{pid}/fd"));
        open.expect("it lives").count()
    };
    upgrade(&daemon);
    wait_until("one engine is left", || engines(&daemon).len() == 1);
    // The old engine's end of the last handover may just be closing.
    let lowest = |pid: i32| {
        let mut seen = Vec::new();
        wait_until("it comes to rest", || {
            seen.push(descriptors(pid));
            seen.len() > 20
        });
        seen.into_iter().min().expect("it was looked at")
    };
    let before = (lowest(daemon.pid()), lowest(engine(&daemon)));
    let log = daemon.log().len();
    for _ in 0..50 {
        upgrade(&daemon);
    }
    wait_until("one engine is left", || engines(&daemon).len() == 1);
    assert_eq!((lowest(daemon.pid()), lowest(engine(&daemon))), before);
    wait_until("each event is in the log once", || {
        daemon.log().len() == log + 100
    });
    let sequence: Vec<u64> = daemon
        .log()
        .iter()
        .map(|event| event["seq"].as_u64().expect("a number"))
        .collect();
    let expected: Vec<u64> = (1..=sequence.len() as u64).collect();
    assert_eq!(sequence, expected);
}

#[test]
fn a_log_that_cannot_be_opened_again_does_not_end_the_daemon() {
    let setup = Setup::with_web();
    let log = setup.folder().join("daemon.log");
    let daemon = setup
        .arguments(["--daemon-log-path", &log.display().to_string()])
        .start();
    daemon.deploy("v1").succeeds();
    std::fs::hard_link(&log, daemon.folder().join("snapshot")).expect("the folder is ours");
    upgrade(&daemon);
    assert_eq!(daemon.get("/").body, "v1");
    let text = || std::fs::read_to_string(&log).expect("it is there");
    wait_until("it writes on", || text().contains("daemon upgraded"));
    upgrade(&daemon);
    daemon.signal(Signal::SIGTERM);
    daemon.ends_clean();
}

#[test]
fn a_log_that_is_rotated_while_a_successor_rehearses_is_followed_by_it() {
    let setup = Setup::with_web().mortal();
    let log = setup.folder().join("daemon.log");
    let daemon = setup
        .arguments(["--daemon-log-path", &log.display().to_string()])
        .start();
    let mut client = daemon.fail_at("rehearsing, pause", request());
    std::fs::rename(&log, daemon.folder().join("daemon.log.1")).expect("the folder is ours");
    daemon.signal(Signal::SIGHUP);
    client.answer().succeeds();
    let text = || std::fs::read_to_string(&log).unwrap_or_default();
    daemon.deploy("v1").succeeds();
    wait_until("the new engine writes into the new file", || {
        text().contains("deploy finished")
    });
}

#[test]
fn who_waits_for_the_turn_gets_it_from_the_next_engine() {
    let daemon = Setup::with_web().mortal().start();
    daemon.deploy("v1").succeeds();
    let mut upgrading = daemon.fail_at("rehearsing, pause", request());
    let mut queued = daemon.deploy_request("v2");
    queued["wait"] = true.into();
    let mut waiting = daemon.begin(queued);
    let path = daemon.release_folder("v3").display().to_string();
    let mut deploy = daemon.command(&["deploy", "--wait", "--release-id", "v3", "--release-path", &path]);
    let output = deploy.output().expect("the program runs");
    upgrading.answer().succeeds();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(daemon.get("/").body, "v3");
    assert_eq!(daemon.events_of("daemon upgraded").len(), 1);
    // Who speaks the protocol without the program is told to ask again.
    assert_eq!(waiting.answer().fails_with("shutting_down")["retry"], true);
}

#[test]
fn the_command_line_names_itself_as_the_program() {
    let daemon = Setup::with_web().start();
    daemon.deploy("v1").succeeds();
    let first = engine(&daemon);
    let output = daemon.run(&["upgrade"]);
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(output.status.success());
    assert_eq!(answer["version"], env!("CARGO_PKG_VERSION"));
    assert_ne!(engine(&daemon), first);
    let output = daemon.run(&["upgrade", "--binary", "/bin/false"]);
    assert_eq!(output.status.code(), Some(1));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.starts_with("rollbridge: upgrade failed"), "{words}");
}

#[test]
fn who_follows_events_misses_none() {
    let daemon = Setup::with_web().start();
    let mut follower = daemon
        .command(&["events", "--follow", "--json"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("it is started");
    let out = follower.stdout.take().expect("a pipe");
    let newest = Arc::new(AtomicU64::new(0));
    let read = newest.clone();
    let reader = std::thread::spawn(move || {
        let lines = std::io::BufRead::lines(std::io::BufReader::new(out));
        let events = lines.map_while(Result::ok);
        let events = events.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
        events
            .filter_map(|event| event["seq"].as_u64())
            .inspect(|number| read.store(*number, SeqCst))
            .collect::<Vec<u64>>()
    });
    for number in 0..5 {
        daemon.deploy(&format!("v{number}")).succeeds();
        upgrade(&daemon);
    }
    let last = daemon.events().last().expect("events")["seq"]
        .as_u64()
        .expect("a number");
    // One that is just coming back would find the daemon gone.
    wait_until("it has been told of it", || newest.load(SeqCst) >= last);
    daemon.signal(Signal::SIGTERM);
    daemon.end();
    follower.wait().expect("it ends with the daemon");
    let seen = reader.join().expect("it reads to the end");
    let expected: Vec<u64> = (1..=last).collect();
    assert_eq!(seen[..expected.len().min(seen.len())], expected[..]);
}

#[test]
fn what_started_the_daemon_may_be_deleted() {
    let setup = Setup::with_web();
    let release = setup.folder().join("node_modules");
    std::fs::create_dir(&release).expect("the folder is ours");
    let copy = release.join("rollbridge");
    copy_program(program(), &copy);
    let daemon = setup.started_by(&copy).start();
    daemon.deploy("v1").succeeds();
    std::fs::remove_dir_all(&release).expect("it is ours");
    daemon.deploy("v2").succeeds();
    let first = engine(&daemon);
    send(first, Signal::SIGKILL);
    let second = wait_for("another engine serves", || {
        (!is_alive(first)).then(|| engine(&daemon))
    });
    upgrade(&daemon);
    assert_ne!(engine(&daemon), second);
    daemon.deploy("v3").succeeds();
    assert_eq!(daemon.get("/").body, "v3");
    let exe = std::fs::read_link(format!("/proc/{}/exe", daemon.pid())).expect("it lives");
    assert_eq!(exe, Path::new(program()), "the keeper is of the new program");
    daemon.signal(Signal::SIGTERM);
    daemon.ends_clean();
}

#[test]
fn what_the_daemon_is_called_stays() {
    let daemon = Setup::with_web().start();
    let shown = || {
        let output = Command::new("ps")
            .args(["-o", "comm=,args=", "-p", &daemon.pid().to_string()])
            .output();
        String::from_utf8(output.expect("ps is there").stdout).expect("text")
    };
    let before = shown();
    upgrade(&daemon);
    upgrade(&daemon);
    assert_eq!(shown(), before);
    let environment = std::fs::read(format!("/proc/{}/environ", engine(&daemon))).expect("it lives");
    let text = String::from_utf8_lossy(&environment);
    assert!(!text.contains("ROLLBRIDGE_KEEPER"), "{text}");
}

#[test]
fn from_the_commit_before_to_this_one_and_back() {
    let before = program_before();
    let daemon = Setup::with_web()
        .process(Process::companion("worker"))
        .process(Process::service("broker"))
        .started_by(before)
        .start();
    daemon.deploy("v1").succeeds();
    let pids = running(&daemon);
    let traffic = Traffic::start(daemon.proxy_address(), 8, 8);
    wait_until("the tunnels are open", || traffic.tunnels() == 8);
    assert_eq!(daemon.status()["version"], VERSION_BEFORE);
    let mut versions = [VERSION_BEFORE, env!("CARGO_PKG_VERSION")];
    for program in [program(), &before.display().to_string(), program()] {
        let requests = traffic.requests();
        let answer = daemon.ask(json!({ "command": "upgrade", "binary": program }));
        let answer = answer.succeeds();
        assert_eq!([&answer["previousVersion"], &answer["version"]], versions);
        assert_eq!(daemon.status()["version"], versions[1]);
        let keeper = std::fs::read_link(format!("/proc/{}/exe", daemon.pid()));
        assert_eq!(
            keeper.expect("it lives"),
            Path::new(program),
            "the keeper is of that program too"
        );
        wait_until("traffic flows", || traffic.requests() > requests + 16);
        versions.reverse();
    }
    traffic.ends_without_a_failure();
    assert_eq!(running(&daemon), pids, "every process keeps its pid");
    daemon.signal(Signal::SIGTERM);
    daemon.ends_clean();
}
