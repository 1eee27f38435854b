//! `rollbridge events`.

use serde_json::{Map, Value, json};

use super::args::EventsOptions;
use super::failure::Failure;
use super::follow::{self, Followed};
use super::output;
use crate::config::ConfigFile;
use crate::control::client::Line;

pub(super) async fn run(file: &ConfigFile, options: &EventsOptions) -> Result<(), Failure> {
    if options.follow {
        return follow::follow(file, &mut Following { options, seen: None }).await;
    }
    let mut client = super::connect(file).await?;
    let request = json!({ "command": "events", "limit": options.limit });
    let answer = super::ask(&mut client, request, |_| ()).await?;
    let events = answer.get("events").cloned().unwrap_or_default();
    if options.json {
        output::print_json(&events)?;
    } else {
        let events = events.as_array().into_iter().flatten();
        for event in events.filter_map(Value::as_object) {
            output::print(&readable(event))?;
        }
    }
    Ok(())
}

struct Following<'a> {
    options: &'a EventsOptions,
    /// The number of the last event.
    seen: Option<u64>,
}

impl Followed for Following<'_> {
    fn request(&self) -> Value {
        // Once there was one, nothing of what follows may be left out.
        let limit = self.options.limit.filter(|_| self.seen.is_none());
        json!({ "command": "events", "limit": limit, "since": self.seen, "follow": true })
    }

    fn take(&mut self, mut line: Line) -> Result<(), Failure> {
        line.shift_remove("status");
        self.seen = line.get("seq").and_then(Value::as_u64).or(self.seen);
        match self.options.json {
            true => output::print_line(&Value::Object(line)),
            false => output::print(&readable(&line)),
        }
    }

    fn things(&self) -> &'static str {
        "events"
    }
}

/// `2026-05-21T07:30:00.123Z  traffic switched  releaseId=v2 previousReleaseId=v1`
fn readable(event: &Line) -> String {
    let text = |field: &str| {
        event
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let nothing = Map::new();
    let data = event.get("data").and_then(Value::as_object).unwrap_or(&nothing);
    let known = data.iter().filter(|(_, value)| !value.is_null());
    let data: Vec<String> = known
        .map(|(name, value)| match value {
            Value::String(text) => format!("{name}={text}"),
            other => format!("{name}={other}"),
        })
        .collect();
    format!("{}  {}  {}", text("at"), text("message"), data.join(" "))
        .trim_end()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_reads_as_one_line() {
        let event = json!({
            "seq": 3, "at": "2026-05-21T07:30:00.123Z", "message": "process exited",
            "data": { "processId": "web", "exitCode": 1, "exitSignal": null },
        });
        let line = readable(event.as_object().expect("an object"));
        assert_eq!(
            line,
            "2026-05-21T07:30:00.123Z  process exited  processId=web exitCode=1"
        );
    }
}
