//! The state file: private, without secrets, gone after a good end; whatever else lies at its path is kept and never
//! obeyed.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::{Daemon, Process, Setup, has_said, wait_until};

fn remembering() -> Setup {
    Setup::with_idle_web().set("statePath", "tmp/state.json")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn ends_well(daemon: &Daemon) {
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.end().code(), Some(0), "{}", daemon.stderr());
}

#[test]
fn it_tells_how_things_stand_and_no_secret() {
    let talker = Process::companion("worker")
        .running("echo said-$PASSWORD-here; exec sleep 1000")
        .env("PASSWORD", "hunter2");
    let daemon = remembering().process(talker).start();
    let path = daemon.own_folder().join("state.json");
    daemon.deploy("v1").succeeds();
    wait_until("it has spoken", || {
        has_said(&daemon.process("v1", "worker"), "said-hunter2-here")
    });
    wait_until("the state is on disk", || read(&path).contains("deploy finished"));
    let text = read(&path);
    for secret in ["hunter2", "said-", "sleep", "PASSWORD"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    let mode = std::fs::metadata(&path)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let state: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        (&state["format"], &state["version"], &state["application"]),
        (&json!("rollbridge-state"), &json!(1), &json!("shop"))
    );
    let release = &state["releases"][0];
    assert_eq!(
        (&release["releaseId"], &release["state"]),
        (&json!("v1"), &json!("active"))
    );
    let crashing = daemon.process("v1", "worker")["pid"].as_i64().expect("a pid");
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(crashing.try_into().expect("a pid")),
        Signal::SIGKILL,
    )
    .expect("it is there");
    wait_until("the restart is counted", || {
        read(&path).contains("\"restarts\":1")
    });
    daemon.signal(Signal::SIGTERM);
    daemon.ends_clean();
}

#[test]
fn what_is_not_to_be_believed_is_kept_aside() {
    let head = "{\"format\":\"rollbridge-state\",\"version\":";
    for (text, reason) in [
        ("", "damaged"),
        ("{\"format\":\"rollbridge-state\",\"versi", "damaged"),
        ("{}", "damaged"),
        (&format!("{head}1}}"), "damaged"),
        (&format!("{head}2,\"more\":true}}"), "version 2"),
        (
            &format!(
                "{head}1,\"application\":\"other\",\"daemon\":null,\"releases\":[],\"services\":[],\
                 \"singletons\":[],\"orphans\":[]}}"
            ),
            "application other",
        ),
    ] {
        let setup = remembering();
        std::fs::write(setup.folder().join("tmp/state.json"), text).expect("the folder is ours");
        let daemon = setup.start();
        let told = daemon.events_of("state file refused");
        assert_eq!(told.len(), 1, "{text}");
        assert!(told[0]["reason"].to_string().contains(reason), "{told:?}");
        let kept = told[0]["keptAs"].as_str().expect("its new name");
        assert_eq!(read(Path::new(kept)), text);
        daemon.deploy("v1").succeeds();
        wait_until("the state is on disk", || {
            read(&daemon.own_folder().join("state.json")).contains("deploy finished")
        });
        ends_well(&daemon);
        assert_eq!(read(Path::new(kept)), text);
    }
}

#[test]
fn a_link_is_not_followed() {
    let setup = remembering();
    let victim = setup.folder().join("victim");
    std::fs::write(&victim, "precious").expect("the folder is ours");
    symlink(&victim, setup.folder().join("tmp/state.json")).expect("the folder is ours");
    symlink(&victim, setup.folder().join("tmp/.state.json.new")).expect("the folder is ours");
    let daemon = setup.start();
    let told = daemon.events_of("state file refused");
    assert!(
        told[0]["reason"].to_string().contains("not a regular file"),
        "{told:?}"
    );
    daemon.deploy("v1").succeeds();
    wait_until("the state is on disk", || {
        read(&daemon.own_folder().join("state.json")).contains("deploy finished")
    });
    assert_eq!(read(&victim), "precious");
    ends_well(&daemon);
}

#[test]
fn a_file_that_cannot_be_written_is_told_once_and_stops_nothing() {
    let daemon = Setup::with_idle_web().set("statePath", "gone/state.json").start();
    daemon.deploy("v1").succeeds();
    wait_until("it is told", || {
        !daemon.events_of("state file not written").is_empty()
    });
    daemon.deploy("v2").succeeds();
    let told = daemon.events_of("state file not written");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0]["reason"].to_string().contains("No such file"), "{told:?}");
    std::fs::create_dir(daemon.folder().join("gone")).expect("the folder is ours");
    daemon.deploy("v3").succeeds();
    wait_until("the state is on disk", || {
        read(&daemon.folder().join("gone/state.json")).contains("v3")
    });
    daemon.signal(Signal::SIGTERM);
    daemon.ends_clean();
}
