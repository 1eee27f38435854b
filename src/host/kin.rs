//! Signalling, listing and reaping the processes that belong together.
//!
//! A leader that ended stays a zombie until it is reaped: so its pid, which names the group and the session, cannot be
//! given to a stranger while somebody may still signal it.
#![allow(
    unsafe_code,
    reason = "the system's own answer about a child has no safe wrapper that knows every signal"
)]

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use super::members::scan;
use super::platform::{birth, children, is_same, proves_itself, token};
use super::{Exit, Kinship, Member, SignalError};

/// Sends a signal to every live member, and has those that are halted (SIGSTOP) go on. The leader must not be reaped yet.
pub fn signal(kinship: &Kinship, signal: Signal) -> Result<(), SignalError> {
    // One call for the whole group, so that no fork slips through; the leader's zombie keeps the group's id ours.
    let outcome = match killpg(Pid::from_raw(kinship.leader), signal) {
        // Nobody left, or (macOS) only zombies.
        Err(Errno::ESRCH | Errno::EPERM) | Ok(()) => Ok(()),
        Err(errno) => Err(SignalError {
            signal,
            pid: kinship.leader,
            source: errno.into(),
        }),
    };
    for found in scan(kinship) {
        if !found.in_group && is_same(found.member) {
            // Gone meanwhile, or no longer ours to signal: either way there is nothing to do about it here.
            let _ = kill(Pid::from_raw(found.member.pid), signal);
        }
        if found.halted && signal != Signal::SIGKILL && is_same(found.member) {
            let _ = kill(Pid::from_raw(found.member.pid), Signal::SIGCONT);
        }
    }
    outcome
}

/// The live members.
pub fn members(kinship: &Kinship) -> Vec<Member> {
    scan(kinship).into_iter().map(|found| found.member).collect()
}

/// The live members that prove to belong: all that may be signalled once the leader may have been reaped by somebody else,
/// and its number given to a stranger.
pub fn proven_members(kinship: &Kinship) -> Vec<Member> {
    let mut members = members(kinship);
    members.retain(|member| proves_itself(*member, kinship));
    members
}

/// Reaps the children that were left to this single-threaded process because their own parents had ended: all that have
/// ended but `known`, which are reaped elsewhere.
pub fn reap_strays(known: &[i32]) {
    let own = nix::unistd::getpid().as_raw();
    let children = children(own).into_iter();
    children.filter(|pid| !known.contains(pid)).for_each(reap);
}

/// The live children of the process `parent` whose pid is not in `known` and that carry none of `tokens`: left to it by
/// parents that ended.
pub fn strays(parent: i32, known: &[i32], tokens: &[&str]) -> Vec<Member> {
    let unknown = children(parent).into_iter().filter(|pid| !known.contains(pid));
    let is_ours = |pid: i32| token(pid).is_some_and(|found| tokens.contains(&found.as_str()));
    unknown
        .filter(|pid| !is_ours(*pid))
        .filter_map(|pid| match birth(pid)? {
            (start_ticks, true) => Some(Member { pid, start_ticks }),
            (_, false) => None,
        })
        .collect()
}

/// Sends a signal to one member, if it is still the process that was found.
pub fn signal_one(member: Member, signal: Signal) {
    if is_same(member) {
        // Gone meanwhile, or no longer ours to signal: either way there is nothing to do about it here.
        let _ = kill(Pid::from_raw(member.pid), signal);
    }
}

/// How the child `pid` of this process ended, if it has; it stays a zombie.
pub fn exit_of(pid: i32) -> Option<Exit> {
    let id = libc::id_t::try_from(pid).ok()?;
    let flags = libc::WEXITED | libc::WNOWAIT | libc::WNOHANG;
    loop {
        // Asked without the wrapper of `nix`, which knows no real-time signals.
        // SAFETY: the structure is made of numbers, for which zero is a value; the system only writes into it.
        let (result, found) = unsafe {
            let mut found: libc::siginfo_t = std::mem::zeroed();
            (libc::waitid(libc::P_PID, id, &raw mut found, flags), found)
        };
        if result != 0 {
            match Errno::last() {
                Errno::EINTR => continue,
                // Somebody else has reaped it.
                _ => return Some(Exit::Unknown),
            }
        }
        // SAFETY: the system has filled it in for a child, or left it zero.
        let (pid, status) = unsafe { (found.si_pid(), found.si_status()) };
        return match found.si_code {
            _ if pid == 0 => None,
            libc::CLD_EXITED => Some(Exit::Code(status)),
            libc::CLD_KILLED | libc::CLD_DUMPED => Some(Exit::Signal(status)),
            _ => None,
        };
    }
}

/// Reaps the child `pid` of this process, if it has ended; a live one is left alone.
pub fn reap(pid: i32) {
    // Of an error there is nothing to learn: there is no such child, so it needs no reaping.
    let _ = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
}
