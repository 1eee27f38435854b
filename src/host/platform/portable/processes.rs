//! Processes as `ps` tells of them: the one thing that every Unix has and that tells of them alike.
//!
//! A question costs a start of `ps`, some milliseconds. Start times have a resolution of a second, which is enough to tell
//! a process from the next one with its pid: pids come round only after many thousands of others.

use std::io;
use std::process::{Command, Stdio};

use nix::sys::signal::killpg;
use nix::unistd::{Pid, getsid};

use crate::host::Member;
use crate::host::members::{Found, Kinship};
use crate::host::platform::Running;

/// Shown of each process, in this order; the start takes five words. Each is asked for by itself: what follows a `=` is
/// the title of the column to some.
const COLUMNS: [&str; 8] = [
    "pid=", "ppid=", "pgid=", "uid=", "rss=", "stat=", "lstart=", "args=",
];

/// How much of a command line people are shown.
const MOST_CHARACTERS: usize = 200;

/// One line of `ps`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    pid: i32,
    parent: i32,
    group: i32,
    user: u32,
    rss_bytes: u64,
    alive: bool,
    halted: bool,
    /// Year, month, day, hour, minute and second of its start in UTC, as the digits of one number.
    started: u64,
    command: String,
}

/// The live members of each of `kinships`, in their order, found with one look: whoever is in the group or the session.
pub(in crate::host) fn survey(kinships: &[&Kinship]) -> Vec<Vec<Found>> {
    let Ok(rows) = everybody() else {
        return kinships
            .iter()
            .map(|kinship| group_alone(kinship.leader))
            .collect();
    };
    let mut found = vec![Vec::new(); kinships.len()];
    for row in rows.iter().filter(|row| row.alive) {
        let position = |leader: i32| kinships.iter().position(|kinship| kinship.leader == leader);
        let by_group = position(row.group);
        let Some(position) = by_group.or_else(|| position(session_of(row.pid)?)) else {
            continue;
        };
        found[position].push(Found {
            member: Member {
                pid: row.pid,
                start_ticks: row.started,
            },
            in_group: by_group.is_some(),
            halted: row.halted,
            rss_bytes: row.rss_bytes,
        });
    }
    found
}

/// Where nobody tells of processes, a group that exists is taken for its leader.
fn group_alone(leader: i32) -> Vec<Found> {
    let member = Member {
        pid: leader,
        start_ticks: 0,
    };
    let found = Found {
        member,
        in_group: true,
        halted: false,
        rss_bytes: 0,
    };
    let exists = killpg(Pid::from_raw(leader), None).is_ok();
    exists.then_some(found).into_iter().collect()
}

/// The number of the session a process is in; 0 stands for one that is not told.
fn session_of(pid: i32) -> Option<i32> {
    let session = getsid(Some(Pid::from_raw(pid))).ok()?;
    Some(session.as_raw()).filter(|session| *session > 0)
}

/// Whether a member proves by itself that it belongs, once its leader may have been reaped by somebody else. Its session
/// has to do: as long as anybody is in it, its number is given to nobody else.
pub(in crate::host) fn proves_itself(member: Member, kinship: &Kinship) -> bool {
    session_of(member.pid) == Some(kinship.leader) && is_same(member)
}

/// Whether `member` is still the process it was when it was found.
pub(in crate::host) fn is_same(member: Member) -> bool {
    row_of(member.pid).is_some_and(|row| row.started == member.start_ticks)
}

/// When the process with this pid was started, and whether it is alive; zombies are not.
pub(in crate::host) fn birth(pid: i32) -> Option<(u64, bool)> {
    row_of(pid).map(|row| (row.started, row.alive))
}

/// The user a process runs as.
pub(in crate::host) fn owner(pid: i32) -> Option<u32> {
    row_of(pid).map(|row| row.user)
}

/// What a process was started as, for people.
pub(in crate::host) fn command_line(pid: i32) -> String {
    let command = row_of(pid).map(|row| row.command).unwrap_or_default();
    let text = command.replace(|character: char| character.is_control(), " ");
    match text.char_indices().nth(MOST_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The processes that live at this moment.
pub(in crate::host) fn everything_running() -> io::Result<Vec<Running>> {
    let rows = everybody()?.into_iter().filter(|row| row.alive);
    let running = rows.map(|row| Running {
        pid: row.pid,
        parent: row.parent,
        command: row.command,
    });
    Ok(running.collect())
}

fn everybody() -> io::Result<Vec<Row>> {
    let rows = ask(&["-A"])?;
    // Whoever is asked is there at least.
    match rows.is_empty() {
        true => Err(io::Error::other("ps told of no process")),
        false => Ok(rows),
    }
}

fn row_of(pid: i32) -> Option<Row> {
    // Pids below 1 mean groups or everybody to most, and nobody to ps.
    let pid = Some(pid).filter(|pid| *pid > 0)?;
    ask(&["-p", &pid.to_string()]).ok()?.into_iter().next()
}

fn ask(selection: &[&str]) -> io::Result<Vec<Row>> {
    let mut command = Command::new("ps");
    // Twice, for as wide as it takes.
    command.arg("-ww").args(selection);
    for column in COLUMNS {
        command.args(["-o", column]);
    }
    // The names of months and the time of day are to be the same for everybody.
    let command = command.env("LC_ALL", "C").env("TZ", "UTC0");
    let told = command.stdin(Stdio::null()).stderr(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&told.stdout);
    Ok(text.lines().filter_map(Row::parse).collect())
}

impl Row {
    fn parse(line: &str) -> Option<Row> {
        let mut rest = line;
        let mut word = || {
            let (word, after) = rest.trim_start().split_once(' ')?;
            rest = after;
            Some(word)
        };
        let (pid, parent) = (word()?.parse().ok()?, word()?.parse().ok()?);
        let (group, user) = (word()?.parse().ok()?, word()?.parse().ok()?);
        let rss_kib: u64 = word()?.parse().ok()?;
        let state = word()?;
        let [_weekday, month, day, time] = [word()?, word()?, word()?, word()?];
        let (year, command) = match rest.trim_start().split_once(' ') {
            Some((year, command)) => (year, command.trim()),
            // It hides its arguments.
            None => (rest.trim_start(), ""),
        };
        Some(Row {
            pid,
            parent,
            group,
            user,
            rss_bytes: rss_kib * 1024,
            alive: !state.starts_with(['Z', 'X']),
            halted: state.starts_with('T'),
            started: moment(year, month, day, time)?,
            command: command.to_owned(),
        })
    }
}

/// `2026`, `Nov`, `9` and `08:07:06` as 20261109080706.
fn moment(year: &str, month: &str, day: &str, time: &str) -> Option<u64> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let month = MONTHS.find(month).filter(|_| month.len() == 3)? / 3 + 1;
    let day: u8 = day.parse().ok()?;
    let time = time.replace(':', "");
    format!("{year}{month:02}{day:02}{time:0>6}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_whatever_the_command_is_called() {
        let line = "    7     1     7  1000  2048 Ss+  Mon Nov  9 08:07:06 2026 /bin/sh -c  echo  'Z'";
        let row = Row::parse(line).expect("a line of ps");
        let expected = Row {
            pid: 7,
            parent: 1,
            group: 7,
            user: 1000,
            rss_bytes: 2 * 1024 * 1024,
            alive: true,
            halted: false,
            started: 20_261_109_080_706,
            command: "/bin/sh -c  echo  'Z'".to_owned(),
        };
        assert_eq!(row, expected);
        assert!(!Row::parse(&line.replace("Ss+", "Z+")).expect("a zombie").alive);
        assert!(
            Row::parse(&line.replace("Ss+", "T"))
                .expect("a halted one")
                .halted
        );
        let hidden = Row::parse("2 0 0 0 0 S Mon Nov 30 08:07:06 2026").expect("a thread of the kernel");
        assert_eq!(
            (hidden.command.as_str(), hidden.started),
            ("", 20_261_130_080_706)
        );
        for strange in ["", "PID PPID", "7 1 7 1000 2048 Ss Mon Smarch 9 08:07:06 2026 sh"] {
            assert_eq!(Row::parse(strange), None, "{strange}");
        }
    }

    #[test]
    fn this_very_process_is_found() {
        let own = i32::try_from(std::process::id()).expect("a pid");
        let row = row_of(own).expect("ps is installed");
        assert!(row.alive && row.rss_bytes > 0 && row.parent > 0, "{row:?}");
        assert_eq!(row.user, nix::unistd::Uid::effective().as_raw());
        let running = everything_running().expect("ps is installed");
        assert!(running.iter().any(|running| running.pid == own));
        let kinship = Kinship {
            leader: row.group,
            token: String::new(),
        };
        let found = survey(&[&kinship]).remove(0);
        let member = found
            .iter()
            .find(|found| found.member.pid == own)
            .expect("it is of its group");
        assert!(member.in_group && is_same(member.member));
        assert_eq!(birth(own), Some((member.member.start_ticks, true)));
    }
}
