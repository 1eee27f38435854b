//! The only place that writes to stdout and stderr. A reader that has gone is no error: there is nobody to tell.

use std::io::Write;

use serde::Serialize;

/// A result, with a line end.
pub(super) fn print(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// A result as indented JSON.
pub(super) fn print_json(value: &impl Serialize) {
    // What is printed came from JSON or is plain data.
    print(&serde_json::to_string_pretty(value).unwrap_or_default());
}

/// Progress, a warning or an error, with a line end.
pub(super) fn tell(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
