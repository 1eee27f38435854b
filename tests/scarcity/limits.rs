//! Limits of a running process, and the daemon they are put on.

use std::process::Command;

use serde_json::{Value, json};

use crate::place::{Place, VICTIM, wait_until};

/// Lowers a soft limit of a running process of the victim's: `NOFILE`, `NPROC` or `AS`.
pub fn limit(place: &Place, pid: u64, what: &str, value: &str) {
    prlimit(
        place,
        &[
            &format!("--pid={pid}"),
            &format!("--{}={value}:", what.to_lowercase()),
        ],
    );
}

/// Raises it to what it may be.
pub fn lift(place: &Place, pid: u64, what: &str) {
    let hard = prlimit(
        place,
        &[
            &format!("--pid={pid}"),
            "--output=RESOURCE,HARD",
            "--noheadings",
            "--raw",
        ],
    );
    let most = hard.lines().find_map(|line| line.strip_prefix(what)).unwrap();
    limit(place, pid, what, most.trim());
}

fn prlimit(place: &Place, arguments: &[&str]) -> String {
    let output = place
        .as_user(VICTIM, Command::new("prlimit").args(arguments))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A daemon with a web process and a worker, after its first deploy.
pub fn serving() -> Place {
    let place = Place::new();
    let web = json!({
        "id": "web", "policy": "proxied",
        "command": "exec node -e \"require('http').createServer((q, r) => r.end('ok')).listen(process.env.ROLLBRIDGE_PORT, '127.0.0.1')\"",
        "port": place.ports(), "health": { "path": "/" },
    });
    let worker =
        json!({ "id": "worker", "policy": "companion", "command": "exec sleep 1000", "restartDelayMs": 50 });
    place.write_config(&json!({ "processes": [web, worker] }));
    place.start();
    deploy(&place, "v1").unwrap();
    place
}

pub fn deploy(place: &Place, id: &str) -> Result<(), String> {
    let path = place.own("release");
    let arguments = [
        "deploy",
        "--release-path",
        path.to_str().unwrap(),
        "--release-id",
        id,
    ];
    let output = place.rollbridge(&arguments).output().unwrap();
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

pub fn status(place: &Place) -> Option<Value> {
    let output = place.rollbridge(&["status"]).output().unwrap();
    serde_json::from_slice(&output.stdout).ok()
}

/// The worker of the active release.
pub fn worker(place: &Place) -> Value {
    let status = status(place).unwrap();
    let releases = status["releases"].as_array().unwrap();
    let active = releases
        .iter()
        .find(|release| release["state"] == "active")
        .unwrap();
    let processes = active["processes"].as_array().unwrap();
    processes
        .iter()
        .find(|process| process["id"] == "worker")
        .unwrap()
        .clone()
}

pub fn engine(place: &Place) -> u64 {
    status(place).unwrap()["engine"]["pid"].as_u64().unwrap()
}

pub fn kill(pid: u64) {
    assert!(
        Command::new("kill")
            .args(["-9", &pid.to_string()])
            .status()
            .unwrap()
            .success()
    );
}

/// Whether the application answers through the proxy.
pub fn answers(place: &Place) -> bool {
    let port = status(place).unwrap()["proxy"]["port"].clone();
    let get = format!(
        "http.get('http://127.0.0.1:{port}/', {{agent: false}}, (r) => process.exit(r.statusCode === 200 ? 0 : 1))"
    );
    Command::new("node")
        .args(["-e", &get])
        .output()
        .unwrap()
        .status
        .success()
}

pub fn recovers(place: &Place) {
    wait_until("the worker runs again", || worker(place)["state"] == "running");
    assert!(answers(place));
    deploy(place, "after").unwrap();
    assert!(answers(place));
}
