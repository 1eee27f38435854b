//! `doctor`: whether a daemon could start, or a release could be deployed.

use std::process::Output;

use serde_json::{Value, json};

use crate::stage::{Daemon, Process, Setup, rollbridge, wait_until};

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn checks(daemon: &Daemon, arguments: &[&str]) -> (Option<i32>, Value) {
    let arguments: Vec<&str> = ["doctor", "--json"].iter().chain(arguments).copied().collect();
    let output = daemon.run(&arguments);
    let value = serde_json::from_str(&text(&output)).expect("JSON");
    (output.status.code(), value)
}

fn check<'a>(report: &'a Value, name: &str) -> &'a Value {
    let checks = report["checks"].as_array().expect("a list");
    let found = checks.iter().find(|check| check["name"] == name);
    found.unwrap_or_else(|| panic!("{name} in {report:#}"))
}

#[test]
fn a_machine_that_is_ready_passes() {
    let setup = Setup::with_web();
    let port = setup.spare_port(0);
    let daemon = setup.proxy("port", port).start();
    daemon.ask(json!({ "command": "shutdown" })).succeeds();
    daemon.end();
    let output = daemon.run(&["doctor"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let socket = daemon.socket();
    let folder = daemon.own_folder();
    assert_eq!(
        text(&output),
        format!(
            "✓ config: valid: 1 process, proxy on 127.0.0.1:{port}\n\
             ✓ control socket: no daemon running; {} is free to bind\n\
             ✓ control socket directory: {} is writable\n\
             ✓ proxy port: 127.0.0.1:{port} is available\n\n\
             All checks passed.\n",
            socket.display(),
            folder.display()
        )
    );
    let (code, report) = checks(&daemon, &[]);
    assert_eq!((code, &report["ok"]), (Some(0), &true.into()));
    for name in ["open files", "node"] {
        assert_eq!(check(&report, name)["ok"], true, "{report:#}");
    }
}

#[test]
fn a_daemon_that_runs_is_in_the_way_of_another_but_not_of_a_release() {
    let setup = Setup::with_web();
    let port = setup.spare_port(0);
    let daemon = setup.proxy("port", port).start();
    daemon.deploy("v1").succeeds();
    let output = daemon.run(&["doctor"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = text(&output);
    assert!(
        said.contains("✗ control socket: the daemon of shop (active release v1) already listens on"),
        "{said}"
    );
    assert!(said.contains("✗ proxy port: cannot listen on"), "{said}");
    assert!(said.contains("; the running daemon has it"), "{said}");
    assert!(said.ends_with("2 checks failed.\n"), "{said}");

    let folder = daemon.release_folder("v2");
    let (code, report) = checks(&daemon, &["--release-path", &folder.display().to_string()]);
    assert_eq!((code, &report["ok"]), (Some(0), &true.into()), "{report:#}");
    for name in ["release path", "templates", "working directories"] {
        assert_eq!(check(&report, name)["ok"], true, "{report:#}");
    }

    daemon.edit_config(|config| config["proxy"]["port"] = json!(1));
    let (code, report) = checks(&daemon, &["--release-path", &folder.display().to_string()]);
    assert_eq!(code, Some(1));
    let detail = check(&report, "control socket")["detail"]
        .as_str()
        .expect("a text")
        .to_owned();
    assert!(
        detail.contains(&format!("its proxy is on 127.0.0.1:{port}")),
        "{detail}"
    );
}

#[test]
fn a_release_is_looked_at_before_it_is_deployed() {
    let daemon = Setup::with_web()
        .process(Process::companion("worker").set("cwd", "backend"))
        .process(Process::companion("secret").env("KEY", "{{env.NO_SUCH_VARIABLE}}"))
        .start();
    let (code, report) = checks(
        &daemon,
        &[
            "--release-path",
            "/no/such/release",
            "--release-id",
            "v1",
            "--revision",
            "abc",
        ],
    );
    assert_eq!(code, Some(1));
    assert_eq!(
        check(&report, "release path")["detail"],
        "/no/such/release: No such file or directory; prepare the release before it is deployed"
    );
    let folder = daemon.release_folder("v1");
    let (_, report) = checks(&daemon, &["--release-path", &folder.display().to_string()]);
    assert_eq!(
        check(&report, "templates")["detail"],
        "{{env.NO_SUCH_VARIABLE}} has no value in env.KEY of process \"secret\""
    );
    let detail = check(&report, "working directories")["detail"]
        .as_str()
        .expect("a text");
    assert!(
        detail.contains("/v1/backend of worker: No such file or directory; correct cwd"),
        "{detail}"
    );
    // Without a release there is nothing these could belong to.
    let output = daemon.run(&["doctor", "--release-id", "v1"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn a_bad_config_is_all_there_is_to_say() {
    let daemon = Setup::with_web().start();
    daemon.edit_config(|config| config["processes"] = json!([]));
    let (code, report) = checks(&daemon, &[]);
    assert_eq!(code, Some(1));
    assert_eq!(report["checks"].as_array().map(Vec::len), Some(1));
    let detail = check(&report, "config")["detail"].as_str().expect("a text");
    assert!(
        detail.contains("Config must define exactly one proxied process; found 0"),
        "{detail}"
    );
    std::fs::remove_file(daemon.config()).expect("it is ours");
    let (code, report) = checks(&daemon, &[]);
    assert_eq!((code, &check(&report, "config")["ok"]), (Some(1), &false.into()));
}

#[test]
fn strangers_and_leftovers_are_named() {
    let daemon = Setup::with_web().set("statePath", "tmp/state.json").start();
    daemon.deploy("v1").succeeds();
    wait_until("the state is on disk", || {
        let state = std::fs::read_to_string(daemon.own_folder().join("state.json"));
        state.is_ok_and(|text| text.contains("deploy finished"))
    });
    daemon.crash();
    let (code, report) = checks(&daemon, &[]);
    assert_eq!(code, Some(1), "{report:#}");
    let detail = |name: &str| {
        check(&report, name)["detail"]
            .as_str()
            .expect("a text")
            .to_owned()
    };
    assert_eq!(
        detail("orphans"),
        "1 left over of an earlier daemon; rollbridge recover lists them, and with --force stops them"
    );
    assert!(detail("control socket").ends_with("is a leftover and will be replaced"));
    assert!(detail("state path").ends_with("is writable"));
    let said = text(&daemon.run(&["doctor"]));
    assert!(said.contains("✗ orphans: 1 left over"), "{said}");

    std::fs::remove_file(daemon.socket()).expect("it is ours");
    let stranger = std::os::unix::net::UnixListener::bind(daemon.socket()).expect("the path is free");
    let answering = std::thread::spawn(move || drop(stranger.accept()));
    let (_, report) = checks(&daemon, &[]);
    assert_eq!(check(&report, "control socket")["ok"], false, "{report:#}");
    answering.join().expect("it only accepts");
    std::fs::remove_file(daemon.socket()).expect("it is ours");
    std::fs::write(daemon.socket(), "").expect("the folder is ours");
    let (_, report) = checks(&daemon, &[]);
    let detail = check(&report, "control socket")["detail"]
        .as_str()
        .expect("a text");
    assert!(detail.contains("exists and is not a socket"), "{detail}");
}

#[test]
fn without_a_config_there_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = rollbridge()
        .arg("doctor")
        .current_dir(folder.path())
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty(), "{output:?}");
}
