//! `ps`: one line for each process, and a sentence for what is not as it should stay.

use serde_json::Value;

use crate::stage::{Daemon, Process, Setup, pid, wait_until};
use crate::terminal::{Terminal, plain};

fn printed(daemon: &Daemon, arguments: &[&str]) -> String {
    let output = daemon.run(arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn every_process_has_a_line() {
    let setup = Setup::with_web()
        .process(Process::companion("worker").set("replicas", 2))
        .process(Process::service("beacon"));
    let daemon = setup.start();
    let before = printed(&daemon, &["ps"]);
    assert!(before.contains("no release is active"), "{before}");
    daemon.deploy("v1").succeeds();
    let text = printed(&daemon, &["ps"]);
    let web = daemon.process("v1", "web");
    let line = text
        .lines()
        .find(|line| line.contains(" web "))
        .expect("a line of the web process");
    let cells: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(
        cells[..5],
        [
            "v1",
            "web",
            "running",
            &pid(&web).to_string(),
            &web["port"].to_string()
        ],
        "{text}"
    );
    assert!(text.contains("worker#1") && text.contains("beacon"), "{text}");
    assert!(text.starts_with("RELEASE"), "{text}");
    assert!(!text.contains('\x1b'), "no colours in a pipe: {text:?}");

    let json: Value = serde_json::from_str(&printed(&daemon, &["ps", "--json"])).expect("JSON");
    let rows = json.as_array().expect("a list");
    assert_eq!(rows.len(), 4);
    let row = rows
        .iter()
        .find(|row| row["id"] == "web")
        .expect("the web process");
    assert_eq!(
        (&row["source"], &row["releaseState"], &row["connections"]),
        (&"v1".into(), &"active".into(), &0.into())
    );
}

#[test]
fn it_says_why_a_release_still_drains() {
    let daemon = Setup::with_web().start();
    daemon.deploy("v1").succeeds();
    let mut tunnel = daemon.wire();
    tunnel.upgrade();
    daemon.deploy("v2").succeeds();
    daemon.wait_for_state("v1", "draining");
    let text = printed(&daemon, &["ps"]);
    assert!(text.contains("v1 (draining)"), "{text}");
    assert!(
        text.contains(": 1 upgraded connection open; rollbridge connections --release v1 lists them"),
        "{text}"
    );
    drop(tunnel);
    daemon.wait_for_state("v1", "stopped");
    wait_until("v1 is gone from the list", || {
        !printed(&daemon, &["ps"]).contains("v1")
    });
}

#[test]
fn a_crash_is_explained() {
    let daemon = Setup::with_web()
        .process(
            Process::companion("worker")
                .running("sleep 0.1; exit 7")
                .set("restartDelayMs", 60_000),
        )
        .start();
    daemon.deploy("v1").succeeds();
    wait_until("the worker waits for its restart", || {
        daemon.process("v1", "worker")["state"] == "backoff"
    });
    let text = printed(&daemon, &["ps"]);
    assert!(
        text.contains("worker (v1) exited with code 7 and is started again in "),
        "{text}"
    );
}

#[test]
fn watching_refreshes_until_control_c() {
    let daemon = Setup::with_web().start();
    let mut terminal = Terminal::run(&daemon, &["ps", "--watch"]);
    terminal.wait_for_text("no release is active");
    daemon.deploy("v1").succeeds();
    terminal.wait_for_text("\x1b[1mv1\x1b[0m");
    terminal.wait_for_text("\x1b[32mrunning\x1b[0m");
    terminal.press_control_c();
    terminal.ends_with(0);
    assert!(
        plain(&terminal.screen()).contains("v1       web"),
        "{:?}",
        plain(&terminal.screen())
    );
}

#[test]
fn no_color_is_respected() {
    let daemon = Setup::with_web().start();
    daemon.deploy("v1").succeeds();
    let mut terminal = Terminal::run_with(&daemon, &["ps"], &[("NO_COLOR", "1")]);
    terminal.ends_with(0);
    terminal.wait_for_text("web");
    assert!(!terminal.screen().contains('\x1b'), "{:?}", terminal.screen());
}

#[test]
fn watching_with_json_is_a_list_a_line() {
    use std::io::{BufRead, BufReader};
    let daemon = Setup::with_web().start();
    daemon.deploy("v1").succeeds();
    let mut command = daemon.command(&["ps", "--watch", "--json"]);
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("it is started");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    for _ in 0..2 {
        let line = lines.next().expect("a line").expect("readable");
        let rows: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(rows[0]["id"], "web", "{line}");
    }
    child.kill().expect("it is ours");
    child.wait().expect("it is ours");
}
