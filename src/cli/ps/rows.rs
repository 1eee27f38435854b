//! One row for each process, from the status payload.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::figures;
use crate::cli::style::Tone;
use crate::cli::table::{Cell, Table};

const HEADINGS: [&str; 9] = [
    "RELEASE",
    "PROCESS",
    "STATE",
    "PID",
    "PORT",
    "UPTIME",
    "RESTARTS",
    "MEMORY",
    "CONNECTIONS",
];

/// The columns that hold figures.
const FIGURES: [usize; 6] = [3, 4, 5, 6, 7, 8];

/// A process of the status payload, with what is known of it from outside.
pub(super) struct Row<'a> {
    /// The release it belongs to; `service` or `singleton` beside the releases.
    pub source: &'a str,
    /// The state of that release.
    pub release_state: Option<&'a str>,
    /// The process itself.
    pub process: &'a Value,
    /// The open connections of its release, on the process that has them.
    pub connections: Option<u64>,
}

/// Every process of a release that is not stopped, the services and the singletons.
pub(super) fn rows(status: &Value) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    for release in releases(status) {
        for process in release["processes"].as_array().into_iter().flatten() {
            let is_proxied = process["policy"] == "proxied";
            rows.push(Row {
                source: text(release, "releaseId"),
                release_state: release["state"].as_str(),
                process,
                connections: release["connectionCount"].as_u64().filter(|_| is_proxied),
            });
        }
    }
    for (list, source) in [("services", "service"), ("singletons", "singleton")] {
        for standing in status[list].as_array().into_iter().flatten() {
            rows.push(Row {
                source,
                release_state: None,
                process: &standing["process"],
                connections: None,
            });
        }
    }
    rows
}

/// The releases that are worth a look.
pub(super) fn releases(status: &Value) -> impl Iterator<Item = &Value> {
    let releases = status["releases"].as_array().into_iter().flatten();
    releases.filter(|release| release["state"] != "stopped")
}

pub(super) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// For programs: the same rows.
pub(super) fn as_json(status: &Value) -> Value {
    let row = |row: Row| {
        let process = row.process;
        json!({
            "source": row.source,
            "releaseId": process["releaseId"],
            "releaseState": row.release_state,
            "id": process["id"],
            "policy": process["policy"],
            "state": process["state"],
            "pid": process["pid"],
            "port": process["port"],
            "uptimeMs": process["uptimeMs"],
            "restarts": process["restarts"],
            "nextRestartAt": process["nextRestartAt"],
            "rssBytes": process["rssBytes"],
            "connections": row.connections,
        })
    };
    rows(status).into_iter().map(row).collect()
}

/// For people.
pub(super) fn table(status: &Value) -> Table {
    let mut table = Table::new(&HEADINGS, &FIGURES);
    for row in rows(status) {
        let figure = |value: Option<String>| match value {
            Some(text) => (text, Tone::Plain),
            None => ("-".to_owned(), Tone::Faint),
        };
        let number = |field: &str| row.process[field].as_u64();
        let uptime = number("uptimeMs").map(|ms| figures::duration(Duration::from_millis(ms)));
        table.add(vec![
            release(&row),
            (text(row.process, "id").to_owned(), Tone::Plain),
            state(text(row.process, "state")),
            figure(number("pid").map(|pid| pid.to_string())),
            figure(number("port").map(|port| port.to_string())),
            figure(uptime),
            figure(number("restarts").map(|restarts| restarts.to_string())),
            figure(number("rssBytes").map(figures::bytes)),
            figure(row.connections.map(|count| count.to_string())),
        ]);
    }
    table
}

/// `v2`, `v1 (draining)`.
fn release(row: &Row) -> Cell {
    let name = row.source.to_owned();
    match row.release_state {
        Some("active") => (name, Tone::Strong),
        Some(state @ "failed") => (format!("{name} ({state})"), Tone::Bad),
        Some(state) => (format!("{name} ({state})"), Tone::Busy),
        None => (name, Tone::Plain),
    }
}

fn state(state: &str) -> Cell {
    let tone = match state {
        "running" => Tone::Good,
        "failed" => Tone::Bad,
        "stopped" => Tone::Faint,
        _ => Tone::Busy,
    };
    (state.to_owned(), tone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::style::Paint;

    fn process(id: &str, policy: &str, state: &str, pid: Value) -> Value {
        json!({
            "id": id, "policy": policy, "releaseId": "v1", "state": state, "pid": pid, "port": null,
            "uptimeMs": pid.as_u64().map(|_| 65_000), "restarts": 2, "nextRestartAt": null, "rssBytes": null,
        })
    }

    #[test]
    fn stopped_releases_are_left_out_and_connections_stand_at_the_web_process() {
        let status = json!({
            "releases": [
                { "releaseId": "v0", "state": "stopped", "connectionCount": 0, "processes": [process("web", "proxied", "stopped", Value::Null)] },
                { "releaseId": "v1", "state": "draining", "connectionCount": 3, "processes": [
                    process("worker", "companion", "backoff", Value::Null), process("web", "proxied", "running", json!(77))] },
            ],
            "services": [{ "id": "beacon", "process": process("beacon", "service", "running", json!(78)) }],
            "singletons": [],
        });
        let lines = table(&status).lines(Paint::of_stdout());
        let expected = [
            "RELEASE        PROCESS  STATE    PID  PORT  UPTIME  RESTARTS  MEMORY  CONNECTIONS",
            "v1 (draining)  worker   backoff    -     -       -         2       -            -",
            "v1 (draining)  web      running   77     -   1m05s         2       -            3",
            "service        beacon   running   78     -   1m05s         2       -            -",
        ];
        assert_eq!(lines, expected);
        let json = as_json(&status);
        assert_eq!(json[1]["connections"], 3);
        assert_eq!(json[2]["source"], "service");
        assert_eq!(json.as_array().map(Vec::len), Some(3));
    }
}
