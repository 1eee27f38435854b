//! Which live processes belong to a child, read from /proc.
//!
//! Elsewhere than on Linux only the process group is known; `docs/architecture.md` says so.

#[cfg(target_os = "linux")]
use std::collections::{BTreeMap, HashMap};
#[cfg(target_os = "linux")]
use std::fs::File;
#[cfg(target_os = "linux")]
use std::io::Read;
#[cfg(target_os = "linux")]
use std::os::unix::fs::DirEntryExt;
#[cfg(target_os = "linux")]
use std::sync::{Mutex, OnceLock, PoisonError};

#[cfg(target_os = "linux")]
use nix::unistd::{Pid, getpgid, getsid};

use super::Member;

/// What a process is known by: its session and group (both named by the leader's pid) and its token.
#[derive(Clone, Debug)]
pub struct Kinship {
    /// The leader's pid.
    pub leader: i32,
    /// The value of `ROLLBRIDGE_INSTANCE`.
    pub token: String,
}

/// One live process found by a survey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub member: Member,
    /// A signal to the group reaches it.
    pub in_group: bool,
    /// It was halted by a signal such as SIGSTOP, and acts on nothing but SIGKILL until it is continued.
    pub halted: bool,
    /// The memory it holds, in bytes.
    pub rss_bytes: u64,
}

/// The live members of one child.
pub(super) fn scan(kinship: &Kinship) -> Vec<Found> {
    survey(&[kinship]).pop().unwrap_or_default()
}

/// The live members of each of `kinships`, in their order, found with one walk through /proc.
///
/// Every process on the machine costs two system calls that read nothing; only members cost a read. A process that stands
/// in no wanted group or session is asked for its token once in its life: a token is inherited, never taken on later.
#[cfg(target_os = "linux")]
pub(super) fn survey(kinships: &[&Kinship]) -> Vec<Vec<Found>> {
    let mut found = vec![Vec::new(); kinships.len()];
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return found;
    };
    let by_leader: HashMap<i32, usize> = (0..)
        .zip(kinships)
        .map(|(position, kinship)| (kinship.leader, position))
        .collect();
    let by_token: HashMap<&[u8], usize> = (0..)
        .zip(kinships)
        .map(|(position, kinship)| (kinship.token.as_bytes(), position))
        .collect();
    let mut acquaintances = ACQUAINTANCES.lock().unwrap_or_else(PoisonError::into_inner);
    let mut met = BTreeMap::new();
    let mut buffer = Vec::new();
    for entry in entries.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok())
        else {
            continue;
        };
        let by_number = |number: nix::Result<Pid>| by_leader.get(&number.ok()?.as_raw()).copied();
        let (group, session) = (
            getpgid(Some(Pid::from_raw(pid))),
            getsid(Some(Pid::from_raw(pid))),
        );
        if session.is_ok_and(|session| session.as_raw() == 0) {
            // A thread of the kernel, or from outside of this container.
            continue;
        }
        let kin = by_number(group).or_else(|| by_number(session));
        let kin = kin.or_else(|| {
            let identity = (pid, entry.ino());
            let token = match acquaintances.remove(&identity) {
                Some(known) => known,
                None => asked_for_token(pid, &mut buffer)?,
            };
            let kin = token.as_deref().and_then(|token| by_token.get(token).copied());
            met.insert(identity, token);
            kin
        });
        let Some(position) = kin else { continue };
        let Some(stat) = read_stat(pid, &mut buffer).filter(|stat| stat.alive) else {
            continue;
        };
        found[position].push(Found {
            member: Member {
                pid,
                start_ticks: stat.start_ticks,
            },
            in_group: stat.group == kinships[position].leader,
            halted: stat.halted,
            rss_bytes: stat.rss_pages * page_bytes(),
        });
    }
    // Who was not met is gone.
    *acquaintances = met;
    found
}

/// Processes that were asked for their token, with the answer. Pid and inode in /proc together name a process: the inode
/// is numbered anew for each.
#[cfg(target_os = "linux")]
static ACQUAINTANCES: Mutex<Acquaintances> = Mutex::new(Acquaintances::new());

#[cfg(target_os = "linux")]
type Acquaintances = BTreeMap<(i32, u64), Option<Vec<u8>>>;

/// The token a process carries in its environment, if any; nothing if it cannot be asked at this moment.
#[cfg(target_os = "linux")]
fn asked_for_token(pid: i32, buffer: &mut Vec<u8>) -> Option<Option<Vec<u8>>> {
    // Processes of other users cannot be read, and are none of ours.
    let mut environment = read(pid, "environ", buffer).unwrap_or(b"none");
    if matches!(environment, b"" | b"none")
        && let Some(thread) = other_thread(pid)
    {
        environment = read(pid, &format!("task/{thread}/environ"), buffer).unwrap_or(b"none");
    }
    if environment.is_empty() {
        // In the middle of an exec; or it has none at all, and is asked again the next time.
        return None;
    }
    let mut variables = environment.split(|byte| *byte == 0);
    Some(
        variables
            .find_map(|variable| variable.strip_prefix(b"ROLLBRIDGE_INSTANCE="))
            .map(<[u8]>::to_vec),
    )
}

/// Whether the process `pid` carries `token` in its environment.
#[cfg(target_os = "linux")]
pub(super) fn carries_token(pid: i32, token: &str) -> bool {
    let found = asked_for_token(pid, &mut Vec::new()).flatten();
    found.is_some_and(|found| found == token.as_bytes())
}

/// Whether `member` is still the process it was when it was found.
#[cfg(target_os = "linux")]
pub(super) fn is_same(member: Member) -> bool {
    start_ticks(member.pid) == Some(member.start_ticks)
}

#[cfg(target_os = "linux")]
fn start_ticks(pid: i32) -> Option<u64> {
    read_stat(pid, &mut Vec::new()).map(|stat| stat.start_ticks)
}

/// When the process with this pid was started, in clock ticks since boot, and whether it is alive; zombies are not.
#[cfg(target_os = "linux")]
pub(super) fn birth(pid: i32) -> Option<(u64, bool)> {
    read_stat(pid, &mut Vec::new()).map(|stat| (stat.start_ticks, stat.alive))
}

/// The token that the process with this pid carries, if it can be read and there is one.
#[cfg(target_os = "linux")]
pub(super) fn token(pid: i32) -> Option<String> {
    let token = asked_for_token(pid, &mut Vec::new())??;
    String::from_utf8(token).ok().filter(|token| !token.is_empty())
}

#[cfg(target_os = "linux")]
fn read_stat(pid: i32, buffer: &mut Vec<u8>) -> Option<Stat> {
    let mut stat = Stat::parse(&String::from_utf8_lossy(read(pid, "stat", buffer)?))?;
    if stat.headless
        && let Some(thread) = other_thread(pid)
        && let Some(text) = read(pid, &format!("task/{thread}/stat"), buffer)
        && let Some(living) = Stat::parse(&String::from_utf8_lossy(text))
    {
        stat.halted = living.halted;
        stat.rss_pages = living.rss_pages;
    }
    Some(stat)
}

/// A thread besides the first. Once the first has ended, what is its own in /proc is empty, and that of any other tells
/// what holds for all: memory, environment, arguments.
#[cfg(target_os = "linux")]
fn other_thread(pid: i32) -> Option<i32> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    threads
        .flatten()
        .filter_map(|thread| thread.file_name().to_str()?.parse().ok())
        .find(|thread| *thread != pid)
}

/// Reads a file of a process into `buffer`, which is reused for the thousands of reads of a survey.
#[cfg(target_os = "linux")]
fn read<'a>(pid: i32, file: &str, buffer: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    buffer.clear();
    File::open(format!("/proc/{pid}/{file}"))
        .and_then(|mut file| file.read_to_end(buffer))
        .ok()?;
    Some(buffer)
}

#[cfg(target_os = "linux")]
fn page_bytes() -> u64 {
    static PAGE_BYTES: OnceLock<u64> = OnceLock::new();
    *PAGE_BYTES.get_or_init(|| {
        let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE);
        size.ok()
            .flatten()
            .and_then(|size| u64::try_from(size).ok())
            .unwrap_or(4096)
    })
}

/// What a process was started as, for people: its arguments, or its name in brackets if it hides them.
#[cfg(target_os = "linux")]
pub(super) fn command_line(pid: i32) -> String {
    const MOST_CHARACTERS: usize = 200;
    let mut buffer = Vec::new();
    let arguments = read(pid, "cmdline", &mut buffer).unwrap_or_default();
    let text = String::from_utf8_lossy(arguments).replace(|character: char| character.is_control(), " ");
    let text = text.trim();
    if text.is_empty() {
        let name = read(pid, "comm", &mut buffer).unwrap_or_default();
        return format!("[{}]", String::from_utf8_lossy(name).trim());
    }
    match text.char_indices().nth(MOST_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The fields we need of `/proc/<pid>/stat`, see proc_pid_stat(5).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    alive: bool,
    /// The first thread has ended, others have not.
    headless: bool,
    halted: bool,
    group: i32,
    session: i32,
    start_ticks: u64,
    rss_pages: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Stat> {
        // The command's name stands in parentheses and may hold spaces and parentheses of its own.
        let mut fields = text[text.rfind(')')? + 1..].split_ascii_whitespace();
        let state = fields.next()?;
        let _parent = fields.next()?;
        let group = fields.next()?.parse().ok()?;
        let session = fields.next()?.parse().ok()?;
        // The number of threads is field 20 of the line, the start time field 22, resident pages field 24; the session
        // was field 6.
        let threads: u32 = fields.nth(13)?.parse().ok()?;
        let start_ticks = fields.nth(1)?.parse().ok()?;
        let rss_pages = fields.nth(1)?.parse().ok()?;
        let ended = matches!(state, "Z" | "X" | "x");
        // The state is that of the first thread, which may end before the others. It counts until they have ended too.
        let headless = ended && threads > 1;
        Some(Stat {
            alive: !ended || headless,
            headless,
            halted: state == "T",
            group,
            session,
            start_ticks,
            rss_pages,
        })
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn survey(kinships: &[&Kinship]) -> Vec<Vec<Found>> {
    use nix::sys::signal::killpg;
    use nix::unistd::Pid;
    let group = |leader: i32| match killpg(Pid::from_raw(leader), None) {
        Ok(()) => vec![Found {
            member: Member {
                pid: leader,
                start_ticks: 0,
            },
            in_group: true,
            halted: false,
            rss_bytes: 0,
        }],
        Err(_) => Vec::new(),
    };
    kinships.iter().map(|kinship| group(kinship.leader)).collect()
}

#[cfg(not(target_os = "linux"))]
pub(super) fn carries_token(_: i32, _: &str) -> bool {
    false
}

#[cfg(not(target_os = "linux"))]
pub(super) fn is_same(_: Member) -> bool {
    false
}

#[cfg(not(target_os = "linux"))]
fn start_ticks(_: i32) -> Option<u64> {
    None
}

#[cfg(not(target_os = "linux"))]
pub(super) fn birth(_: i32) -> Option<(u64, bool)> {
    None
}

#[cfg(not(target_os = "linux"))]
pub(super) fn token(_: i32) -> Option<String> {
    None
}

#[cfg(not(target_os = "linux"))]
pub(super) fn command_line(_: i32) -> String {
    String::new()
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
                headless: false,
                halted: false,
                group: 4200,
                session: 4100,
                start_ticks: 987_654,
                rss_pages: 2
            }
        );
        assert!(
            Stat::parse(&line.replace(" S ", " T "))
                .expect("a stat line")
                .halted
        );
        assert!(
            !Stat::parse(&line.replace(" S ", " Z "))
                .expect("a stat line")
                .alive
        );
        let headless = line.replace(" S ", " Z ").replace(" 20 0 1 ", " 20 0 3 ");
        let headless = Stat::parse(&headless).expect("a stat line");
        assert!(headless.alive && headless.headless);
        assert_eq!(Stat::parse("4242 (cut"), None);
        assert_eq!(Stat::parse("4242 (cut) S 1"), None);
    }
}
