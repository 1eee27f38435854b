//! The control socket, in a folder where another user can put things first.

use std::os::unix::fs::MetadataExt;
use std::process::Command;

use crate::intruder::Listener;
use crate::place::{INTRUDER, Place, has_users, owner_of, wait_until};

#[test]
fn what_an_intruder_has_put_there_first_is_neither_used_nor_harmed() {
    if !has_users() {
        return;
    }
    let place = Place::new();
    let (socket, precious) = (place.shared("shop.sock"), place.precious());
    let shown = socket.display();
    for (script, words) in [
        (format!("echo mine > {shown}"), "exists and is not a socket"),
        (
            format!("ln -s {} {shown}", precious.display()),
            "exists and is not a socket",
        ),
        (format!("mkdir {shown}"), "exists and is not a socket"),
    ] {
        assert!(place.intrude(&script).status.success(), "{script}");
        place.fails(&["daemon"], words);
        assert_eq!(owner_of(&socket), INTRUDER, "it is left alone");
        assert!(place.is_precious_still());
        assert!(place.intrude(&format!("rm -r {shown}")).status.success());
    }
}

#[test]
fn an_intruder_who_listens_is_told_nothing() {
    if !has_users() {
        return;
    }
    let place = Place::new();
    let release = place.own("release");
    let listener = Listener::on(&place, &place.shared("shop.sock"));
    let deploy = [
        "deploy",
        "--release-path",
        release.to_str().unwrap(),
        "--revision",
        "confidential",
    ];
    let log = place.own("log");
    let in_background = ["ensure-daemon", "--daemon-log-path", log.to_str().unwrap()];
    let whose = format!("it belongs to user {INTRUDER}");
    for command in [
        &deploy[..],
        &["status"],
        &["shutdown"],
        &["events", "--follow"],
        &in_background[..],
    ] {
        place.fails(command, &whose);
    }
    assert_eq!(listener.was_told(), "");
    place.fails(&["daemon"], "a daemon already listens on");
    assert_eq!(
        listener.was_told(),
        "",
        "a daemon only looks whether somebody listens"
    );
}

#[test]
fn an_intruder_cannot_command_a_daemon() {
    if !has_users() {
        return;
    }
    let place = Place::new();
    place.start();
    let socket = place.shared("shop.sock");
    assert_eq!(std::fs::metadata(&socket).unwrap().mode() & 0o022, 0);
    let connect = format!(
        "require('net').connect('{}').on('error', (e) => console.log(e.code))",
        socket.display()
    );
    let output = place.intrude(&format!("node -e \"{connect}\"; rm -f {} 2>&1", socket.display()));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("EACCES"), "{said}");
    assert!(said.contains("Operation not permitted"), "{said}");
    assert!(socket.exists());
}

#[test]
fn nothing_happens_to_a_file_when_a_link_appears_at_the_last_moment() {
    if !has_users() {
        return;
    }
    let place = Place::new();
    let (socket, precious) = (place.shared("shop.sock"), place.precious());
    place.write_config(&serde_json::json!({ "control": { "path": socket, "mode": "666" } }));
    let script = format!(
        "while :; do ln -s {} {shown} 2>/dev/null; rm -f {shown} 2>/dev/null; done",
        precious.display(),
        shown = socket.display()
    );
    let mut intruder = place.keep_intruding(Command::new("/bin/sh").args(["-c", &script]));
    let before = std::fs::metadata(&precious).unwrap().mode();
    for _ in 0..20 {
        let mut daemon = place.rollbridge(&["daemon"]);
        let mut daemon = daemon
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // Either it listens, or it has found the link and ended.
        wait_until("it is decided", || {
            daemon.try_wait().unwrap().is_some() || std::os::unix::net::UnixStream::connect(&socket).is_ok()
        });
        let _ = nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(i32::try_from(daemon.id()).unwrap()),
            nix::sys::signal::Signal::SIGTERM,
        );
        daemon.wait().unwrap();
    }
    intruder.kill().unwrap();
    intruder.wait().unwrap();
    assert!(place.is_precious_still());
    assert_eq!(std::fs::metadata(&precious).unwrap().mode(), before);
}
