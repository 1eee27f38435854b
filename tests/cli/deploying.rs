//! What a deploy shows while it happens, and how a failed one explains itself.

use crate::running::Running;
use crate::stage::{Daemon, Process, Setup, wait_until};
use crate::terminal::{Terminal, plain};

fn deploy<'a>(folder: &'a str, id: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let always = ["deploy", "--release-path", folder, "--release-id", id];
    always.iter().chain(more).copied().collect()
}

fn folder(daemon: &Daemon, id: &str) -> String {
    daemon.release_folder(id).display().to_string()
}

#[test]
fn on_a_terminal_each_step_is_shown_as_it_happens() {
    let setup = Setup::new();
    let go = setup.folder().join("go");
    let preamble = format!("until [ -e {} ]; do sleep 0.02; done", go.display());
    let daemon = setup
        .process(Process::web_after(&preamble))
        .process(Process::companion("worker"))
        .start();
    let path = folder(&daemon, "v1");
    let mut terminal = Terminal::run(&daemon, &deploy(&path, "v1", &[]));
    terminal.wait_for_text("\x1b[1mhealth");
    terminal.wait_for_text("probe ");
    // The line of the probes is written anew, with the time that has passed.
    terminal.wait_for_text("\r\x1b[2K\x1b[1mhealth    \x1b[0m probe");
    terminal.wait_for_text("\x1b[2m1s\x1b[0m");
    std::fs::write(&go, "").expect("the folder is ours");
    terminal.wait_for_text("\x1b[32mswitch");
    terminal.ends_with(0);
    // The end of what it has printed may still be on its way.
    wait_until("the result is shown", || {
        plain(&terminal.screen()).contains("\"activeReleaseId\": \"v1\"")
    });
    let shown = plain(&terminal.screen());
    for words in [
        "worker started, pid ",
        "web started, pid ",
        ", port ",
        "traffic is on v1",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    // Probe after probe changes one line.
    let lines = shown.lines().filter(|line| line.contains("200 OK")).count();
    assert_eq!(lines, 1, "{shown:?}");

    let path = folder(&daemon, "v2");
    let mut terminal = Terminal::run(&daemon, &deploy(&path, "v2", &[]));
    terminal.ends_with(0);
    terminal.wait_for_text("v1 drains in the background; rollbridge ps shows it");
}

#[test]
fn the_drain_is_shown_when_it_is_waited_for() {
    let daemon = Setup::with_web().start();
    daemon.deploy("v1").succeeds();
    let mut tunnel = daemon.wire();
    tunnel.upgrade();
    let path = folder(&daemon, "v2");
    let mut waiting = Running::start(daemon.command(&deploy(&path, "v2", &["--wait-drained", "--progress"])));
    waiting.wait_for_stderr("drain      waiting until v1 has drained and stopped\n");
    assert_eq!(waiting.stdout(), "");
    drop(tunnel);
    waiting.ends_with(0);
    assert!(
        !waiting.stderr().contains("in the background"),
        "{}",
        waiting.stderr()
    );
}

#[test]
fn in_a_pipe_there_are_plain_lines_and_only_if_asked_for() {
    let daemon = Setup::with_web().start();
    let path = folder(&daemon, "v1");
    let output = daemon.run(&deploy(&path, "v1", &[]));
    assert_eq!(
        (output.status.code(), output.stderr.len()),
        (Some(0), 0),
        "{output:?}"
    );
    let output = daemon.run(&["rollback", "--release-id", "v1"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let path = folder(&daemon, "v2");
    let output = daemon.run(&deploy(&path, "v2", &["--progress"]));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.starts_with("config     deploying v2 from "), "{said}");
    assert!(
        said.ends_with("drain      v1 drains in the background; rollbridge ps shows it\n"),
        "{said}"
    );
    assert!(!said.contains('\x1b') && !said.contains('\r'), "{said:?}");
}

#[test]
fn control_c_ends_the_waiting_and_not_the_deploy() {
    let setup = Setup::new();
    let go = setup.folder().join("go");
    let preamble = format!("until [ -e {} ]; do sleep 0.02; done", go.display());
    let daemon = setup.process(Process::web_after(&preamble)).start();
    let path = folder(&daemon, "v1");
    let mut terminal = Terminal::run(&daemon, &deploy(&path, "v1", &[]));
    terminal.wait_for_text("health");
    terminal.press_control_c();
    let status = terminal.ends();
    assert!(!status.success(), "{status}");
    std::fs::write(&go, "").expect("the folder is ours");
    daemon.wait_for_state("v1", "active");
}

#[test]
fn a_failed_deploy_explains_itself() {
    let daemon = Setup::new().process(Process::web().unless_told()).start();
    daemon.deploy("v1").succeeds();
    daemon.tell("v2", "web", "echo reading settings; echo no database >&2; exit 3");
    let path = folder(&daemon, "v2");
    let output = daemon.run(&deploy(&path, "v2", &[]));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "last output of web:", "{said}");
    assert!(
        lines[1..3].contains(&"  reading settings") && lines[1..3].contains(&"  no database"),
        "{said}"
    );
    assert!(
        lines[3].starts_with("rollbridge: deploy of v2 failed in phase ")
            && lines[3].contains(", v1 keeps serving: web exited with code 3 before the release was healthy"),
        "{said}"
    );
    assert_eq!(
        lines[4],
        "next: see with rollbridge logs --release v2 --process web all that it wrote, put it right, and deploy again"
    );
    // What it says to do works.
    let logs = daemon.run(&["logs", "--release", "v2", "--process", "web"]);
    assert!(
        String::from_utf8_lossy(&logs.stdout).contains("no database"),
        "{logs:?}"
    );
}

#[test]
fn what_is_odd_in_the_config_is_said_when_it_is_taken_on() {
    let daemon = Setup::with_idle_web().start();
    daemon.deploy("v1").succeeds();
    daemon.edit_process("web", |web| web["healt"] = "/ready".into());
    let folder = daemon.release_folder("v2").display().to_string();
    for command in [&deploy(&folder, "v2", &[])[..], &["rollback"]] {
        let output = daemon.run(command);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert_eq!(said.matches("warning: ").count(), 1, "{said}");
        assert!(said.contains("healt") && said.contains("health"), "{said}");
    }
    let output = daemon.run(&["doctor", "--release-path", &folder]);
    let report = String::from_utf8_lossy(&output.stdout);
    let config = report.lines().find(|line| line.contains("config: "));
    assert!(
        config.is_some_and(|line| line.contains("; warning: ")),
        "{report}"
    );
}
