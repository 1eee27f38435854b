//! What not every machine has, or lets everybody do.

use std::process::{Command, Stdio};

/// Whether a file system can be mounted, out of sight of everybody else. Where not, this is said, and the test ends; with
/// ROLLBRIDGE_REQUIRE_ALL=1, as in continuous integration, it fails.
#[expect(clippy::print_stderr, reason = "a test that is left out says why")]
pub fn can_mount() -> bool {
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "mount", "-t", "tmpfs", "none", "/tmp"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if command.status().is_ok_and(|status| status.success()) {
        return true;
    }
    let reason = "mounting a file system needs root and the program unshare (Debian package util-linux)";
    assert!(std::env::var_os("ROLLBRIDGE_REQUIRE_ALL").is_none(), "{reason}");
    eprintln!("skipped: {reason}");
    false
}
