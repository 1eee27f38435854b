//! What the tests of the room share, and the tests of the room as a whole.

use std::path::Path;

use serde_json::{Value, json};

use super::*;

mod cascades;
mod defaults;
mod evaluation;
mod rules;
mod shapes;

/// The origin of a config file in /srv/ticket-server.
pub fn origin() -> Origin {
    Origin::of(&ConfigFile::at(
        Path::new("rollbridge.js"),
        Path::new("/srv/ticket-server"),
    ))
}

/// The report about a value without looking at the machine.
pub fn examine(value: &Value) -> Report {
    let (config, Verdict { issues, warnings }) = validate(value, &[], &origin());
    Report {
        path: origin().path,
        shown: origin().shown,
        config,
        issues,
        warnings,
    }
}

/// A realistic config as a value.
pub fn example_value() -> Value {
    json!({
        "application": "ticket-server",
        "control": {"path": "/tmp/rollbridge-ticket-server.sock"},
        "proxy": {
            "host": "127.0.0.1", "port": 8182, "upstreamHost": "127.0.0.1", "healthPath": "/ping",
            "healthTimeoutMs": 30000, "drainTimeoutMs": 60000, "forceStopTimeoutMs": 10000,
        },
        "processes": [
            {"id": "beacon", "policy": "companion", "cwd": "{{releasePath}}",
             "command": "env BEACON_PORT={{port}} npx velocious beacon", "port": {"from": 17330, "to": 17399}},
            {"id": "background-jobs-worker", "policy": "companion", "cwd": "{{releasePath}}",
             "command": "npx velocious background-jobs-worker", "outputLines": 200},
            {"id": "background-jobs-main", "policy": "service", "cwd": "{{releasePath}}",
             "command": "npx velocious background-jobs-main"},
            {"id": "web", "policy": "proxied", "cwd": "{{releasePath}}",
             "command": "npx velocious server --host 127.0.0.1 --port {{port}}",
             "port": {"from": 18182, "to": 18299}, "health": {"path": "/ping", "timeoutMs": 30000}},
        ],
    })
}

/// The same, validated.
pub fn example() -> Config {
    let report = examine(&example_value());
    assert_eq!((&report.issues, &report.warnings), (&vec![], &vec![]));
    report.config.expect("a config without issues")
}

/// The smallest valid config, with `fields` added to it.
fn with(fields: Value) -> Value {
    let mut config = json!({"processes": [
        {"id": "web", "policy": "proxied", "command": "serve", "port": {"from": 18182, "to": 18299}},
    ]});
    merge(&mut config, fields);
    config
}

/// The smallest valid config and a second process with these fields besides id and command.
fn with_process(fields: Value) -> Value {
    let mut config = with(json!({}));
    let mut process = json!({"id": "other", "command": "run"});
    merge(&mut process, fields);
    config["processes"].as_array_mut().expect("a list").push(process);
    config
}

/// The smallest valid config, its proxied process with these fields added.
fn with_web(fields: Value) -> Value {
    let mut config = with(json!({}));
    merge(&mut config["processes"][0], fields);
    config
}

fn merge(object: &mut Value, fields: Value) {
    let Value::Object(fields) = fields else {
        panic!("fields are an object")
    };
    object.as_object_mut().expect("an object").extend(fields);
}

fn valid(value: &Value) -> Config {
    let report = examine(value);
    report
        .config
        .clone()
        .unwrap_or_else(|| panic!("{}", report.text()))
}

fn issues(value: &Value) -> Vec<String> {
    examine(value)
        .issues
        .into_iter()
        .map(|issue| issue.message)
        .collect()
}

fn warnings(value: &Value) -> Vec<String> {
    examine(value)
        .warnings
        .into_iter()
        .map(|warning| warning.message)
        .collect()
}
