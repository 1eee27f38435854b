//! `rollbridge logs`.

use serde_json::{Value, json};

use super::args::LogsOptions;
use super::failure::Failure;
use super::output;
use crate::config::ConfigFile;

pub(super) async fn run(file: &ConfigFile, options: &LogsOptions) -> Result<(), Failure> {
    let request = json!({ "command": "logs", "process": options.process, "releaseId": options.release });
    let mut client = super::connect(file).await?;
    let answer = super::ask(&mut client, request, |_| ()).await?;
    let logs = answer.get("logs").cloned().unwrap_or_default();
    match options.json {
        true => output::print_json(&logs),
        false => readable(&logs).iter().try_for_each(|line| output::print(line)),
    }
}

/// Every line with its time and its process, in the order they were written.
fn readable(logs: &Value) -> Vec<String> {
    let text = |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let mut lines = Vec::new();
    for process in logs.as_array().into_iter().flatten() {
        let label = format!("{} {}", text(process, "source"), text(process, "id"));
        let own = process["logs"].as_array().into_iter().flatten();
        lines.extend(own.map(|line| (text(line, "at"), label.clone(), text(line, "line"))));
    }
    // Stable, so that lines of one process in the same millisecond stay in their order. RFC 3339 in UTC sorts as text.
    lines.sort_by(|one, other| one.0.cmp(&other.0));
    let width = lines.iter().map(|(_, label, _)| label.chars().count()).max();
    let width = width.unwrap_or(0);
    let line = |(at, label, line): (String, String, String)| format!("{at}  {label:width$} | {line}");
    lines.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_all_processes_stand_in_the_order_of_their_time() {
        let logs = json!([
            { "id": "web", "source": "v1", "logs": [
                { "at": "2026-05-21T07:30:00.001Z", "line": "up" }, { "at": "2026-05-21T07:30:00.003Z", "line": "on" }] },
            { "id": "scheduler", "source": "singleton", "logs": [{ "at": "2026-05-21T07:30:00.002Z", "line": "tick" }] },
        ]);
        let expected = [
            "2026-05-21T07:30:00.001Z  v1 web              | up",
            "2026-05-21T07:30:00.002Z  singleton scheduler | tick",
            "2026-05-21T07:30:00.003Z  v1 web              | on",
        ];
        assert_eq!(readable(&logs), expected);
        assert!(readable(&json!([])).is_empty());
    }
}
