//! Which live processes belong to a child, read from /proc.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::DirEntryExt;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nix::unistd::{Pid, getpgid, getsid};

use super::stat::Stat;
use crate::host::Member;
use crate::host::members::{Found, Kinship};

/// The live members of each of `kinships`, in their order, found with one walk through /proc.
///
/// Every process on the machine costs two system calls that read nothing; only members cost a read. A process that stands
/// in no wanted group or session is asked for its token once in its life: a token is inherited, never taken on later.
pub(in crate::host) fn survey(kinships: &[&Kinship]) -> Vec<Vec<Found>> {
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
                None => token_once_settled(pid, &mut buffer)?,
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
static ACQUAINTANCES: Mutex<Acquaintances> = Mutex::new(Acquaintances::new());

type Acquaintances = BTreeMap<(i32, u64), Option<Vec<u8>>>;

/// The token a process carries in its environment, if any; nothing if it cannot be asked, at this moment or any more.
fn asked_for_token(pid: i32, buffer: &mut Vec<u8>) -> Option<Option<Vec<u8>>> {
    // Processes of other users cannot be read, and are none of ours.
    let mut environment = read(pid, "environ", buffer).unwrap_or(b"none");
    if matches!(environment, b"" | b"none")
        && let Some(thread) = other_thread(pid)
    {
        environment = read(pid, &format!("task/{thread}/environ"), buffer).unwrap_or(b"none");
    }
    if environment.is_empty() {
        // It has none at all; or it is in the middle of an exec, or has ended.
        return read_stat(pid, buffer)?.laid_out.then_some(None);
    }
    let mut variables = environment.split(|byte| *byte == 0);
    Some(
        variables
            .find_map(|variable| variable.strip_prefix(b"ROLLBRIDGE_INSTANCE="))
            .map(<[u8]>::to_vec),
    )
}

/// The same, but one in the middle of an exec is waited for a while, so that it is not taken for nobody's just when it is
/// looked for the last time. That takes microseconds, or as long as the machine is busy with others.
fn token_once_settled(pid: i32, buffer: &mut Vec<u8>) -> Option<Option<Vec<u8>>> {
    const PATIENCE: Duration = Duration::from_millis(100);
    let begun = Instant::now();
    loop {
        let token = asked_for_token(pid, buffer);
        let is_over = || !read_stat(pid, &mut Vec::new()).is_some_and(|stat| stat.alive);
        if token.is_some() || is_over() || begun.elapsed() > PATIENCE {
            return token;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Whether a member proves by itself that it belongs, once its leader may have been reaped by somebody else: by the token
/// in its environment.
pub(in crate::host) fn proves_itself(member: Member, kinship: &Kinship) -> bool {
    let found = asked_for_token(member.pid, &mut Vec::new()).flatten();
    found.is_some_and(|found| found == kinship.token.as_bytes()) && is_same(member)
}

/// Whether `member` is still the process it was when it was found.
pub(in crate::host) fn is_same(member: Member) -> bool {
    start_ticks(member.pid) == Some(member.start_ticks)
}

fn start_ticks(pid: i32) -> Option<u64> {
    read_stat(pid, &mut Vec::new()).map(|stat| stat.start_ticks)
}

/// When the process with this pid was started, in clock ticks since boot, and whether it is alive; zombies are not.
pub(in crate::host) fn birth(pid: i32) -> Option<(u64, bool)> {
    read_stat(pid, &mut Vec::new()).map(|stat| (stat.start_ticks, stat.alive))
}

/// The token that the process with this pid carries, if it can be read and there is one.
pub(in crate::host) fn token(pid: i32) -> Option<String> {
    let token = asked_for_token(pid, &mut Vec::new())??;
    String::from_utf8(token).ok().filter(|token| !token.is_empty())
}

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
fn other_thread(pid: i32) -> Option<i32> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    threads
        .flatten()
        .filter_map(|thread| thread.file_name().to_str()?.parse().ok())
        .find(|thread| *thread != pid)
}

/// Reads a file of a process into `buffer`, which is reused for the thousands of reads of a survey.
fn read<'a>(pid: i32, file: &str, buffer: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    buffer.clear();
    File::open(format!("/proc/{pid}/{file}"))
        .and_then(|mut file| file.read_to_end(buffer))
        .ok()?;
    Some(buffer)
}

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
pub(in crate::host) fn command_line(pid: i32) -> String {
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
