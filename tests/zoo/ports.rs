//! Programs that do not listen where or when they should, under the real daemon.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cage::{Mark, PATIENCE};

/// A daemon with one web process.
struct Daemon {
    folder: TempDir,
    config: PathBuf,
    child: Child,
    mark: Mark,
}

impl Daemon {
    fn start(web: Value) -> Daemon {
        let folder = tempfile::tempdir().unwrap();
        let mark = Mark::new();
        let mut web = web;
        web["id"] = "web".into();
        web["policy"] = "proxied".into();
        web["port"] = 0.into();
        web["env"] = json!({ "ZOO_MARK": mark.0 });
        let config = folder.path().join("rollbridge.json");
        let value = json!({
            "application": "zoo",
            "control": { "path": folder.path().join("control.sock") },
            "proxy": { "port": 0, "holdTimeoutMs": 30000 },
            "processes": [web],
        });
        std::fs::write(&config, value.to_string()).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_rollbridge"))
            .args(["daemon", "--config"])
            .arg(&config)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let daemon = Daemon {
            folder,
            config,
            child,
            mark,
        };
        let begun = Instant::now();
        while !daemon.run("status", &[]).status.success() {
            assert!(begun.elapsed() < PATIENCE);
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        daemon
    }

    fn run(&self, command: &str, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_rollbridge"))
            .args([command, "--config"])
            .arg(&self.config)
            .args(arguments)
            .output()
            .unwrap()
    }

    fn deploy(&self) -> Output {
        let path = self.folder.path().display().to_string();
        self.run("deploy", &["--release-path", &path, "--release-id", "v1"])
    }

    fn status(&self) -> Value {
        serde_json::from_slice(&self.run("status", &[]).stdout).unwrap()
    }

    fn shut_down(mut self) {
        assert!(self.run("shutdown", &[]).status.success());
        self.child.wait().unwrap();
        assert_eq!(self.mark.carriers(), Vec::<String>::new());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // After `shut_down` there is nothing left to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn node(listen: &str) -> String {
    format!("exec node -e 'const s = require(\"http\").createServer((q, r) => r.end(\"here\")); {listen}'")
}

const LATE: &str = "setTimeout(() => s.listen(+process.env.ROLLBRIDGE_PORT, \"127.0.0.1\"), 700)";

fn get(status: &Value) -> String {
    let port = u16::try_from(status["proxy"]["port"].as_u64().unwrap()).unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: zoo\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn one_that_binds_its_port_late_is_waited_for() {
    let daemon = Daemon::start(json!({ "command": node(LATE), "health": { "path": "/" } }));
    let deployed = daemon.deploy();
    assert!(deployed.status.success(), "{deployed:?}");
    assert!(get(&daemon.status()).ends_with("here"));
    daemon.shut_down();
}

#[test]
fn without_a_health_check_its_requests_are_held_until_it_listens() {
    let daemon = Daemon::start(json!({ "command": node(LATE), "health": false }));
    let deployed = daemon.deploy();
    assert!(deployed.status.success(), "{deployed:?}");
    let answer = get(&daemon.status());
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let status = daemon.status();
    let web = &status["releases"][0]["processes"][0];
    assert!(web["rssBytes"].as_u64().unwrap() > 1024 * 1024, "{web}");
    assert_eq!(web["children"][0]["pid"], web["pid"]);
    assert!(
        web["children"][0]["command"]
            .as_str()
            .unwrap()
            .starts_with("node -e")
    );
    assert_eq!(
        (&web["memoryRestarts"], &web["lastMemoryRestartAt"]),
        (&json!(0), &Value::Null)
    );
    daemon.shut_down();
}

#[test]
fn one_that_binds_the_wrong_port_is_named_with_the_port_it_should_have_bound() {
    let elsewhere = "s.listen(0, \"127.0.0.1\", () => console.log(\"listening on \" + s.address().port))";
    let health = json!({ "path": "/ping", "timeoutMs": 3000 });
    let daemon = Daemon::start(json!({ "command": node(elsewhere), "health": health }));
    let deployed = daemon.deploy();
    assert!(!deployed.status.success());
    let error =
        String::from_utf8_lossy(&deployed.stderr).into_owned() + &String::from_utf8_lossy(&deployed.stdout);
    let port = daemon.status()["releases"][0]["ports"]["web"].to_string();
    for part in ["phase health", "web is not healthy", &port, "listening on"] {
        assert!(error.contains(part), "no {part:?} in {error}");
    }
    daemon.shut_down();
}
