//! Idle upstream connections of one worker to one release: last in, first out, and none kept so long that the
//! upstream would close it just as a request arrives.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::time::Instant;

use super::upstream::Upstream;

/// Node closes idle connections after 5 s; ours end before that.
pub(super) const LONGEST_IDLE: Duration = Duration::from_secs(4);
/// A request that must not be sent twice takes only connections used this recently.
const FRESH_IDLE: Duration = Duration::from_secs(1);

/// The idle connections, the most recently used last.
#[derive(Debug, Default)]
pub(super) struct Pool {
    idle: RefCell<Vec<Idle>>,
    sweeping: Cell<bool>,
}

#[derive(Debug)]
struct Idle {
    upstream: Upstream,
    since: Instant,
}

/// What to do with an idle connection when a request asks for one.
#[derive(Debug, PartialEq, Eq)]
enum Choice {
    Use,
    /// Good for other requests, not for this one.
    Leave,
    Close,
}

impl Pool {
    /// One that was opened since the upstream last stopped.
    pub(super) fn take(&self, idempotent: bool, departures: usize, now: Instant) -> Option<Upstream> {
        let mut idle = self.idle.borrow_mut();
        while let Some(last) = idle.pop() {
            let unused = now.duration_since(last.since);
            match choose(
                unused,
                last.upstream.idle_limit(),
                last.upstream.departures != departures || last.upstream.is_closed(),
                idempotent,
            ) {
                Choice::Use => return Some(last.upstream),
                Choice::Close => {}
                Choice::Leave => {
                    idle.push(last);
                    return None;
                }
            }
        }
        None
    }

    pub(super) fn put(&self, upstream: Upstream, now: Instant) {
        if !upstream.idle_limit().is_zero() {
            self.idle.borrow_mut().push(Idle { upstream, since: now });
        }
    }

    pub(super) fn clear(&self) {
        self.idle.borrow_mut().clear();
    }

    /// Claims the duty to call [`Pool::sweep`] until it says that nothing is left; false when another has it.
    pub(super) fn start_sweeping(&self) -> bool {
        !self.sweeping.replace(true)
    }

    /// Closes what will have been idle too long at `horizon`, or was opened before the upstream last stopped;
    /// says whether anything is left.
    pub(super) fn sweep(&self, departures: usize, horizon: Instant) -> bool {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|entry| {
            let unused = horizon.duration_since(entry.since);
            let may_be_used = entry.upstream.departures == departures && !entry.upstream.is_closed();
            may_be_used && unused < entry.upstream.idle_limit()
        });
        self.sweeping.set(!idle.is_empty());
        !idle.is_empty()
    }
}

fn choose(unused: Duration, limit: Duration, closed: bool, idempotent: bool) -> Choice {
    if closed || unused >= limit {
        Choice::Close
    } else if idempotent || unused <= FRESH_IDLE {
        Choice::Use
    } else {
        Choice::Leave
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_depends_on_age_state_and_request() {
        let cases = [
            // idle ms, limit ms, closed, idempotent
            (0, 4000, false, true, Choice::Use),
            (0, 4000, false, false, Choice::Use),
            (1000, 4000, false, false, Choice::Use),
            (1001, 4000, false, false, Choice::Leave),
            (3999, 4000, false, true, Choice::Use),
            (4000, 4000, false, true, Choice::Close),
            (4000, 4000, false, false, Choice::Close),
            (1500, 1000, false, true, Choice::Close),
            (0, 4000, true, true, Choice::Close),
        ];
        for (idle_ms, limit_ms, closed, idempotent, expected) in cases {
            let (idle, limit) = (Duration::from_millis(idle_ms), Duration::from_millis(limit_ms));
            assert_eq!(
                choose(idle, limit, closed, idempotent),
                expected,
                "{idle_ms} {limit_ms} {closed} {idempotent}"
            );
        }
    }
}
