//! The daemon's log in a file of its own: rotated, truncated, on a full disk. Nothing of that stops the daemon.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{Daemon, Setup, can_mount, wait_for, wait_until};

/// The daemon writes its log to `disk/log` in its folder.
fn logging(setup: Setup) -> Setup {
    let path = setup.folder().join("disk/log").display().to_string();
    setup.arguments(["--daemon-log-path", &path])
}

fn log_of(daemon: &Daemon) -> PathBuf {
    daemon.folder().join("disk/log")
}

/// The events that were written to this file, as far as they are whole.
fn written(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    // What an engine was killed in the middle of is a line of its own.
    whole.filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn has(path: &Path, message: &str) -> bool {
    written(path).iter().any(|event| event["message"] == message)
}

fn numbers(events: &[Value]) -> Vec<u64> {
    events
        .iter()
        .map(|event| event["seq"].as_u64().expect("a number"))
        .collect()
}

/// Renames the log and has it opened again.
fn rotate(daemon: &Daemon, name: &str) -> PathBuf {
    let (log, aside) = (log_of(daemon), daemon.folder().join("disk").join(name));
    std::fs::rename(&log, &aside).expect("the folder is ours");
    daemon.signal(Signal::SIGHUP);
    wait_until("the log is opened again", || has(&log, "log reopened"));
    aside
}

#[test]
fn a_renamed_log_is_begun_anew_by_keeper_and_engine() {
    let daemon = logging(Setup::with_idle_web()).start();
    let log = log_of(&daemon);
    daemon.deploy("v1").succeeds();
    // The last line may just be on its way to the old file.
    wait_until("all is written", || has(&log, "deploy finished"));
    let first = rotate(&daemon, "log.1");
    assert_eq!(written(&log)[0]["data"]["path"], log.display().to_string());
    daemon.deploy("v2").succeeds();
    // The next engine begins with what the keeper has.
    daemon.kill_engine();
    wait_until("the next engine writes there", || has(&log, "engine restarted"));
    let second = rotate(&daemon, "log.2");
    daemon.kill_engine();
    daemon.signal(Signal::SIGTERM);
    daemon.ends_clean();
    // The last ones before a kill may come again.
    let all: BTreeSet<u64> = [first, second, log]
        .iter()
        .flat_map(|path| numbers(&written(path)))
        .collect();
    let count = u64::try_from(all.len()).expect("a number");
    assert_eq!(all, (1..=count).collect::<BTreeSet<_>>(), "no line is missing");
    assert_eq!(daemon.stderr(), "");
}

#[test]
fn a_log_may_be_truncated_under_the_daemon() {
    let daemon = logging(Setup::with_idle_web()).start();
    let log = log_of(&daemon);
    wait_until("there is something", || has(&log, "control socket listening"));
    let file = std::fs::File::options()
        .write(true)
        .open(&log)
        .expect("it is ours");
    file.set_len(0).expect("it is ours");
    daemon.deploy("v1").succeeds();
    wait_until("it goes on at the beginning", || has(&log, "deploy finished"));
    assert_eq!(written(&log)[0]["message"], "deploy starting");
}

#[test]
fn who_ignores_a_hangup_of_the_terminal_still_rotates() {
    let daemon = logging(Setup::with_idle_web().ignoring("HUP")).start();
    rotate(&daemon, "log.1");
    daemon.deploy("v1").succeeds();
}

#[test]
fn a_log_that_cannot_be_opened_again_goes_on_where_it_was() {
    let daemon = logging(Setup::with_idle_web()).start();
    let (log, aside) = (log_of(&daemon), daemon.folder().join("disk/log.1"));
    std::fs::rename(&log, &aside).expect("the folder is ours");
    symlink("/dev/null", &log).expect("the folder is ours");
    daemon.signal(Signal::SIGHUP);
    wait_until("it is told", || has(&aside, "log not reopened"));
    let told = daemon.events_of("log not reopened");
    assert_eq!(told[0]["reason"], "it is a symbolic link");
    daemon.deploy("v1").succeeds();
    wait_until("it goes on", || has(&aside, "deploy finished"));
}

#[test]
fn a_log_that_is_none_is_an_error_of_the_start() {
    let setup = logging(Setup::with_idle_web());
    std::fs::create_dir_all(setup.folder().join("disk/log")).expect("the folder is ours");
    let daemon = setup.launch();
    assert_eq!(daemon.end().code(), Some(1));
    let stderr = daemon.stderr();
    assert!(
        stderr.contains("as the log file") && stderr.contains("--daemon-log-path"),
        "{stderr}"
    );
}

#[test]
fn a_full_disk_loses_no_line() {
    if !can_mount() {
        return;
    }
    let daemon = logging(Setup::with_idle_web().small_disk("disk")).start();
    // Only the daemon sees the disk; this leads there.
    let seen = PathBuf::from(format!(
        "/proc/{}/root{}",
        daemon.pid(),
        daemon.folder().join("disk").display()
    ));
    let log = seen.join("log");
    wait_until("it writes there", || has(&log, "control socket listening"));
    let filler = seen.join("filler");
    // Ends when there is no room left.
    let _ = std::fs::write(&filler, vec![0; 1024 * 1024]);
    let told = |message: &str| daemon.events_of(message);
    let mut deploys = 0;
    wait_until("what the last page had room for is used up", || {
        daemon.deploy(&format!("v{deploys}")).succeeds();
        deploys += 1;
        !told("log not written").is_empty()
    });
    assert_eq!(told("log not written")[0]["reason"], "No space left on device");
    daemon.kill_engine();
    daemon.deploy("after").succeeds();
    assert!(told("log written again").is_empty());
    std::fs::remove_file(&filler).expect("it is ours");
    let recovered = wait_for("it is told", || told("log written again").pop());
    assert_eq!(recovered["lostLines"], 0);
    wait_until("all of it is there", || {
        daemon.events().len() == numbers(&written(&log)).iter().collect::<BTreeSet<_>>().len()
    });
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.end().code(), Some(0));
}

#[test]
fn a_reader_that_has_gone_is_told_once_and_stops_nothing() {
    let setup = Setup::with_idle_web();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let daemon = setup.launch_with(Stdio::from(writer), Stdio::null());
    drop(reader);
    daemon.wait_until_ready();
    daemon.deploy("v1").succeeds();
    daemon.deploy("v2").succeeds();
    wait_until("it is told", || !daemon.events_of("log not written").is_empty());
    let told = daemon.events_of("log not written");
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["reason"], "Broken pipe");
    daemon.signal(Signal::SIGTERM);
    daemon.ends_clean();
}

#[test]
fn the_pid_file_comes_with_the_socket_and_goes_with_the_daemon() {
    let setup = Setup::with_idle_web();
    let path = setup.folder().join("run/pid");
    let daemon = setup
        .arguments(["--daemon-pid-path", &path.display().to_string()])
        .start();
    let told = || std::fs::read_to_string(&path).ok();
    let own = Some(format!("{}\n", daemon.pid()));
    wait_until("it is written", || told() == own);
    // Once it answers, another engine would follow.
    daemon.status();
    daemon.kill_engine();
    assert_eq!(told(), own);
    daemon.signal(Signal::SIGTERM);
    daemon.ends_clean();
    assert_eq!(told(), None);
}

#[test]
fn a_pid_file_that_cannot_be_written_is_an_error_of_the_start() {
    let setup = Setup::with_idle_web();
    let folder = setup.folder().join("run/pid");
    std::fs::create_dir_all(folder.join("not empty")).expect("the folder is ours");
    let daemon = setup
        .arguments(["--daemon-pid-path", &folder.display().to_string()])
        .launch();
    assert_eq!(daemon.end().code(), Some(1));
    assert!(
        daemon.stderr().contains("--daemon-pid-path"),
        "{}",
        daemon.stderr()
    );
    assert!(!daemon.socket().exists());
    daemon.leaves_nothing_running();
}
