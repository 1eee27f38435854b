//! `logs --follow` and `events --follow`: what happens next, across deploys and restarts, for readers quick and slow.

use std::path::Path;

use serde_json::{Value, json};

use crate::running::Running;
use crate::stage::{Daemon, Process, Setup, wait_until};
use crate::terminal::{Terminal, plain};

/// Says who it is, then repeats every line that is appended to a file.
fn repeating(process: Process, file: &Path) -> Process {
    process.running(&format!(
        "echo {{{{releaseId}}}} {{{{processId}}}} begins; : > {0}.ready; exec tail -n 0 -F {0} 2>/dev/null",
        file.display()
    ))
}

fn say(file: &Path, text: &str) {
    use std::io::Write;
    let mut file = std::fs::File::options()
        .append(true)
        .open(file)
        .expect("the file is there");
    writeln!(file, "{text}").expect("the folder is ours");
}

/// A daemon whose worker repeats what is said in the returned file.
fn repeater() -> (Daemon, std::path::PathBuf) {
    let setup = Setup::with_idle_web();
    let file = setup.folder().join("said");
    std::fs::write(&file, "").expect("the folder is ours");
    let daemon = setup
        .process(repeating(Process::singleton("parrot"), &file))
        .process(Process::companion("worker").running("echo {{releaseId}} works; exec sleep 1000"))
        .start();
    (daemon, file)
}

/// Until it comes out again: tail may not watch yet when the first is said.
fn say_until_heard(file: &Path, text: &str, heard: impl Fn() -> bool) {
    let mut times = 0;
    wait_until("the parrot speaks", || {
        if times % 40 == 0 {
            say(file, text);
        }
        times += 1;
        heard()
    });
}

#[test]
fn lines_go_on_across_deploys_until_the_daemon_ends() {
    let (daemon, file) = repeater();
    daemon.deploy("v1").succeeds();
    let mut logs = Running::start(daemon.command(&["logs", "--follow"]));
    logs.wait_for_stdout("v1 worker");
    logs.wait_for_stdout("| v1 works");
    logs.wait_for_stdout("| v1 parrot begins");
    say_until_heard(&file, "hello", || logs.stdout().contains("| hello"));
    daemon.deploy("second").succeeds();
    logs.wait_for_stdout("| second works");
    logs.wait_for_stdout("| second parrot begins");
    // Every label has the width of the longest so far.
    let text = logs.stdout();
    let at = |needle: &str| {
        let line = text.lines().find(|line| line.ends_with(needle));
        line.expect("it was waited for").find('|')
    };
    assert_eq!(at("| second works"), at("| second parrot begins"), "{text}");
    assert_eq!(text.matches("| v1 works").count(), 1, "{text}");
    daemon.ask(json!({ "command": "shutdown" })).succeeds();
    logs.ends_with(0);
    assert_eq!(logs.stderr(), "");
}

#[test]
fn filters_hold_for_what_is_still_to_come() {
    let (daemon, _) = repeater();
    // Nothing is deployed yet, and the process is in the config.
    let worker = Running::start(daemon.command(&["logs", "--follow", "--json", "--process", "worker"]));
    daemon.deploy("v1").succeeds();
    worker.wait_for_stdout("v1 works");
    let first = Running::start(daemon.command(&["logs", "--follow", "--release", "v1"]));
    first.wait_for_stdout("| v1 works");
    daemon.deploy("v2").succeeds();
    worker.wait_for_stdout("v2 works");
    let lines: Vec<Value> = worker
        .stdout()
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect();
    let fields: Vec<&String> = lines[0].as_object().expect("an object").keys().collect();
    assert_eq!(fields, ["id", "source", "seq", "at", "stream", "line"]);
    assert!(lines.iter().all(|line| line["id"] == "worker"), "{lines:#?}");
    assert!(!first.stdout().contains("v2"), "{}", first.stdout());
    for (arguments, words) in [
        (
            ["logs", "--follow", "--process", "parot"],
            "no process \"parot\" is known there",
        ),
        (
            ["logs", "--follow", "--release", "v9"],
            "no release \"v9\" is known",
        ),
    ] {
        let mut logs = Running::start(daemon.command(&arguments));
        logs.ends_with(1);
        assert!(logs.stderr().contains(words), "{}", logs.stderr());
    }
}

#[test]
fn a_terminal_has_colours_and_control_c_ends_it() {
    let (daemon, _) = repeater();
    daemon.deploy("v1").succeeds();
    let mut logs = Terminal::run(&daemon, &["logs", "--follow"]);
    logs.wait_for_text("v1 works");
    logs.wait_for_text("parrot begins");
    logs.press_control_c();
    logs.ends_with(0);
    let screen = logs.screen();
    let colour = |needle: &str| {
        let line = screen
            .lines()
            .find(|line| line.ends_with(needle))
            .expect("it was waited for");
        line.split("\x1b[").nth(3).and_then(|code| code.split('m').next())
    };
    assert!(colour(" v1 works").is_some(), "{screen:?}");
    assert_ne!(colour(" v1 works"), colour("parrot begins"), "{screen:?}");
    assert!(plain(&screen).contains("v1 worker"), "{screen:?}");
}

#[test]
fn who_comes_back_reads_on_without_gap_or_repeat() {
    let (daemon, file) = repeater();
    daemon.deploy("v1").succeeds();
    let mut client = daemon.client();
    let request = json!({ "command": "logs", "follow": true, "process": "parrot" });
    client.send(request.clone());
    let begins = client.line();
    assert_eq!(
        (&begins["seq"], &begins["line"]),
        (&1.into(), &"v1 parrot begins".into())
    );
    let origin = begins["origin"].as_str().expect("an origin").to_owned();
    drop(client);
    let newest = || {
        let logs = daemon
            .ask(json!({ "command": "logs", "process": "parrot" }))
            .succeeds();
        logs["logs"][0]["logs"].as_array().expect("a list").clone()
    };
    say_until_heard(&file, "meanwhile", || newest().len() > 1);
    let mut again = request;
    again["since"] = json!({ &origin: 1 });
    let mut client = daemon.begin(again);
    let next = client.line();
    assert_eq!((&next["seq"], &next["line"]), (&2.into(), &"meanwhile".into()));
    // Without following, and as one number for all.
    let logs = daemon
        .ask(json!({ "command": "logs", "process": "parrot", "since": 1 }))
        .succeeds();
    assert_eq!(logs["logs"][0]["logs"][0]["seq"], 2);
}

#[test]
fn a_slow_reader_misses_lines_and_costs_the_daemon_nothing() {
    let setup = Setup::with_idle_web();
    let go = setup.folder().join("go");
    let daemon = setup
        .process(Process::companion("chatty").running(&format!(
            "echo first; until [ -e {} ]; do sleep 0.05; done; seq 1 100000; echo done; exec sleep 1000",
            go.display()
        )))
        .start();
    daemon.deploy("v1").succeeds();
    let mut slow = daemon.begin(json!({ "command": "logs", "follow": true }));
    assert_eq!(slow.line()["line"], "first");
    let memory = || {
        let engine = daemon.engine().expect("it lives");
        let status = std::fs::read_to_string(format!("/proc/{engine}/status")).expect("it lives");
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .expect("a figure");
        line.split_whitespace()
            .nth(1)
            .and_then(|kib| kib.parse::<u64>().ok())
            .expect("a figure")
    };
    let before = memory();
    std::fs::write(&go, "").expect("the folder is ours");
    // The daemon reads on all the while, whatever the follower does.
    wait_until("all is written", || {
        crate::stage::has_said(&daemon.process("v1", "chatty"), "done")
    });
    let grown = memory().saturating_sub(before);
    assert!(grown < 16 * 1024, "grew by {grown} KiB");
    let (mut told, mut missed) = (1, 0);
    loop {
        let line = slow.line();
        match line["status"].as_str() {
            Some("lagged") => missed += line["missed"].as_u64().expect("a number"),
            _ => told += 1,
        }
        if line["line"] == "done" {
            break;
        }
    }
    assert!(missed > 0, "told {told}");
    assert_eq!(told + missed, 100_002);
}

#[test]
fn events_go_on_with_another_daemon() {
    let daemon = Setup::with_idle_web().start();
    let mut events = Running::start(daemon.command(&["events", "--follow", "--json", "--limit", "1"]));
    events.wait_for_stdout("control socket listening");
    daemon.crash();
    events.wait_for_stderr("the connection to the daemon broke; waiting for the daemon to come back");
    daemon.start_again();
    events.wait_for_stderr("the daemon is back");
    daemon.deploy("v1").succeeds();
    events.wait_for_stdout("deploy finished");
    daemon.ask(json!({ "command": "shutdown" })).succeeds();
    events.ends_with(0);
    let stdout = events.stdout();
    let last = stdout.lines().last().expect("a line");
    assert!(last.contains("shutdown finished"), "{stdout}");
}

#[test]
fn who_waits_in_vain_is_told() {
    let daemon = Setup::with_idle_web().start();
    let mut events = Running::start(daemon.command(&["events", "--follow"]));
    let mut logs = Running::start(daemon.command(&["logs", "--follow", "--json"]));
    events.wait_for_stdout("control socket listening");
    wait_until("both are there", || daemon.sessions() == 2);
    daemon.crash();
    events.ends_with(4);
    logs.ends_with(4);
    assert!(
        events.stderr().contains("no daemon came back within 10 s"),
        "{}",
        events.stderr()
    );
    let error: Value = serde_json::from_str(&logs.stdout()).expect("the error on one line");
    assert_eq!(error["code"], "connection_lost");
}

#[test]
fn an_event_follower_on_a_terminal_ends_with_control_c() {
    let daemon = Setup::with_idle_web().start();
    let mut events = Terminal::run(&daemon, &["events", "--follow"]);
    events.wait_for_text("control socket listening");
    daemon.deploy("v1").succeeds();
    events.wait_for_text("traffic switched  releaseId=v1");
    events.press_control_c();
    events.ends_with(0);
}

#[test]
fn lines_and_events_go_on_with_another_engine_without_gap_or_repeat() {
    const LINES: usize = 400;
    let setup = Setup::with_idle_web();
    // More lines than are shown, and some of them while there is no engine.
    let counter = "i=0; while [ $i -lt 400 ]; do i=$((i+1)); echo $i; sleep 0.005; done; exec sleep 1000";
    let daemon = setup
        .process(Process::companion("worker").running(counter))
        .start();
    let mut logs = Running::start(daemon.command(&["logs", "--follow", "--json"]));
    let mut events = Running::start(daemon.command(&["events", "--follow", "--json"]));
    events.wait_for_stdout("control socket listening");
    daemon.deploy("v1").succeeds();
    logs.wait_for_stdout("\"20\"");
    for _ in 0..3 {
        daemon.kill_engine();
    }
    logs.wait_for_stdout(&format!("\"{LINES}\""));
    daemon.deploy("v2").succeeds();
    daemon.ask(json!({ "command": "shutdown" })).succeeds();
    logs.ends_with(0);
    events.ends_with(0);
    let of_v1 = |line: &Value| line["source"] == "v1" && line["id"] == "worker";
    let said: Vec<usize> = logs
        .stdout()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"))
        .filter(of_v1)
        .filter_map(|line| line["line"].as_str()?.parse().ok())
        .collect();
    assert_eq!(said, (1..=LINES).collect::<Vec<_>>());
    let numbers: Vec<u64> = events
        .stdout()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"))
        .filter_map(|event| event["seq"].as_u64())
        .collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    assert!(numbers.len() > 10);
}
