//! `rollbridge logs`.

mod label;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use self::label::Labels;
use super::args::LogsOptions;
use super::failure::Failure;
use super::follow::{self, Followed};
use super::output;
use super::style::Paint;
use crate::config::ConfigFile;
use crate::control::client::Line;

pub(super) async fn run(file: &ConfigFile, options: &LogsOptions) -> Result<(), Failure> {
    if options.follow {
        let mut following = Following {
            options,
            seen: BTreeMap::new(),
            labels: Labels::new(Paint::of_stdout()),
        };
        return follow::follow(file, &mut following).await;
    }
    let request = json!({ "command": "logs", "process": options.process, "releaseId": options.release });
    let mut client = super::connect(file).await?;
    let answer = super::ask(&mut client, request, |_| ()).await?;
    let logs = answer.get("logs").cloned().unwrap_or_default();
    match options.json {
        true => output::print_json(&logs),
        false => readable(&logs).iter().try_for_each(|line| output::print(line)),
    }
}

struct Following<'a> {
    options: &'a LogsOptions,
    /// The number of the last line of each origin.
    seen: BTreeMap<String, u64>,
    labels: Labels,
}

impl Followed for Following<'_> {
    fn request(&self) -> Value {
        let since = (!self.seen.is_empty()).then_some(&self.seen);
        json!({
            "command": "logs",
            "process": self.options.process,
            "releaseId": self.options.release,
            "since": since,
            "follow": true,
        })
    }

    fn take(&mut self, mut line: Line) -> Result<(), Failure> {
        line.shift_remove("status");
        if let (Some(origin), Some(seq)) = (
            line.shift_remove("origin").as_ref().and_then(Value::as_str),
            line.get("seq").and_then(Value::as_u64),
        ) {
            self.seen.insert(origin.to_owned(), seq);
        }
        let line = Value::Object(line);
        match self.options.json {
            true => output::print_line(&line),
            false => {
                let label = label_of(&line);
                self.labels.meet(&label);
                output::print(&self.labels.line(text(&line, "at"), &label, text(&line, "line")))
            }
        }
    }

    fn things(&self) -> &'static str {
        "lines"
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// `v2 web`
fn label_of(process: &Value) -> String {
    format!("{} {}", text(process, "source"), text(process, "id"))
}

/// Every line with its time and its process, in the order they were written.
fn readable(logs: &Value) -> Vec<String> {
    let mut labels = Labels::new(Paint::of_stdout());
    let mut lines = Vec::new();
    for process in logs.as_array().into_iter().flatten() {
        let own = process["logs"].as_array().into_iter().flatten();
        lines.extend(own.map(|line| (text(line, "at"), label_of(process), text(line, "line"))));
    }
    // Stable, so that lines of one process in the same millisecond stay in their order. RFC 3339 in UTC sorts as text.
    lines.sort_by(|one, other| one.0.cmp(other.0));
    for (_, label, _) in &lines {
        labels.meet(label);
    }
    lines
        .iter()
        .map(|(at, label, line)| labels.line(at, label, line))
        .collect()
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
