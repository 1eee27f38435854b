//! What the processes that belong together are known by. Which of them live, the platform finds out.

use super::{Member, platform};

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
pub(in crate::host) struct Found {
    pub member: Member,
    /// A signal to the group reaches it.
    pub in_group: bool,
    /// It was halted by a signal such as SIGSTOP, and acts on nothing but SIGKILL until it is continued.
    pub halted: bool,
    /// The memory it holds, in bytes.
    pub rss_bytes: u64,
}

/// The live members of one child.
pub(in crate::host) fn scan(kinship: &Kinship) -> Vec<Found> {
    platform::survey(&[kinship]).pop().unwrap_or_default()
}
