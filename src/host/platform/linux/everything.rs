//! Every live process of the machine, read from /proc.

use std::io;

use crate::host::platform::Running;

/// The processes that live at this moment.
pub fn everything_running() -> io::Result<Vec<Running>> {
    let entries = std::fs::read_dir("/proc")?.flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    // One that ended meanwhile is none.
    let running = pids.filter_map(|pid| {
        Some(Running {
            pid,
            parent: parent_of(pid)?,
            command: command_line(pid),
        })
    });
    Ok(running.collect())
}

/// The parent of a live process.
fn parent_of(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything.
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    let is_alive = !matches!(fields.next()?, "Z" | "X");
    fields.next()?.parse().ok().filter(|_| is_alive)
}

/// The arguments of a process with spaces between them, as `ps` shows them.
fn command_line(pid: i32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes).replace('\0', " ");
    text.trim_end().to_owned()
}
