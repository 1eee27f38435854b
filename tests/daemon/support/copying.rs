//! Copies of programs.

use std::path::Path;
use std::process::Command;

/// Copies a program by another process: a child that another test starts meanwhile would have the file open for writing, and
/// while anybody has, it cannot be executed.
pub fn copy_program(from: impl AsRef<Path>, to: &Path) {
    let mut copying = Command::new("cp");
    let status = copying.arg(from.as_ref()).arg(to).status();
    assert!(status.expect("cp is everywhere").success(), "{}", to.display());
}
