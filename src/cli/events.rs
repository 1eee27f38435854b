//! `rollbridge events`.

use serde_json::{Map, Value, json};

use super::args::EventsOptions;
use super::failure::Failure;
use super::output;
use crate::config::ConfigFile;
use crate::control::client::{Client, ClientError, Line};

pub(super) async fn run(file: &ConfigFile, options: &EventsOptions) -> Result<(), Failure> {
    let mut client = super::connect(file).await?;
    if options.follow {
        return tokio::select! {
            outcome = follow(&mut client, options) => outcome,
            // Ctrl-C is how following ends.
            _ = tokio::signal::ctrl_c() => Ok(()),
        };
    }
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

async fn follow(client: &mut Client, options: &EventsOptions) -> Result<(), Failure> {
    let request = json!({ "command": "events", "limit": options.limit, "follow": true });
    client
        .send(&request.as_object().cloned().unwrap_or_default())
        .await?;
    let mut ended = false;
    while let Some(mut line) = client.next_line().await? {
        ended = line
            .get("message")
            .is_some_and(|message| message == "shutdown finished");
        match line.shift_remove("status").as_ref().and_then(Value::as_str) {
            Some("event") if options.json => output::print(&Value::Object(line).to_string())?,
            Some("event") => output::print(&readable(&line))?,
            Some("lagged") => output::tell(&format!(
                "missed {} events",
                line.get("missed").unwrap_or(&Value::Null)
            )),
            _ => return Err(Failure::from_daemon(&line)),
        }
    }
    match ended {
        true => Ok(()),
        false => Err(ClientError::ConnectionLost.into()),
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
