//! The control socket as a client meets it, byte by byte.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{Process, Setup, wait_until};

fn status() -> Value {
    json!({ "command": "status" })
}

#[test]
fn nonsense_is_answered_and_the_connection_stays() {
    let daemon = Setup::with_idle_web().start();
    let mut client = daemon.client();
    let table = [
        ("{", "invalid_request"),
        ("nonsense", "invalid_request"),
        ("\"status\"", "invalid_request"),
        ("[1,2]", "invalid_request"),
        ("{}", "invalid_request"),
        (r#"{"command":7}"#, "invalid_request"),
        (r#"{"command":"dance"}"#, "unknown_command"),
        (r#"{"command":"deploy"}"#, "invalid_request"),
        (
            r#"{"command":"deploy","releasePath":["/srv"]}"#,
            "invalid_request",
        ),
        (
            r#"{"command":"deploy","releasePath":"/srv","wait":"yes"}"#,
            "invalid_request",
        ),
        (
            r#"{"command":"deploy","releasePath":"/srv","releaseId":"a b"}"#,
            "invalid_request",
        ),
        (r#"{"command":"stop","releaseId":1}"#, "invalid_request"),
        (r#"{"command":"events","limit":"all"}"#, "invalid_request"),
        (r#"{"command":"events","since":-1}"#, "invalid_request"),
    ];
    for (line, code) in table {
        let error = client.send_bytes(format!("{line}\n")).answer().fails_with(code);
        assert!(
            error["error"].as_str().is_some_and(|text| !text.is_empty()),
            "{line}"
        );
    }
    client
        .send_bytes(b"\xff\xfe\n")
        .answer()
        .fails_with("invalid_request");
    client.ask(status()).succeeds();
    assert_eq!(daemon.events_of("command failed").len(), table.len() + 1);
}

#[test]
fn requests_are_answered_in_order() {
    let daemon = Setup::with_web().start();
    let mut client = daemon.client();
    let deploy = daemon.deploy_request("v1");
    let lines = format!(
        "{}\n\n{deploy}\n{}\r\nnonsense\n{}\n",
        status(),
        status(),
        status()
    );
    client.send_bytes(lines);
    assert_eq!(client.answer().succeeds()["activeReleaseId"], Value::Null);
    assert_eq!(client.answer().succeeds()["previousReleaseId"], Value::Null);
    assert_eq!(client.answer().succeeds()["activeReleaseId"], "v1");
    client.answer().fails_with("invalid_request");
    assert_eq!(client.answer().succeeds()["activeReleaseId"], "v1");
}

#[test]
fn a_request_may_come_in_pieces() {
    let daemon = Setup::with_idle_web().start();
    let mut client = daemon.client();
    for byte in format!("{}\n", status()).bytes() {
        client.send_bytes([byte]);
    }
    client.answer().succeeds();
}

#[test]
fn a_line_too_long_is_the_last() {
    let daemon = Setup::with_idle_web().start();
    let mut client = daemon.client();
    let padding = " ".repeat(1024 * 1024 - status().to_string().len());
    client
        .send_bytes(format!("{padding}{}\n", status()))
        .answer()
        .succeeds();
    let mut client = daemon.client();
    client.send_bytes("x".repeat(1024 * 1024 + 1));
    let error = client.answer().fails_with("invalid_request");
    assert!(error["error"].to_string().contains("1048576 bytes"), "{error}");
    assert_eq!(client.next_line(), None);
    daemon.ask(status()).succeeds();
}

#[test]
fn who_only_stops_sending_still_gets_an_answer() {
    let daemon = Setup::with_web().start();
    let mut client = daemon.client();
    client.send(daemon.deploy_request("v1")).half_close();
    client.answer().succeeds();
    assert_eq!(client.next_line(), None);
    // Even without a line end.
    let mut client = daemon.client();
    client.send_bytes(status().to_string()).half_close();
    client.answer().succeeds();
}

#[test]
fn progress_tells_each_phase() {
    let daemon = Setup::with_web().process(Process::companion("worker")).start();
    let mut request = daemon.deploy_request("v1");
    request["progress"] = true.into();
    let mut client = daemon.client();
    let (answer, lines) = client.send(request).answer_with_progress();
    answer.succeeds();
    let mut phases: Vec<&str> = lines
        .iter()
        .map(|line| line["phase"].as_str().expect("a phase"))
        .collect();
    phases.dedup();
    assert_eq!(
        phases,
        ["config", "ports", "companions", "proxied", "health", "switch"]
    );
    let known: BTreeSet<&str> = ["status", "at", "phase", "processId", "message", "data"].into();
    for line in &lines {
        assert_eq!(line["status"], "progress");
        assert!(line["at"].is_string() && line["message"].is_string(), "{line}");
        let object = line.as_object().expect("an object");
        assert!(object.keys().all(|key| known.contains(key.as_str())), "{line}");
    }
    let of = |phase: &str| {
        lines
            .iter()
            .find(|line| line["phase"] == phase)
            .expect("the phase is told")
    };
    assert_eq!(of("companions")["processId"], "worker");
    assert_eq!(
        of("companions")["data"]["pid"],
        daemon.process("v1", "worker")["pid"]
    );
    assert_eq!(of("proxied")["data"]["port"], daemon.process("v1", "web")["port"]);
    let probe = lines
        .iter()
        .rev()
        .find(|line| line["data"]["attempt"].is_number());
    assert!(probe.expect("a probe")["message"].to_string().contains("200 OK"));
    assert!(
        !lines.iter().any(|line| line.to_string().contains("sleep 1000")),
        "commands are not told"
    );
}

#[test]
fn events_come_by_number() {
    let daemon = Setup::with_idle_web().start();
    for release in ["v1", "v2"] {
        daemon.deploy(release).succeeds();
    }
    wait_until("v1 is over", || daemon.release("v1")["state"] == "stopped");
    let ask = |request: Value| {
        let answer = daemon.ask(request).succeeds();
        let events = answer["events"].as_array().expect("a list").clone();
        events
            .iter()
            .map(|event| event["seq"].as_u64().expect("a number"))
            .collect::<Vec<_>>()
    };
    let all = ask(json!({ "command": "events" }));
    let count = u64::try_from(all.len()).expect("few");
    assert_eq!(all, (1..=count).collect::<Vec<_>>());
    assert_eq!(
        ask(json!({ "command": "events", "limit": 2 })),
        [count - 1, count]
    );
    assert_eq!(ask(json!({ "command": "events", "limit": 0 })), [0u64; 0]);
    assert_eq!(
        ask(json!({ "command": "events", "since": count - 3 })),
        [count - 2, count - 1, count]
    );
    assert_eq!(
        ask(json!({ "command": "events", "since": count - 3, "limit": 1 })),
        [count]
    );
    wait_until("the log has the same", || daemon.log() == daemon.events());
}

#[test]
fn a_follower_misses_nothing() {
    let daemon = Setup::with_idle_web().start();
    let mut client = daemon.client();
    client.send(json!({ "command": "events", "follow": true, "since": 1 }));
    for release in ["v1", "v2", "v3"] {
        daemon.deploy(release).succeeds();
    }
    daemon.ask(json!({ "command": "shutdown" })).succeeds();
    let mut seen = Vec::new();
    while let Some(line) = client.next_line() {
        assert_eq!(line["status"], "event");
        seen.push(line["seq"].as_u64().expect("a number"));
        if line["message"] == "shutdown finished" {
            break;
        }
    }
    let last = *seen.last().expect("events");
    assert_eq!(seen, (2..=last).collect::<Vec<_>>());
    client.answer().succeeds();
    assert_eq!(client.next_line(), None);
    daemon.ends_clean();
}

#[test]
fn a_client_that_never_reads_slows_nobody() {
    let daemon = Setup::with_web().start();
    let mut mutes = Vec::new();
    for _ in 0..4 {
        let mut mute = daemon.client();
        mute.send_bytes(format!("{}\n", status()).repeat(500));
        let mut follower = daemon.client();
        follower.send(json!({ "command": "events", "follow": true }));
        mutes.push((mute, follower));
    }
    for number in 0..5 {
        let release = format!("v{number}");
        daemon.deploy(&release).succeeds();
        assert_eq!(daemon.get("/").body, release);
    }
}
