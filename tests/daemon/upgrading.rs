//! Another program takes over the running daemon: everything goes over, nothing is refused, cut or started again.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{
    Daemon, Process, Setup, Traffic, VERSION_BEFORE, is_alive, program_before, send, wait_for, wait_until,
};

const UPGRADES: usize = 20;
const REQUESTERS: usize = 16;
const TUNNELS: usize = 50;

/// The program that takes over in these tests: the same one, as another file would be.
fn program() -> &'static str {
    env!("CARGO_BIN_EXE_rollbridge")
}

fn upgrade(daemon: &Daemon) -> Value {
    let answer = daemon.ask(json!({ "command": "upgrade", "binary": program() }));
    answer.succeeds()
}

fn engine(daemon: &Daemon) -> i32 {
    let pid = daemon.status()["engine"]["pid"].as_i64().expect("an engine");
    i32::try_from(pid).expect("a pid")
}

/// The engines there are: the one that serves, and those that still finish something.
fn engines(daemon: &Daemon) -> Vec<i32> {
    let name = |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", daemon.pid()));
    let children = children.expect("the daemon lives");
    let pids = children
        .split_ascii_whitespace()
        .filter_map(|pid| pid.parse().ok());
    pids.filter(|pid| name(*pid).trim() == "rollbridge").collect()
}

fn running(daemon: &Daemon) -> Vec<i32> {
    let mut pids = daemon.living();
    let engines = engines(daemon);
    pids.retain(|pid| !engines.contains(pid));
    pids
}

fn http(daemon: &Daemon) -> Value {
    daemon.release("v1")["connections"]["http"].clone()
}

fn file_in(daemon: &Daemon, name: &str) -> String {
    daemon.folder().join(name).display().to_string()
}

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
    assert!(is_alive(first), "it serves the request");
    assert_eq!(engines(&daemon).len(), 2, "the second had nothing to finish");
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
    let connections = daemon.ask(json!({ "command": "connections" })).succeeds();
    assert_eq!(connections["connections"][0]["number"], number, "{connections}");
    assert_eq!(connections["connections"][0]["path"], "/echo");
    drop(tunnel);
    daemon.wait_for_state("v1", "stopped");
    let drained = &daemon.events_of("release drained")[0];
    assert_eq!(drained["cutWebsocket"], 0);
}

#[test]
fn the_end_of_a_drain_reaches_the_engine_that_has_retired() {
    let daemon = Setup::with_web().proxy("drainTimeoutMs", 2000).start();
    daemon.deploy("v1").succeeds();
    let mut slow = daemon.wire();
    slow.ask(&format!("/until?file={}", file_in(&daemon, "never")));
    let head = slow.head();
    upgrade(&daemon);
    daemon.deploy("v2").succeeds();
    assert_eq!(slow.body(&head), None, "it is cut when its time is up");
    daemon.wait_for_state("v1", "stopped");
    assert_eq!(daemon.events_of("release drained")[0]["cutHttp"], 1);
    wait_until("one engine is left", || engines(&daemon) == [engine(&daemon)]);
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
    let setup = Setup::with_web().process(Process::companion("worker"));
    let file = setup.folder().join("fail-point");
    let daemon = setup
        .env("ROLLBRIDGE_TEST_FAIL_POINT_FILE", &file.display().to_string())
        .start();
    daemon.deploy("v1").succeeds();
    let before = running(&daemon);
    let traffic = Traffic::start(daemon.proxy_address(), 8, 8);
    wait_until("the tunnels are open", || traffic.tunnels() == 8);
    std::fs::write(&file, point).expect("the folder is ours");
    let failure = daemon
        .ask(json!({ "command": "upgrade", "binary": program() }))
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
    let setup = Setup::with_web();
    let file = setup.folder().join("fail-point");
    let daemon = setup
        .env("ROLLBRIDGE_TEST_FAIL_POINT_FILE", &file.display().to_string())
        .start();
    daemon.deploy("v1").succeeds();
    std::fs::write(&file, "rehearsing, halt").expect("the folder is ours");
    let first = engine(&daemon);
    let mut client = daemon.client();
    client.send(json!({ "command": "upgrade", "binary": program() }));
    wait_until("it rehearses", || !file.exists());
    send(first, Signal::SIGKILL);
    wait_until("one engine is left", || {
        !is_alive(first) && engines(&daemon) == [engine(&daemon)]
    });
    assert_eq!(daemon.status()["engine"]["restarts"], 1);
    assert_eq!(daemon.get("/").body, "v1");
    upgrade(&daemon);
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
fn a_deploy_under_way_is_not_upgraded_from_under() {
    let daemon = Setup::new().process(Process::web_after("sleep 2")).start();
    let mut deploy = daemon.begin_deploy("v1");
    wait_until("it has begun", || daemon.release("v1") != Value::Null);
    let failure = daemon
        .ask(json!({ "command": "upgrade", "binary": program() }))
        .fails_with("deploy_in_progress");
    assert!(
        failure["error"]
            .as_str()
            .is_some_and(|words| words.contains("deploy of v1"))
    );
    deploy.answer().succeeds();
    upgrade(&daemon);
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
    let reader = std::thread::spawn(move || {
        let lines = std::io::BufRead::lines(std::io::BufReader::new(out));
        let events = lines.map_while(Result::ok);
        let events = events.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
        events
            .filter_map(|event| event["seq"].as_u64())
            .collect::<Vec<u64>>()
    });
    for number in 0..5 {
        daemon.deploy(&format!("v{number}")).succeeds();
        upgrade(&daemon);
    }
    let last = daemon.events().last().expect("events")["seq"]
        .as_u64()
        .expect("a number");
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
    std::fs::copy(program(), &copy).expect("it fits");
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
