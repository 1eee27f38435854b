//! A process that was started by a daemon that is gone, with everything that belongs to it.
//!
//! Nobody holds its pid for us any more, so nothing is signalled that is not known by its start time.

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, getpgid};

use super::members::{Found, Kinship, scan};
use super::platform::{is_same, token};
use super::{Member, ProcessIdentity, SignalError};

/// Stands for a leader where only the token may decide: no group has this number.
const NO_LEADER: i32 = -1;

/// Stands for a token where the leader carries none.
const NO_TOKEN: &str = "\u{0}";

/// A leader without a daemon, and its members.
#[derive(Debug)]
pub struct Orphan {
    kinship: Kinship,
    /// Its members at the last look. As long as one of them lives, the group's number cannot belong to anybody else.
    known: Vec<Member>,
}

impl Orphan {
    /// The orphan whose leader this is; none if that very process is not alive.
    pub fn find(leader: &ProcessIdentity) -> Option<Orphan> {
        let kinship = Kinship {
            leader: leader.pid,
            token: token(leader.pid).unwrap_or_else(|| NO_TOKEN.to_owned()),
        };
        let known = vec![Member {
            pid: leader.pid,
            start_ticks: leader.start_ticks,
        }];
        leader.is_alive().then_some(Orphan { kinship, known })
    }

    /// Whether nothing of it lives any more.
    pub fn is_gone(&mut self) -> bool {
        self.look().is_empty()
    }

    /// Sends a signal to every live member, and has those that are halted go on.
    pub fn signal(&mut self, signal: Signal) -> Result<(), SignalError> {
        let found = self.look();
        let mut outcome = Ok(());
        let mut note = |pid: i32, sent: Result<(), Errno>| {
            if let Err(errno) = sent
                && errno != Errno::ESRCH
            {
                outcome = Err(SignalError {
                    signal,
                    pid,
                    source: errno.into(),
                });
            }
        };
        let leader = Pid::from_raw(self.kinship.leader);
        let holds_group =
            |member: Member| is_same(member) && getpgid(Some(Pid::from_raw(member.pid))) == Ok(leader);
        // One call for the whole group, so that no fork slips through, while a member is seen to hold the group's number.
        if found
            .iter()
            .any(|found| found.in_group && holds_group(found.member))
        {
            note(self.kinship.leader, killpg(leader, signal));
        }
        for found in &found {
            let pid = Pid::from_raw(found.member.pid);
            if !found.in_group && is_same(found.member) {
                note(found.member.pid, kill(pid, signal));
            }
            if found.halted && signal != Signal::SIGKILL && is_same(found.member) {
                note(found.member.pid, kill(pid, Signal::SIGCONT));
            }
        }
        outcome
    }

    fn look(&mut self) -> Vec<Found> {
        let found = scan(&self.kinship);
        let is_held = |found: &Found| self.known.contains(&found.member);
        let found = match found.iter().any(is_held) {
            true => found,
            // Whoever was known is gone. What carries the token is ours all the same; a group of this number may not be.
            false => scan(&Kinship {
                leader: NO_LEADER,
                token: self.kinship.token.clone(),
            }),
        };
        self.known = found.iter().map(|found| found.member).collect();
        found
    }
}
