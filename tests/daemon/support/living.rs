//! Which processes of a test are alive: all that a daemon starts inherit a variable nobody else has.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The variable by which a test's processes are known.
pub const TAG: &str = "DAEMON_TEST_FOLDER";

/// The live processes that carry `tag`, by rising pid. Zombies do not count.
pub fn tagged(tag: &str) -> Vec<i32> {
    let wanted = format!("{TAG}={tag}");
    let entries = std::fs::read_dir("/proc").expect("a mounted /proc").flatten();
    let mut pids: Vec<i32> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let environment = environment(*pid);
            let mut variables = environment.split(|byte| *byte == 0);
            variables.any(|variable| variable == wanted.as_bytes()) && is_alive(*pid)
        })
        .collect();
    pids.sort_unstable();
    pids
}

/// The environment of a process. In the middle of an exec it looks empty for a moment, so that is not believed at once;
/// kernel threads, zombies and what is gone have no executable.
fn environment(pid: i32) -> Vec<u8> {
    const LOOKS: usize = 50;
    for _ in 0..LOOKS {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        if !environment.is_empty() || std::fs::read_link(format!("/proc/{pid}/exe")).is_err() {
            return environment;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Vec::new()
}

/// Whether the process exists and is no zombie.
pub fn is_alive(pid: i32) -> bool {
    state(pid).is_some_and(|state| !matches!(state, 'Z' | 'X' | 'x'))
}

/// Whether the process was halted by a signal.
pub fn is_halted(pid: i32) -> bool {
    state(pid) == Some('T')
}

/// The letter by which the system tells the state of a process.
fn state(pid: i32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let end = stat.rfind(')')?;
    stat[end + 1..].trim_start().chars().next()
}

/// Sends a signal to one process.
pub fn send(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).expect("the process is there to be signalled");
}

/// What a process is, for messages.
pub fn describe(pid: i32) -> String {
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    format!("{pid} {}", String::from_utf8_lossy(&command).replace('\0', " "))
}
