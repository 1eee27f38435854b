//! `ensure-daemon` and `deploy --ensure-daemon`: a daemon that is on its own, and started once.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use nix::unistd::{Pid, getsid};
use serde_json::{Value, json};

use crate::stage::{Detached, Process, Setup, can_mount, is_alive, wait_for, wait_until};

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn fails(output: &Output, status: i32, parts: &[&str]) {
    assert_eq!(output.status.code(), Some(status), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    for part in parts {
        assert!(stderr(output).contains(part), "{part:?} in {}", stderr(output));
    }
}

/// Makes a release folder of this name.
fn release(place: &Detached, id: &str) -> String {
    let folder = place.folder().join("releases").join(id);
    std::fs::create_dir_all(&folder).expect("the folder is ours");
    folder.display().to_string()
}

fn deploy(place: &Detached, id: &str) {
    let request = json!({ "command": "deploy", "releasePath": release(place, id), "releaseId": id });
    place.ask(request).succeeds();
}

/// The engine below the daemon of this pid.
fn engine(place: &Detached) -> i32 {
    let pid = place.status()["engine"]["pid"].as_i64().expect("a pid");
    i32::try_from(pid).expect("a pid")
}

#[test]
fn the_daemon_is_on_its_own_and_is_found_again() {
    let place = Setup::with_web().detached();
    let status = place.ensure();
    assert_eq!(status["application"], "shop");
    assert_eq!(status["activeReleaseId"], Value::Null);
    let pid = place.pid().expect("it told its pid");
    assert_eq!(
        getsid(Some(Pid::from_raw(pid))),
        Ok(Pid::from_raw(pid)),
        "a session of its own"
    );
    let link = |name: &str| std::fs::read_link(format!("/proc/{pid}/{name}")).expect("it lives");
    assert_eq!(link("fd/0"), Path::new("/dev/null"));
    assert_eq!(link("fd/1"), place.log_path());
    assert_eq!(link("fd/2"), place.log_path());
    assert_eq!(link("cwd"), Path::new("/"));
    for file in [place.log_path(), place.pid_path()] {
        let mode = std::fs::metadata(file).expect("it is there").mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    wait_until("its log goes there", || {
        place.log().contains("control socket listening")
    });

    let runtime = &status["daemonRuntime"];
    assert_eq!(runtime["format"], 1);
    assert_eq!(runtime["version"], env!("CARGO_PKG_VERSION"));
    let path = Path::new(runtime["path"].as_str().expect("a path"));
    let real = std::fs::canonicalize(place.runtime_path()).expect("it was made");
    assert!(path.starts_with(&real), "{path:?}");
    assert_eq!(link("exe"), path);
    let sum = Command::new("sha256sum").arg(path).output().expect("it is there");
    let digest = runtime["digest"]
        .as_str()
        .and_then(|digest| digest.strip_prefix("sha256:"));
    assert!(String::from_utf8_lossy(&sum.stdout).starts_with(digest.expect("a digest")));

    deploy(&place, "v1");
    let again = place.ensure();
    assert_eq!(again["activeReleaseId"], "v1");
    assert_eq!(again["engine"]["pid"], status["engine"]["pid"]);

    place.ask(json!({ "command": "shutdown" })).succeeds();
    wait_until("it is gone", || place.living().is_empty());
    assert!(!place.pid_path().exists() && !place.socket().exists());
    assert!(place.log().contains("shutdown finished"));
}

#[test]
fn however_many_want_it_one_is_started() {
    let place = Setup::with_idle_web().detached();
    for _ in 0..3 {
        let starting: Vec<_> = (0..6)
            .map(|_| {
                let mut command = place.ensuring();
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
                command.spawn().expect("it is run")
            })
            .collect();
        let engines: Vec<Value> = starting
            .into_iter()
            .map(|child| {
                let output = child.wait_with_output().expect("it ends");
                assert_eq!(output.status.code(), Some(0), "{output:?}");
                let status: Value = serde_json::from_slice(&output.stdout).expect("JSON");
                status["engine"]["pid"].clone()
            })
            .collect();
        assert!(engines.iter().all(|pid| *pid == engines[0]), "{engines:?}");
        // The keeper and its engine, and nobody else.
        assert_eq!(place.living().len(), 2, "{engines:?}");
        place.ask(json!({ "command": "shutdown" })).succeeds();
        wait_until("it is gone", || place.living().is_empty());
    }
}

#[test]
fn one_that_shuts_down_is_waited_for() {
    let patient = Process::companion("worker")
        .running(
            "trap 'while [ ! -e ../gate ]; do sleep 0.01; done; exit' TERM; : > ../ready; \
             while :; do sleep 0.01; done",
        )
        .set("gracefulStopMs", "indefinite");
    let place = Setup::with_idle_web().process(patient).detached();
    place.ensure();
    let first = place.pid().expect("a pid");
    deploy(&place, "v1");
    wait_until("its worker has patience", || {
        place.folder().join("releases/ready").exists()
    });
    let mut leaving = crate::stage::Client::connect(&place.socket());
    leaving.send(json!({ "command": "shutdown" }));
    wait_until("it takes no clients", || {
        std::os::unix::net::UnixStream::connect(place.socket()).is_err()
    });
    let mut command = place.ensuring();
    command.arg("--daemon-start-timeout-ms=20000");
    let waiting = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut waiting = waiting.expect("it is run");
    let mut said = String::new();
    let mut lines = BufReader::new(waiting.stderr.take().expect("a pipe"));
    lines.read_line(&mut said).expect("it says what it waits for");
    assert_eq!(said, "waiting for the daemon that is shutting down\n");
    assert!(is_alive(first));
    std::fs::write(place.folder().join("releases/gate"), "").expect("the folder is ours");
    let output = waiting.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    leaving.answer().succeeds();
    let second = place.pid().expect("a pid");
    assert_ne!(first, second);
    wait_until("the first is gone", || !is_alive(first));
    assert_eq!(place.pid(), Some(second), "the file is the second one's");
    assert_eq!(place.status()["activeReleaseId"], Value::Null);
}

/// Answers every request on a control socket with this.
fn answering(place: &Detached, answer: &'static str) {
    let listener = UnixListener::bind(place.socket()).expect("a socket");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a client");
            let mut lines = BufReader::new(stream.try_clone().expect("a handle"));
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|count| count > 0) {
                // One that has read enough leaves.
                let _ = writeln!(stream, "{answer}");
            }
        }
    });
}

#[test]
fn one_of_another_version_is_used_with_a_warning() {
    let place = Setup::with_idle_web().detached();
    answering(
        &place,
        r#"{"status":"success","application":"shop","version":"0.0.1","activeReleaseId":"v1","proxy":{"host":"127.0.0.1","port":1}}"#,
    );
    let output = place.ensuring().output().expect("it is run");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let said = stderr(&output);
    assert!(
        said.starts_with("warning: the daemon runs version 0.0.1") && said.contains("rollbridge upgrade"),
        "{said}"
    );
    assert!(place.living().is_empty(), "nothing was started");
}

#[test]
fn whoever_else_listens_is_named_and_left_alone() {
    for (answer, part) in [
        (
            r#"{"status":"success","application":"bank","version":"0.0.1","activeReleaseId":"v1","proxy":{"host":"127.0.0.1","port":1}}"#,
            "the daemon of bank (active release v1) listens on",
        ),
        (
            r#"{"status":"success","hello":"world"}"#,
            "does not answer as a daemon does",
        ),
        ("HTTP/1.1 400 Bad Request", "does not speak the control protocol"),
    ] {
        let place = Setup::with_idle_web().detached();
        answering(&place, answer);
        let output = place.ensuring().output().expect("it is run");
        fails(&output, 1, &[part, "set another control.path"]);
        assert!(place.living().is_empty(), "nothing was started");
        let output = place.ensuring().arg("--json").output().expect("it is run");
        let error: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(error["code"], "foreign_daemon");
    }
}

#[test]
fn one_that_dies_too_early_leaves_its_last_words() {
    let setup = Setup::with_idle_web();
    let port = setup.spare_port(0);
    let place = setup.proxy("port", port).detached();
    std::fs::create_dir_all(place.folder().join("log")).expect("the folder is ours");
    std::fs::write(place.log_path(), "words of an earlier one\n").expect("the folder is ours");
    let _taken = std::net::TcpListener::bind(("127.0.0.1", port)).expect("it is free");
    let output = place.ensuring().output().expect("it is run");
    let end = format!("the end of {}:", place.log_path().display());
    fails(
        &output,
        3,
        &[
            "the daemon exited with code 1 before it was ready",
            &end,
            "  rollbridge: cannot listen on 127.0.0.1",
        ],
    );
    assert!(!stderr(&output).contains("earlier one"), "{}", stderr(&output));
    assert!(place.log().starts_with("words of an earlier one\n"));
    assert!(place.living().is_empty());
    assert!(!place.pid_path().exists());
}

#[test]
fn one_that_takes_too_long_is_ended() {
    let place = Setup::with_idle_web().detached();
    // Evaluated at once for whoever asks first, and hardly ever for the daemon.
    let module = r#"
import {existsSync, readFileSync, writeFileSync} from "node:fs"
if (existsSync("asked")) await new Promise((resolve) => setTimeout(resolve, 1e6))
writeFileSync("asked", "")
export default JSON.parse(readFileSync("rollbridge.json", "utf8"))
"#;
    std::fs::write(place.folder().join("slow.mjs"), module).expect("the folder is ours");
    let mut command = place.ensuring();
    command.arg("--daemon-start-timeout-ms=700");
    let words = command
        .get_args()
        .map(|word| match word == place.config().as_os_str() {
            true => place.folder().join("slow.mjs").into_os_string(),
            false => word.to_owned(),
        });
    let words: Vec<_> = words.collect();
    let mut slow = crate::stage::rollbridge();
    slow.args(words).env("DAEMON_TEST_FOLDER", place.folder());
    let output = slow.output().expect("it is run");
    fails(
        &output,
        3,
        &[
            "did not answer within 700 ms and was ended",
            "--daemon-start-timeout-ms",
        ],
    );
    wait_until("nothing of it is left", || place.living().is_empty());
}

#[test]
fn what_started_it_may_be_deleted() {
    let place = Setup::with_web().detached();
    let old = release(&place, "v1");
    let modules = Path::new(&old).join("node_modules/rollbridge/bin");
    std::fs::create_dir_all(&modules).expect("the folder is ours");
    let program = modules.join("rollbridge");
    crate::stage::copy_program(env!("CARGO_BIN_EXE_rollbridge"), &program);
    let words = [
        "deploy",
        "--ensure-daemon",
        "--release-path",
        ".",
        "--release-id",
        "v1",
    ];
    let mut command = place.command_of(Command::new(&program), &words);
    let output = command
        .args(place.places())
        .current_dir(&old)
        .output()
        .expect("it is run");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(answer["activeReleaseId"], "v1");

    deploy(&place, "v2");
    wait_until("nothing of v1 runs any more", || {
        place.status()["releases"][0]["state"] == "stopped"
    });
    std::fs::remove_dir_all(&old).expect("the folder is ours");
    for id in ["v3", "v4"] {
        let before = engine(&place);
        crate::stage::send(before, nix::sys::signal::Signal::SIGKILL);
        wait_until("another engine answers", || engine(&place) != before);
        deploy(&place, id);
        assert_eq!(place.status()["activeReleaseId"], id);
    }
    // Even its own copy is only needed to be started once.
    std::fs::remove_dir_all(place.runtime_path()).expect("the folder is ours");
    let before = engine(&place);
    crate::stage::send(before, nix::sys::signal::Signal::SIGKILL);
    wait_for("another engine answers", || {
        (engine(&place) != before).then_some(())
    });
    deploy(&place, "v5");
    assert_eq!(place.ensure()["activeReleaseId"], "v5");
}

#[test]
fn a_folder_that_programs_cannot_be_started_from_is_named() {
    if !can_mount() {
        return;
    }
    let place = Setup::with_idle_web().detached();
    let runtime = place.runtime_path();
    std::fs::create_dir(&runtime).expect("the folder is ours");
    let script = "mount -t tmpfs -o noexec,mode=700 none \"$1\" && shift && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(&runtime);
    let ensuring = place.ensuring();
    command.arg(ensuring.get_program()).args(ensuring.get_args());
    let output = command.output().expect("it is run");
    fails(&output, 1, &["is mounted noexec", "--daemon-runtime-path"]);
    assert!(place.living().is_empty());
}

#[test]
fn options_of_a_start_need_to_be_asked_for() {
    let place = Setup::with_idle_web().detached();
    let output = place
        .command(&["deploy", "--release-path", "/", "--daemon-log-path", "x"])
        .output();
    let output = output.expect("it is run");
    fails(&output, 2, &["--ensure-daemon"]);
}

#[test]
fn an_upgrade_takes_a_copy_of_its_own_too() {
    let place = Setup::with_web().detached();
    let older = place.folder().join("older");
    let mut program = std::fs::read(env!("CARGO_BIN_EXE_rollbridge")).expect("it is there");
    // What stands behind its end matters to nobody but its digest.
    program.extend_from_slice(b"older");
    std::fs::write(&older, program).expect("the folder is ours");
    std::fs::set_permissions(&older, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
    let mut ensuring = place.command_of(Command::new(&older), &["ensure-daemon"]);
    ensuring.args(["--daemon-log-path".into(), place.log_path()]);
    ensuring.args(["--daemon-pid-path".into(), place.pid_path()]);
    ensuring.args(["--daemon-runtime-path".into(), place.runtime_path()]);
    assert!(ensuring.output().expect("it is run").status.success());
    let before = place.status()["daemonRuntime"].clone();
    deploy(&place, "v1");
    std::fs::remove_file(&older).expect("it is ours");

    let upgraded = place.command(&["upgrade"]).output().expect("it is run");
    assert!(upgraded.status.success(), "{upgraded:?}");
    let after = place.status()["daemonRuntime"].clone();
    assert_ne!(after["digest"], before["digest"]);
    let path = Path::new(after["path"].as_str().expect("a path"));
    let real = std::fs::canonicalize(place.runtime_path()).expect("it was made");
    assert!(path.starts_with(real) && path.exists(), "{after}");
    assert_eq!(place.status()["activeReleaseId"], "v1");
    let output = std::fs::read_link(format!("/proc/{}/fd/1", engine(&place))).expect("it lives");
    assert_eq!(output, place.log_path(), "the log goes where it went");
    wait_until("and tells of it", || place.log().contains("daemon upgraded"));
}
