//! `predeploy-cleanup`: the daemon, its leftovers, and what an older supervisor runs.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::stage::{Daemon, Setup, VERSION_BEFORE, is_alive, pid, program_before, wait_for, wait_until};

fn cleanup(daemon: &Daemon, arguments: &[&str]) -> Value {
    let arguments: Vec<&str> = ["predeploy-cleanup", "--json"]
        .iter()
        .chain(arguments)
        .copied()
        .collect();
    let output = daemon.run(&arguments);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A process of an older supervisor; reaped when it has ended.
struct Older(Child);

impl Older {
    fn start(script: &str, name: &str) -> Older {
        let mut command = Command::new("/bin/sh");
        // A group of its own, so that nothing of it outlives the test.
        command
            .args(["-c", script, name])
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Older(command.spawn().expect("a shell"))
    }

    fn has_ended(&mut self) -> bool {
        self.0.try_wait().expect("it is our child").is_some()
    }
}

impl Drop for Older {
    fn drop(&mut self) {
        let group = Pid::from_raw(i32::try_from(self.0.id()).expect("a pid"));
        // It may have ended already.
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

#[test]
fn a_daemon_that_serves_is_left_alone_with_everything_else() {
    let marker = format!("older-web-{}", std::process::id());
    let daemon = Setup::with_web()
        .set(
            "legacyTakeover",
            json!({ "processes": [{ "includes": [&marker] }] }),
        )
        .start();
    daemon.deploy("v1").succeeds();
    let mut older = Older::start("sleep 1000; true", &marker);
    let done = cleanup(&daemon, &[]);
    assert_eq!(
        done,
        json!({ "action": "daemon-active", "legacyProcesses": [], "recoveredOrphans": [] })
    );
    assert!(!older.has_ended());
    assert_eq!(daemon.get("/").body, "v1");
    let output = daemon.run(&["predeploy-cleanup"]);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "daemon-active: the daemon of shop (active release v1) can be deployed to\n"
    );
}

#[test]
fn a_daemon_that_is_of_no_use_is_ended() {
    let daemon = Setup::with_web().start();
    assert_eq!(cleanup(&daemon, &[])["action"], "daemon-stopped");
    daemon.ends_clean();

    let setup = Setup::with_web();
    let other = setup.spare_port(1);
    let daemon = setup.start();
    daemon.deploy("v1").succeeds();
    daemon.edit_config(|config| config["proxy"]["port"] = other.into());
    let output = daemon.run(&["predeploy-cleanup"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.starts_with("daemon-stopped: the daemon of shop (active release v1) had its proxy on"),
        "{said}"
    );
    daemon.ends_clean();
}

#[test]
fn the_version_that_the_release_carries_counts() {
    let daemon = Setup::with_web().start();
    daemon.deploy("v1").succeeds();
    let release = daemon.release_folder("v2");
    let package = release.join("node_modules/rollbridge");
    std::fs::create_dir_all(&package).expect("the folder is ours");
    let carry = |version: &str| {
        let manifest = format!("{{\n  \"name\": \"rollbridge\",\n  \"version\": \"{version}\"\n}}\n");
        std::fs::write(package.join("package.json"), manifest).expect("the folder is ours");
    };
    let path = release.display().to_string();
    carry(env!("CARGO_PKG_VERSION"));
    assert_eq!(
        cleanup(&daemon, &["--release-path", &path])["action"],
        "daemon-active"
    );
    carry("99.0.0");
    // This program is not that version, so it cannot replace the daemon by it.
    assert_eq!(
        cleanup(&daemon, &["--release-path", &path])["action"],
        "daemon-stopped"
    );
    daemon.ends_clean();
}

#[test]
fn a_daemon_of_another_version_is_upgraded_in_place() {
    let daemon = Setup::with_web().started_by(program_before()).start();
    daemon.deploy("v1").succeeds();
    assert_eq!(daemon.status()["version"], VERSION_BEFORE);
    let web = pid(&daemon.process("v1", "web"));
    let release = daemon.release_folder("v2");
    let package = release.join("node_modules/rollbridge");
    std::fs::create_dir_all(&package).expect("the folder is ours");
    let version = env!("CARGO_PKG_VERSION");
    let manifest = json!({ "name": "rollbridge", "version": version }).to_string();
    std::fs::write(package.join("package.json"), manifest).expect("the folder is ours");
    let done = cleanup(&daemon, &["--release-path", &release.display().to_string()]);
    assert_eq!(done["action"], "daemon-upgraded");
    assert_eq!(daemon.status()["version"], version);
    assert_eq!(pid(&daemon.process("v1", "web")), web, "it goes on");
    assert_eq!(daemon.get("/").body, "v1");
}

#[test]
fn somebody_else_on_the_socket_is_refused() {
    let daemon = Setup::with_web().start();
    daemon.edit_config(|config| config["application"] = "bakery".into());
    let output = daemon.run(&["predeploy-cleanup", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        stderr(&output).contains("the daemon of shop (no active release) listens on"),
        "{output:?}"
    );
    let error: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(error["code"], "foreign_daemon");
    daemon.status();
}

#[test]
fn what_a_crash_and_an_older_supervisor_left_is_stopped() {
    let marker = format!("older-app-{}", std::process::id());
    let daemon = Setup::with_web()
        .set("statePath", "tmp/state.json")
        .set(
            "legacyTakeover",
            json!({
                "processes": [{ "name": "older web", "includes": [&marker, "port 8082"] }],
                "forceStopTimeoutMs": 200,
            }),
        )
        .start();
    daemon.deploy("v1").succeeds();
    let web = crate::stage::pid(&daemon.process("v1", "web"));
    wait_until("the state is on disk", || {
        let state = std::fs::read_to_string(daemon.own_folder().join("state.json")).unwrap_or_default();
        state.contains("deploy finished") && state.contains(&format!("\"pid\":{web},"))
    });
    daemon.crash();
    // One part of the words is not enough; a child that does not hear SIGTERM goes with its parent all the same.
    let mut another = Older::start("sleep 1000; true", &format!("{marker} port 8083"));
    let mut older = Older::start(
        "sh -c 'trap \"\" TERM; sleep 1000; true' child & wait",
        &format!("{marker} port 8082"),
    );
    let child = wait_for("the child of the older process", || {
        let path = format!("/proc/{0}/task/{0}/children", older.0.id());
        let children = std::fs::read_to_string(path).ok()?;
        children.split_whitespace().next()?.parse::<i32>().ok()
    });
    let done = cleanup(&daemon, &[]);
    assert_eq!(done["action"], "no-daemon-cleaned");
    assert_eq!(
        done["recoveredOrphans"],
        json!([{ "id": "web", "pid": web, "releaseId": "v1" }])
    );
    let legacy = done["legacyProcesses"].as_array().expect("a list");
    assert!(
        legacy.contains(&json!({ "name": "older web", "pid": older.0.id() })),
        "{done:#}"
    );
    assert!(
        legacy.contains(&json!({ "name": "older web", "pid": child })),
        "{done:#}"
    );
    assert!(!is_alive(web) && !is_alive(child));
    wait_until("the older process is gone", || older.has_ended());
    assert!(!another.has_ended());
    // There is nothing left to do.
    assert_eq!(
        cleanup(&daemon, &[]),
        json!({ "action": "no-daemon-cleaned", "legacyProcesses": [], "recoveredOrphans": [] })
    );
}

#[test]
fn screen_sessions_of_exactly_the_name_are_ended() {
    if Command::new("screen").arg("--version").output().is_err() {
        assert!(
            std::env::var_os("ROLLBRIDGE_REQUIRE_ALL").is_none(),
            "install screen"
        );
        return;
    }
    let name = format!("rollbridge-test-{}", std::process::id());
    let longer = format!("{name}-other");
    let setup = Setup::with_web();
    let screens = setup.folder().join("screens");
    let daemon = setup.set("legacyTakeover", json!({ "screens": [&name] })).start();
    daemon.ask(json!({ "command": "shutdown" })).succeeds();
    std::fs::create_dir(&screens).expect("the folder is ours");
    std::fs::set_permissions(&screens, std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .expect("it is ours");
    let screen = |arguments: &[&str]| {
        let output = Command::new("screen")
            .args(arguments)
            .env("SCREENDIR", &screens)
            .output();
        String::from_utf8_lossy(&output.expect("it runs").stdout).into_owned()
    };
    let pid_file = daemon.folder().join("app.pid");
    let app = format!("echo $$ > {}; exec sleep 1000", pid_file.display());
    screen(&["-dmS", &name, "sh", "-c", &app]);
    screen(&["-dmS", &longer, "sleep", "1000"]);
    wait_until("both sessions run", || {
        let list = screen(&["-ls"]);
        list.contains(&format!(".{name}\t")) && list.contains(&longer)
    });
    let app = wait_for("the application in the screen", || {
        std::fs::read_to_string(&pid_file)
            .ok()?
            .trim()
            .parse::<i32>()
            .ok()
    });
    let mut command = daemon.command(&["predeploy-cleanup", "--json"]);
    let output = command.env("SCREENDIR", &screens).output().expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let done: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let legacy = done["legacyProcesses"].as_array().expect("a list");
    assert!(
        legacy.contains(&json!({ "name": format!("screen {name}"), "pid": app })),
        "{done:#}"
    );
    assert!(!is_alive(app));
    let list = screen(&["-ls"]);
    assert!(
        !list.contains(&format!(".{name}\t")) && list.contains(&longer),
        "{list}"
    );
    screen(&["-S", &longer, "-X", "quit"]);
}

#[test]
fn who_calls_it_is_never_stopped() {
    let marker = format!("deploy-script-{}", std::process::id());
    let daemon = Setup::with_web()
        .set(
            "legacyTakeover",
            json!({ "processes": [{ "includes": [&marker] }] }),
        )
        .start();
    daemon.ask(json!({ "command": "shutdown" })).succeeds();
    // The marker stands in the command line of the shell that calls, and in the command's own.
    let output = Command::new("/bin/sh")
        .args([
            "-c",
            "\"$1\" predeploy-cleanup --config \"$2\"; echo still here",
            &marker,
        ])
        .args([
            env!("CARGO_BIN_EXE_rollbridge"),
            &daemon.config().display().to_string(),
        ])
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(
        said, "no-daemon-cleaned: no daemon runs\nstill here\n",
        "{output:?}"
    );
}
