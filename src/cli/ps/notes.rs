//! What the table cannot say: why a release still drains, why a process is down, and what to do about it.

use std::time::Duration;

use serde_json::Value;

use super::rows::{Row, releases, rows, text};
use crate::cli::figures;
use crate::clock::Timestamp;

/// A sentence for everything that is not as it should stay.
pub(super) fn of(status: &Value, now: Timestamp) -> Vec<String> {
    let mut notes = Vec::new();
    if status["activeReleaseId"].is_null() {
        notes.push(
            "no release is active: the proxy answers 503; deploy one with rollbridge deploy".to_owned(),
        );
    }
    let draining = releases(status).filter(|release| release["state"] == "draining");
    notes.extend(draining.map(|release| drain(release, now)));
    notes.extend(rows(status).iter().filter_map(|row| trouble(row, now)));
    let orphans = status["orphans"].as_array().map_or(0, Vec::len) as u64;
    if orphans > 0 {
        let orphans = figures::count(orphans, "process", "processes");
        notes.push(format!(
            "{orphans} of an earlier daemon still alive; rollbridge status lists them as orphans"
        ));
    }
    notes
}

/// `v1 drains since 12s: 1 request is open; …`
fn drain(release: &Value, now: Timestamp) -> String {
    let id = text(release, "releaseId");
    let since = since(&release["drainStartedAt"], now)
        .map(|since| format!(" since {}", figures::duration(since)))
        .unwrap_or_default();
    let open = |kind: &str| release["connections"][kind].as_u64().unwrap_or(0);
    let (http, websocket) = (open("http"), open("websocket"));
    let mut kinds = Vec::new();
    if http > 0 {
        kinds.push(figures::count(http, "request", "requests"));
    }
    if websocket > 0 {
        kinds.push(figures::count(
            websocket,
            "upgraded connection",
            "upgraded connections",
        ));
    }
    if !kinds.is_empty() {
        let open = kinds.join(" and ");
        return format!("{id} drains{since}: {open} open; rollbridge connections --release {id} lists them");
    }
    let processes = release["processes"].as_array().into_iter().flatten();
    let left: Vec<&str> = processes
        .filter(|process| !process["pid"].is_null())
        .map(|process| text(process, "id"))
        .collect();
    format!(
        "{id} drains{since}: no connection is open; waiting for {} to end",
        left.join(", ")
    )
}

fn trouble(row: &Row, now: Timestamp) -> Option<String> {
    let process = row.process;
    let name = format!("{} ({})", text(process, "id"), row.source);
    let ended = match (process["exitCode"].as_i64(), process["exitSignal"].as_str()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => format!("was ended by {signal}"),
        (None, None) => "ended".to_owned(),
    };
    let look = format!("rollbridge logs --process {}", text(process, "id"));
    match text(process, "state") {
        // A failed deploy has said why already.
        "failed" if row.release_state != Some("failed") => Some(format!(
            "{name} {ended} and is not started again; {look} shows its last lines, rollbridge restart --process {} starts it",
            text(process, "id")
        )),
        "backoff" => {
            let at = time(&process["nextRestartAt"])?;
            let left = at.since(now);
            Some(format!(
                "{name} {ended} and is started again in {}; {look} shows its last lines",
                figures::duration(left)
            ))
        }
        _ => None,
    }
}

fn since(at: &Value, now: Timestamp) -> Option<Duration> {
    time(at).map(|at| now.since(at))
}

fn time(at: &Value) -> Option<Timestamp> {
    Timestamp::parse(at.as_str()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_trouble_has_a_sentence_that_says_what_to_do() {
        let process = |id: &str, state: &str, pid: Value| {
            json!({
                "id": id, "policy": "proxied", "state": state, "pid": pid, "exitCode": 3, "exitSignal": null,
                "nextRestartAt": "1970-01-01T00:00:14.000Z",
            })
        };
        let release = |id: &str, http: u64, process: Value| {
            json!({
                "releaseId": id, "state": "draining", "drainStartedAt": "1970-01-01T00:00:00.000Z",
                "connections": { "http": http, "websocket": http }, "processes": [process],
            })
        };
        let status = json!({
            "activeReleaseId": null,
            "orphans": [{ "id": "web" }],
            "releases": [
                release("v1", 1, process("web", "running", json!(7))),
                release("v2", 0, process("web", "stopping", json!(8))),
            ],
            "services": [{ "process": process("beacon", "backoff", Value::Null) }],
            "singletons": [{ "process": process("clock", "failed", Value::Null) }],
        });
        let expected = [
            "no release is active: the proxy answers 503; deploy one with rollbridge deploy",
            "v1 drains since 12s: 1 request and 1 upgraded connection open; rollbridge connections --release v1 lists them",
            "v2 drains since 12s: no connection is open; waiting for web to end",
            "beacon (service) exited with code 3 and is started again in 2s; rollbridge logs --process beacon shows its last lines",
            "clock (singleton) exited with code 3 and is not started again; rollbridge logs --process clock shows its last lines, rollbridge restart --process clock starts it",
            "1 process of an earlier daemon still alive; rollbridge status lists them as orphans",
        ];
        assert_eq!(of(&status, Timestamp::from_ms(12_000)), expected);
    }
}
