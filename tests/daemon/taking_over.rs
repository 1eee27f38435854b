//! One foreground daemon that takes the place of another: nothing is refused or lost, and nothing runs twice.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::process::Child;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{Daemon, Process, Setup, Traffic, Wire, is_alive, pid, send, wait_for, wait_until};

const ATTESTATION: &str = "sha256:00000000000000000000000000000000000000000000000000000000000000aa";

/// What a daemon is told that begins with release `id` in the place of another one.
fn arguments<'a>(path: &'a str, id: &'a str) -> [&'a str; 9] {
    [
        "--takeover-owner",
        "--release-path",
        path,
        "--release-id",
        id,
        "--revision",
        id,
        "--boot-attestation",
        ATTESTATION,
    ]
}

/// Ends with the test, whatever becomes of it.
struct Second(Child);

impl Second {
    /// A daemon that is to take the place of the first one, with release `id`.
    fn beside(first: &Daemon, id: &str) -> Second {
        let path = first.release_folder(id).display().to_string();
        Second(first.start_beside(id, &arguments(&path, id)))
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).expect("a pid")
    }

    fn end(&mut self) -> Option<i32> {
        let ended = wait_for("it ends", || self.0.try_wait().expect("it is our child"));
        ended.code()
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn engine_of(second: &Second) -> i32 {
    let children = format!("/proc/{0}/task/{0}/children", second.pid());
    wait_for("it has an engine", || {
        let text = std::fs::read_to_string(&children).ok()?;
        text.split_ascii_whitespace().next()?.parse().ok()
    })
}

fn stderr(daemon: &Daemon, id: &str) -> String {
    std::fs::read_to_string(daemon.folder().join(format!("stderr-{id}"))).unwrap_or_default()
}

/// A process that never runs twice, or says so. It does not end as long as there is a file `stay`.
fn exclusive(process: Process, name: &str) -> Process {
    // The trap first: it may be told to end before it has done anything.
    process.running(&format!(
        "trap 'while [ -e stay ]; do sleep 0.01; done; rmdir ../{name}-lock; exit' TERM; mkdir ../{name}-lock || touch ../doubled; while :; do sleep 0.01; done"
    ))
}

fn setup() -> Setup {
    let setup = Setup::new().process(Process::web().env("UNHEALTHY_FILE", "hold"));
    let port = setup.spare_port(0);
    setup
        .process(Process::companion("worker"))
        .process(exclusive(Process::singleton("scheduler"), "scheduler"))
        .process(exclusive(Process::service("broker").set("port", port), "broker"))
}

/// Whose state the state file tells.
fn state_of(daemon: &Daemon) -> Option<i32> {
    let text = std::fs::read_to_string(daemon.own_folder().join("state.json")).ok()?;
    let state: Value = serde_json::from_str(&text).ok()?;
    i32::try_from(state["daemon"]["pid"].as_i64()?).ok()
}

fn doubled(daemon: &Daemon) -> bool {
    daemon.folder().join("releases/doubled").exists()
}

fn waits_for_place(daemon: &Daemon, id: &str) {
    wait_until("the second has the place", || {
        daemon.status()["bootstrap"]["releaseId"] == id
    });
}

#[test]
fn under_load_nothing_is_refused_or_lost_and_nothing_runs_twice() {
    let daemon = setup().set("statePath", "tmp/state.json").start();
    daemon.deploy("v1").succeeds();
    let mut tunnel = daemon.wire();
    tunnel.upgrade();
    let mut slow = daemon.wire();
    let file = daemon.folder().join("answer");
    slow.ask(&format!("/until?file={}", file.display()));
    slow.head();
    assert_eq!(slow.chunk().as_deref(), Some("begun "));
    let traffic = Traffic::start(daemon.proxy_address(), 8, 0);
    wait_until("there is traffic", || traffic.requests() > 50);

    let mut second = Second::beside(&daemon, "v2");
    waits_for_place(&daemon, "v2");
    let status = daemon.status();
    assert_eq!(status["activeReleaseId"], "v2");
    assert_eq!(status["bootstrap"]["attestation"], ATTESTATION);
    traffic.promise(2);
    let before = traffic.requests();
    wait_until("the second serves", || traffic.requests() > before + 100);
    assert_eq!(daemon.singleton("scheduler")["releaseId"], "v2");
    assert_eq!(daemon.service("broker")["releaseId"], "v2");

    assert!(tunnel.echoes("still there"), "a tunnel stays with the first");
    assert!(is_alive(daemon.pid()));
    wait_until("the state is the second one's", || {
        state_of(&daemon) == Some(second.pid())
    });
    std::fs::write(&file, "").expect("the folder is ours");
    assert_eq!(
        slow.chunk().as_deref(),
        Some("v1"),
        "what was in flight is answered by whom it was sent to"
    );
    drop(tunnel);
    assert_eq!(
        daemon.end().code(),
        Some(0),
        "the first has drained: {}",
        daemon.stderr()
    );

    // The socket and the state are the second one's now.
    daemon.deploy("v3").succeeds();
    traffic.promise(3);
    let before = traffic.requests();
    wait_until("v3 serves", || traffic.requests() > before + 50);
    traffic.ends_without_a_failure();
    assert!(!doubled(&daemon));
    assert!(daemon.own_folder().join("state.json").exists());
    send(second.pid(), Signal::SIGTERM);
    assert_eq!(second.end(), Some(0), "{}", stderr(&daemon, "v2"));
    assert!(!daemon.socket().exists() && !daemon.own_folder().join("state.json").exists());
    daemon.leaves_nothing_running();
}

/// A client in the middle of a request, and the file that lets it be answered.
fn in_flight(daemon: &Daemon) -> (Wire, std::path::PathBuf) {
    let file = daemon.folder().join("answer");
    let mut slow = daemon.wire();
    slow.ask(&format!("/until?file={}", file.display()));
    slow.head();
    assert_eq!(slow.chunk().as_deref(), Some("begun "));
    (slow, file)
}

/// The answer of the first, and then the next one by the second, on the same connection.
fn comes_over(slow: &mut Wire, file: &std::path::Path) {
    std::fs::write(file, "").expect("the folder is ours");
    assert_eq!(slow.chunk().as_deref(), Some("v1"));
    assert_eq!(slow.chunk().as_deref(), Some(""));
    assert_eq!(slow.get("/").body, "v2");
}

#[test]
fn a_client_of_an_engine_that_has_retired_comes_over_too() {
    let daemon = setup().start();
    daemon.deploy("v1").succeeds();
    let (mut slow, file) = in_flight(&daemon);
    daemon.ask(json!({ "command": "upgrade" })).succeeds();
    let second = Second::beside(&daemon, "v2");
    waits_for_place(&daemon, "v2");
    comes_over(&mut slow, &file);
    assert_eq!(daemon.end().code(), Some(0), "{}", daemon.stderr());
    drop(second);
}

#[test]
fn the_next_engine_of_the_second_has_the_clients_that_come_over_later() {
    let daemon = setup().start();
    daemon.deploy("v1").succeeds();
    let (mut slow, file) = in_flight(&daemon);
    let second = Second::beside(&daemon, "v2");
    waits_for_place(&daemon, "v2");
    let engine = engine_of(&second);
    send(engine, Signal::SIGKILL);
    wait_until("there is another", || {
        daemon.events_of("engine restarted").len() == 1
    });
    comes_over(&mut slow, &file);
    assert_eq!(daemon.end().code(), Some(0), "{}", daemon.stderr());
}

#[test]
fn a_chain_of_daemons() {
    let daemon = setup().start();
    daemon.deploy("v1").succeeds();
    let traffic = Traffic::start(daemon.proxy_address(), 4, 0);
    let mut seconds: Vec<Second> = Vec::new();
    for number in 2..6 {
        let id = format!("v{number}");
        let next = Second::beside(&daemon, &id);
        waits_for_place(&daemon, &id);
        traffic.promise(number);
        match seconds.last_mut() {
            None => assert_eq!(daemon.end().code(), Some(0), "{}", daemon.stderr()),
            Some(previous) => assert_eq!(previous.end(), Some(0)),
        }
        seconds.push(next);
    }
    traffic.ends_without_a_failure();
    assert!(!doubled(&daemon));
}

/// The first daemon has heard that nobody takes its place; the other one may be gone before that.
fn stays(daemon: &Daemon) {
    wait_until("the first stays", || daemon.events_of("owner stays").len() == 1);
}

/// The first daemon is as it was, and can be deployed to.
fn goes_on(daemon: &Daemon) {
    wait_until("the first has everything again", || {
        let runs = |process: Value| process["state"] == "running" && process["releaseId"] == "v1";
        runs(daemon.singleton("scheduler")) && runs(daemon.service("broker"))
    });
    assert_eq!(daemon.status()["activeReleaseId"], "v1");
    assert_eq!(daemon.get("/").body, "v1");
    let mut request = daemon.deploy_request("v9");
    // Until the turn has been given back.
    request["wait"] = true.into();
    daemon.ask(request).succeeds();
    assert!(!doubled(daemon));
}

#[test]
fn one_that_is_not_healthy_leaves_the_first_as_it_was() {
    let daemon = setup().start();
    daemon.edit_process("web", |web| {
        let command = web["command"].as_str().expect("a command").to_owned();
        web["command"] = format!("[ -e broken ] && exit 3; {command}").into();
    });
    daemon.deploy("v1").succeeds();
    let scheduler = pid(&daemon.singleton("scheduler"));
    std::fs::write(daemon.release_folder("v2").join("broken"), "").expect("the folder is ours");
    let mut second = Second::beside(&daemon, "v2");
    assert_eq!(second.end(), Some(1));
    assert!(
        stderr(&daemon, "v2").contains("web exited with code 3"),
        "{}",
        stderr(&daemon, "v2")
    );
    assert_eq!(
        pid(&daemon.singleton("scheduler")),
        scheduler,
        "it was never stopped"
    );
    stays(&daemon);
    goes_on(&daemon);
}

#[test]
fn one_whose_singleton_does_not_start_gives_everything_back() {
    let daemon = setup()
        .process(Process::singleton("mailer").set("cwd", "{{releasePath}}/mail"))
        .start();
    std::fs::create_dir(daemon.release_folder("v1").join("mail")).expect("the folder is ours");
    std::fs::create_dir(daemon.release_folder("v9").join("mail")).expect("the folder is ours");
    daemon.deploy("v1").succeeds();
    let scheduler = pid(&daemon.singleton("scheduler"));
    let mut second = Second::beside(&daemon, "v2");
    assert_eq!(second.end(), Some(1));
    assert!(
        stderr(&daemon, "v2").contains("goes on"),
        "{}",
        stderr(&daemon, "v2")
    );
    wait_until("its own runs again", || {
        let process = daemon.singleton("scheduler");
        process["state"] == "running" && pid(&process) != scheduler
    });
    goes_on(&daemon);
}

/// The first is stopping its singleton for the second, and does not come to an end of it until the file is gone.
fn beside_one_that_stops_slowly(daemon: &Daemon) -> (Second, std::path::PathBuf) {
    let stay = daemon.release_folder("v1").join("stay");
    std::fs::write(&stay, "").expect("the folder is ours");
    let second = Second::beside(daemon, "v2");
    wait_until("the first stops its singleton", || {
        daemon.singleton("scheduler")["state"] == "stopping"
    });
    (second, stay)
}

#[test]
fn one_that_is_told_to_end_before_it_has_the_place_leaves_it_to_the_first() {
    let daemon = setup().start();
    daemon.deploy("v1").succeeds();
    let (mut second, stay) = beside_one_that_stops_slowly(&daemon);
    send(second.pid(), Signal::SIGTERM);
    wait_until("it has begun to end", || {
        let path = daemon.folder().join("stdout-v2");
        std::fs::read_to_string(path).is_ok_and(|text| text.contains("shutdown starting"))
    });
    std::fs::remove_file(stay).expect("it is there");
    assert_eq!(second.end(), Some(0), "{}", stderr(&daemon, "v2"));
    stays(&daemon);
    goes_on(&daemon);
}

#[test]
fn nothing_is_deployed_until_all_of_the_second_is_gone() {
    let daemon = setup().start();
    daemon.deploy("v1").succeeds();
    let (mut second, stay) = beside_one_that_stops_slowly(&daemon);
    // It cannot end now.
    send(second.pid(), Signal::SIGSTOP);
    daemon.kill_engine();
    std::fs::remove_file(stay).expect("it is there");
    wait_until("the first is there again", || {
        daemon.events_of("engine restarted").len() == 1
    });
    daemon.deploy("v8").fails_with("deploy_in_progress");
    send(second.pid(), Signal::SIGCONT);
    assert_ne!(second.end(), Some(0));
    goes_on(&daemon);
}

#[test]
fn an_engine_that_is_killed_at_its_very_end_leaves_the_sockets_to_the_second() {
    let setup = setup();
    let (from, to) = (setup.spare_port(1), setup.spare_port(2));
    // There may be one of it in each daemon, so the first one's is there until its shutdown.
    let cache = Process::service("cache")
        .set("port", json!({ "from": from.min(to), "to": from.max(to) }))
        .running("trap 'while [ -e stay ]; do sleep 0.01; done; exit' TERM; while :; do sleep 0.01; done");
    let daemon = setup.process(cache).start();
    daemon.deploy("v1").succeeds();
    let mut tunnel = daemon.wire();
    tunnel.upgrade();
    let stay = daemon.release_folder("v1").join("stay");
    let second = Second::beside(&daemon, "v2");
    waits_for_place(&daemon, "v2");
    std::fs::write(&stay, "").expect("the folder is ours");
    drop(tunnel);
    let log = || daemon.log().into_iter().map(|event| event["message"].clone());
    wait_until("the first shuts down", || {
        log().any(|message| message == "shutdown starting")
    });
    let engine = daemon.engine().expect("it still stops");
    send(engine, Signal::SIGKILL);
    wait_until("the first is there again", || {
        log().any(|message| message == "engine restarted")
    });
    std::fs::remove_file(stay).expect("it is there");
    assert_eq!(daemon.end().code(), Some(0), "{}", daemon.stderr());
    assert_eq!(daemon.status()["activeReleaseId"], "v2");
    assert_eq!(daemon.get("/").body, "v2");
    drop(second);
}

#[test]
fn nothing_is_deployed_meanwhile_and_either_may_be_killed() {
    let daemon = setup().start();
    daemon.deploy("v1").succeeds();
    for victim in ["second", "second's engine", "first's engine"] {
        let folder = daemon.release_folder("v2");
        std::fs::write(folder.join("hold"), "").expect("the folder is ours");
        // It waits until nobody has the turn any more: the first may still be putting back what it had stopped.
        daemon.restart_process("nobody").fails_with("process_not_found");
        let mut second = Second::beside(&daemon, "v2");
        wait_until("the first has been asked", || {
            daemon.events_of("owner leaving").len() > daemon.events_of("owner stays").len()
        });
        daemon.deploy("v8").fails_with("deploy_in_progress");
        match victim {
            "second" => send(second.pid(), Signal::SIGKILL),
            "second's engine" => {
                let engine = engine_of(&second);
                send(engine, Signal::SIGKILL);
            }
            _ => daemon.kill_engine(),
        }
        assert_ne!(second.end(), Some(0), "{victim}");
        if victim == "first's engine" {
            break;
        }
        wait_until("the first has noticed", || {
            daemon.events_of("owner leaving").len() == daemon.events_of("owner stays").len()
        });
    }
    goes_on(&daemon);
}

#[test]
fn a_daemon_that_is_told_to_leave_drains_and_ends() {
    let daemon = setup().set("statePath", "tmp/state.json").start();
    daemon.deploy("v1").succeeds();
    wait_until("there is a state", || state_of(&daemon) == Some(daemon.pid()));
    let mut tunnel = daemon.wire();
    tunnel.upgrade();
    let refused = daemon.ask(json!({ "command": "retire-owner", "attestation": "sha256:1" }));
    refused.fails_with("invalid_request");
    let answer = daemon.ask(json!({ "command": "retire-owner", "attestation": ATTESTATION }));
    assert_eq!(answer.succeeds()["message"], "owner retired");
    assert!(tunnel.echoes("still there"));
    assert_eq!(daemon.get("/").status, 503, "nobody is left waiting");
    daemon.deploy("v2").fails_with("shutting_down");
    send(daemon.engine().expect("it drains"), Signal::SIGKILL);
    assert!(tunnel.is_cut());
    daemon.ends_clean();
}

#[test]
fn an_engine_that_is_killed_while_it_drains_goes_on_draining() {
    let daemon = setup().start();
    daemon.deploy("v1").succeeds();
    let mut tunnel = daemon.wire();
    tunnel.upgrade();
    let second = Second::beside(&daemon, "v2");
    waits_for_place(&daemon, "v2");
    let engine = daemon.engine().expect("it drains");
    send(engine, Signal::SIGKILL);
    assert!(tunnel.is_cut());
    assert_eq!(daemon.end().code(), Some(0), "{}", daemon.stderr());
    assert_eq!(daemon.get("/").body, "v2");
    assert!(!doubled(&daemon));
    drop(second);
}

#[test]
fn with_nobody_there_it_is_a_start_like_any_other() {
    let setup = Setup::with_web();
    let path = setup.folder().join("releases/v1");
    std::fs::create_dir_all(&path).expect("the folder is ours");
    let path = path.display().to_string();
    let daemon = setup.arguments(arguments(&path, "v1")).start();
    assert_eq!(daemon.status()["activeReleaseId"], "v1");
    daemon.signal(Signal::SIGTERM);
    daemon.ends_clean();
}

#[test]
fn one_that_cannot_pass_its_sockets_is_refused() {
    let setup = Setup::with_web();
    let listener = UnixListener::bind(setup.socket()).expect("a socket");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a client");
            let mut lines = BufReader::new(stream.try_clone().expect("a handle"));
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|count| count > 0) {
                let answer = match line.contains("status") {
                    true => json!({
                        "status": "success", "application": "shop", "version": "0.0.1", "activeReleaseId": "v1",
                        "proxy": { "host": "127.0.0.1", "port": 1 },
                    }),
                    false => json!({ "status": "error", "error": "unknown", "code": "unknown_command" }),
                };
                // One that has read enough leaves.
                let _ = writeln!(stream, "{answer}");
                line.clear();
            }
        }
    });
    let path = setup.folder().display().to_string();
    let daemon = setup.arguments(arguments(&path, "v1")).launch();
    assert_eq!(daemon.end().code(), Some(1));
    assert!(
        daemon.stderr().contains("cannot pass its sockets"),
        "{}",
        daemon.stderr()
    );
}
