//! The steps of a deploy or rollback on stderr, as they happen.

use std::io::IsTerminal;

use serde_json::Value;

use super::output;
use crate::control::client::Line;

/// Somebody asked for them, or is watching.
pub(super) fn is_wanted(asked_for: bool) -> bool {
    asked_for || std::io::stderr().is_terminal()
}

/// One step as one line.
pub(super) fn tell(step: Line) {
    let text = |field: &str| {
        step.get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    output::tell(&format!("{:<10} {}", text("phase"), text("message")));
}
