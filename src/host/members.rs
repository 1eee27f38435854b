//! Which live processes belong to a child, read from /proc.
//!
//! Elsewhere than on Linux only the process group is known; `docs/architecture.md` says so.

use super::Member;

/// What a process is known by: its session and group (both named by the leader's pid) and its token.
#[derive(Clone, Debug)]
pub(super) struct Kinship {
    pub leader: i32,
    pub token: String,
}

/// One live process found by a scan, with whether a signal to the group reaches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub member: Member,
    pub in_group: bool,
}

/// The live members of one child.
#[cfg(target_os = "linux")]
pub(super) fn scan(kinship: &Kinship) -> Vec<Found> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| examine(pid, kinship)).collect()
}

#[cfg(target_os = "linux")]
fn examine(pid: i32, kinship: &Kinship) -> Option<Found> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|text| Stat::parse(&text))?;
    if !stat.alive {
        return None;
    }
    let found = Found {
        member: Member {
            pid,
            start_ticks: stat.start_ticks,
        },
        in_group: stat.group == kinship.leader,
    };
    let kin = found.in_group || stat.session == kinship.leader || carries_token(pid, &kinship.token);
    kin.then_some(found)
}

#[cfg(target_os = "linux")]
fn carries_token(pid: i32, token: &str) -> bool {
    // Processes of other users cannot be read, and are none of ours.
    let Ok(environment) = std::fs::read(format!("/proc/{pid}/environ")) else {
        return false;
    };
    environment.split(|byte| *byte == 0).any(|variable| {
        variable
            .strip_prefix(b"ROLLBRIDGE_INSTANCE=")
            .is_some_and(|value| value == token.as_bytes())
    })
}

/// Whether `member` is still the process it was when it was found.
#[cfg(target_os = "linux")]
pub(super) fn is_same(member: Member) -> bool {
    std::fs::read_to_string(format!("/proc/{}/stat", member.pid))
        .ok()
        .and_then(|text| Stat::parse(&text))
        .is_some_and(|stat| stat.start_ticks == member.start_ticks)
}

/// The fields we need of `/proc/<pid>/stat`, see proc_pid_stat(5).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    alive: bool,
    group: i32,
    session: i32,
    start_ticks: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Stat> {
        // The command's name stands in parentheses and may hold spaces and parentheses of its own.
        let mut fields = text[text.rfind(')')? + 1..].split_ascii_whitespace();
        let state = fields.next()?;
        let _parent = fields.next()?;
        let group = fields.next()?.parse().ok()?;
        let session = fields.next()?.parse().ok()?;
        // Start time is field 22 of the line; the session was field 6.
        let start_ticks = fields.nth(15)?.parse().ok()?;
        Some(Stat {
            alive: !matches!(state, "Z" | "X" | "x"),
            group,
            session,
            start_ticks,
        })
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn scan(kinship: &Kinship) -> Vec<Found> {
    use nix::sys::signal::killpg;
    use nix::unistd::Pid;
    match killpg(Pid::from_raw(kinship.leader), None) {
        Ok(()) => {
            vec![Found {
                member: Member {
                    pid: kinship.leader,
                    start_ticks: 0,
                },
                in_group: true,
            }]
        }
        Err(_) => Vec::new(),
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn is_same(_: Member) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_stat_line_whose_command_is_hostile() {
        let line = "4242 (a) b (c) S 1 4200 4100 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2 3";
        let stat = Stat::parse(line).expect("a stat line");
        assert_eq!(
            stat,
            Stat {
                alive: true,
                group: 4200,
                session: 4100,
                start_ticks: 987_654
            }
        );
        assert!(
            !Stat::parse(&line.replace(" S ", " Z "))
                .expect("a stat line")
                .alive
        );
        assert_eq!(Stat::parse("4242 (cut"), None);
        assert_eq!(Stat::parse("4242 (cut) S 1"), None);
    }
}
