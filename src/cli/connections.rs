//! `rollbridge connections`: why a release is still draining.

use std::time::Duration;

use serde_json::{Value, json};

use super::args::ConnectionsOptions;
use super::failure::Failure;
use super::style::{Paint, Tone};
use super::table::Table;
use super::{figures, output};
use crate::config::ConfigFile;

const HEADINGS: [&str; 8] = [
    "NUMBER", "RELEASE", "KIND", "CLIENT", "REQUEST", "AGE", "IN", "OUT",
];

/// The columns that hold figures.
const FIGURES: [usize; 4] = [0, 5, 6, 7];

pub(super) async fn run(file: &ConfigFile, options: &ConnectionsOptions) -> Result<(), Failure> {
    let request = json!({ "command": "connections", "releaseId": options.release, "close": options.close });
    let mut client = super::connect(file).await?;
    let answer = super::ask(&mut client, request, |_| ()).await?;
    let connections = answer.get("connections").cloned().unwrap_or_default();
    let list = connections.as_array().map(Vec::as_slice).unwrap_or_default();
    match (options.json, options.close) {
        (true, _) => output::print_json(&connections),
        (false, Some(number)) => output::print(&format!("closed connection {number}")),
        (false, None) if list.is_empty() => output::print("no connection is open"),
        (false, None) => output::print(&table(list).lines(Paint::of_stdout()).join("\n")),
    }
}

fn table(connections: &[Value]) -> Table {
    let mut table = Table::new(&HEADINGS, &FIGURES);
    for connection in connections {
        let text = |field: &str| connection[field].as_str().unwrap_or_default().to_owned();
        let number = |field: &str| connection[field].as_u64().unwrap_or(0);
        let request = format!("{} {}", text("method"), text("path"));
        let cells = [
            number("number").to_string(),
            text("releaseId"),
            text("kind"),
            text("client"),
            request,
            figures::duration(Duration::from_millis(number("ageMs"))),
            figures::bytes(number("bytesIn")),
            figures::bytes(number("bytesOut")),
        ];
        table.add(cells.into_iter().map(|cell| (cell, Tone::Plain)).collect());
    }
    table
}
