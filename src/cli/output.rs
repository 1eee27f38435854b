//! The only place that writes to stdout and stderr. A reader that has gone is no error: there is nobody to tell. A result
//! that could not be written, to a full disk for example, is one.

use std::io::{ErrorKind, Write};

use serde::Serialize;
use serde_json::Value;

use super::failure::Failure;
use crate::error::plain;

/// A result, with a line end.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::internal(format!(
            "the result could not be written to stdout: {}",
            plain(&error)
        ))),
        _ => Ok(()),
    }
}

/// A result as indented JSON.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    // What is printed came from JSON or is plain data.
    print(&serde_json::to_string_pretty(value).unwrap_or_default())
}

/// A result as JSON on one line.
pub(super) fn print_line(value: &Value) -> Result<(), Failure> {
    print(&value.to_string())
}

/// Something on stderr that is not a whole line yet.
pub(super) fn tell_on(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = write!(stderr, "{text}").and_then(|()| stderr.flush());
}

/// Progress, a warning or an error, with a line end.
pub(super) fn tell(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
