//! A daemon that begins with the release that was active when it ended.

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{Daemon, Process, Setup, wait_until};

fn resuming(setup: Setup) -> Setup {
    let path = setup.folder().join("resume/release.json").display().to_string();
    setup.arguments(["--daemon-resume-path", &path])
}

/// The release in the file.
fn noted(daemon: &Daemon) -> Option<Value> {
    let text = std::fs::read_to_string(daemon.folder().join("resume/release.json")).ok()?;
    let contents: Value = serde_json::from_str(&text).expect("it is whole at any time");
    Some(contents["releaseId"].clone())
}

fn restart(daemon: &Daemon) {
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.end().code(), Some(0), "{}", daemon.stderr());
    daemon.start_again();
}

#[test]
fn what_was_active_is_active_again() {
    let daemon = resuming(Setup::with_web()).start();
    assert_eq!(daemon.status()["activeReleaseId"], Value::Null);
    daemon.deploy("v1").succeeds();
    daemon.deploy("v2").succeeds();
    wait_until("it is noted", || noted(&daemon) == Some("v2".into()));
    restart(&daemon);
    assert_eq!(daemon.status()["activeReleaseId"], "v2");
    assert_eq!(
        daemon.status()["bootstrap"],
        Value::Null,
        "nobody gave it on the command line"
    );
    assert_eq!(daemon.get("/").body, "v2");
    daemon.deploy("v3").succeeds();
    daemon.kill_engine();
    wait_until("the next engine sees to it too", || {
        noted(&daemon) == Some("v3".into())
    });
    daemon.deploy("v4").succeeds();
    daemon.rollback().succeeds();
    wait_until("a rollback counts", || noted(&daemon) == Some("v3".into()));
    daemon.crash();
    daemon.start_again();
    assert_eq!(daemon.status()["activeReleaseId"], "v3");
    // What was stopped on purpose stays stopped.
    daemon.stop().succeeds();
    wait_until("a stop counts", || noted(&daemon).is_none());
    restart(&daemon);
    assert_eq!(daemon.status()["activeReleaseId"], Value::Null);
}

#[test]
fn a_release_that_does_not_come_up_again_is_kept_for_the_next_try() {
    let daemon = resuming(Setup::new().process(Process::web().unless_told())).start();
    daemon.deploy("v1").succeeds();
    wait_until("it is noted", || noted(&daemon) == Some("v1".into()));
    daemon.signal(Signal::SIGTERM);
    daemon.end();
    daemon.tell("v1", "web", "echo no database yet; exit 3");
    let output = {
        let mut command = daemon.command(&["daemon"]);
        command
            .arg("--daemon-resume-path")
            .arg(daemon.folder().join("resume/release.json"));
        command.output().expect("it is run")
    };
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("no database yet") && said.contains("to start without a release"),
        "{said}"
    );
    assert_eq!(noted(&daemon), Some("v1".into()));
}
