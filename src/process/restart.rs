//! The restart policy: whether a process that ended by itself is started again, and after how long.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::config::RestartPolicy;

/// An uptime of at least this long forgives earlier crashes.
const FORGIVING_UPTIME: Duration = Duration::from_secs(60);

/// So does an uptime of this many times the last delay, if that is longer.
const FORGIVING_DELAYS: u32 = 10;

/// What the policy says of a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Start it again after this long.
    RestartAfter(Duration),
    /// The budget is used up.
    GiveUp,
}

/// The crashes of one process, as far as the policy needs them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RestartBook {
    /// When it was restarted after a crash, within the window.
    restarts: VecDeque<Timestamp>,
    /// Restarts since the back-off last started anew.
    streak: VecDeque<Timestamp>,
    last_delay: Duration,
}

impl RestartBook {
    /// Records a crash at `now` after `uptime` and decides.
    pub fn crashed(
        &mut self,
        policy: &RestartPolicy,
        restart_delay: Duration,
        uptime: Duration,
        now: Timestamp,
    ) -> Verdict {
        if let Some(window) = policy.window {
            let recent = |at: &Timestamp| now.since(*at) < window;
            self.restarts.retain(recent);
            self.streak.retain(recent);
        }
        if uptime >= FORGIVING_UPTIME.max(self.last_delay * FORGIVING_DELAYS) {
            self.streak.clear();
        }
        if policy
            .max_restarts
            .is_some_and(|most| self.restarts.len() >= most as usize)
        {
            return Verdict::GiveUp;
        }
        let exponent = i32::try_from(self.streak.len()).unwrap_or(i32::MAX);
        let delay = scaled(restart_delay, policy.backoff_factor.powi(exponent));
        let delay = policy.max_delay.map_or(delay, |most| delay.min(most));
        self.last_delay = delay;
        self.streak.push_back(now);
        self.restarts.push_back(now);
        self.bound(policy);
        Verdict::RestartAfter(delay)
    }

    /// Forgets every crash, as a restart by hand does.
    pub fn clear(&mut self) {
        *self = RestartBook::default();
    }

    /// A process that crashes for ever must not cost memory for ever: more than the budget need not be counted, and
    /// any back-off has reached its cap long before.
    fn bound(&mut self, policy: &RestartPolicy) {
        const ENOUGH: usize = 1000;
        let most = policy
            .max_restarts
            .map_or(ENOUGH, |budget| ENOUGH.max(budget as usize));
        if self.restarts.len() > most {
            self.restarts.pop_front();
        }
        if self.streak.len() > most {
            self.streak.pop_front();
        }
    }
}

/// `duration × factor`, at most a year: a back-off without a cap must not overflow.
fn scaled(duration: Duration, factor: f64) -> Duration {
    const YEAR_SECONDS: f64 = 365.0 * 24.0 * 3600.0;
    Duration::from_secs_f64((duration.as_secs_f64() * factor).clamp(0.0, YEAR_SECONDS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(max_restarts: Option<u32>, window_ms: u64, factor: f64, max_delay_ms: u64) -> RestartPolicy {
        let some = |ms: u64| (ms > 0).then(|| Duration::from_millis(ms));
        RestartPolicy {
            max_restarts,
            window: some(window_ms),
            backoff_factor: factor,
            max_delay: some(max_delay_ms),
        }
    }

    /// Delays in milliseconds of crashes that come `gap_ms` apart, each after `uptime_ms`.
    fn delays(policy: &RestartPolicy, gap_ms: u64, uptime_ms: u64, crashes: u64) -> Vec<Option<u128>> {
        let mut book = RestartBook::default();
        (1..=crashes)
            .map(|number| {
                let now = Timestamp::from_ms(number * gap_ms);
                match book.crashed(
                    policy,
                    Duration::from_millis(100),
                    Duration::from_millis(uptime_ms),
                    now,
                ) {
                    Verdict::RestartAfter(delay) => Some(delay.as_millis()),
                    Verdict::GiveUp => None,
                }
            })
            .collect()
    }

    #[test]
    fn without_a_block_it_restarts_for_ever_at_the_same_pace() {
        assert_eq!(delays(&policy(None, 0, 1.0, 0), 1, 0, 4), [Some(100); 4]);
    }

    #[test]
    fn backs_off_up_to_the_cap() {
        let expected = [Some(100), Some(150), Some(225), Some(300), Some(300)];
        assert_eq!(delays(&policy(None, 0, 1.5, 300), 1, 0, 5), expected);
    }

    #[test]
    fn gives_up_when_the_budget_is_used_up() {
        assert_eq!(
            delays(&policy(Some(2), 0, 1.0, 0), 1, 0, 3),
            [Some(100), Some(100), None]
        );
        assert_eq!(delays(&policy(Some(0), 0, 1.0, 0), 1, 0, 1), [None]);
    }

    #[test]
    fn the_window_forgets_old_restarts() {
        assert_eq!(
            delays(&policy(Some(2), 50, 2.0, 0), 30, 0, 4),
            [Some(100), Some(200), Some(200), Some(200)]
        );
    }

    #[test]
    fn a_long_uptime_starts_the_back_off_anew_but_not_the_budget() {
        assert_eq!(
            delays(&policy(Some(2), 0, 2.0, 0), 1, 60_000, 3),
            [Some(100), Some(100), None]
        );
        assert_eq!(
            delays(&policy(None, 0, 2.0, 0), 1, 59_999, 2),
            [Some(100), Some(200)]
        );
    }

    #[test]
    fn an_unbounded_back_off_does_not_overflow() {
        assert!(
            delays(&policy(None, 0, 1000.0, 0), 1, 0, 500)
                .iter()
                .all(Option::is_some)
        );
    }

    #[test]
    fn a_restart_by_hand_clears_both_counts() {
        let limited = policy(Some(1), 0, 2.0, 0);
        let mut book = RestartBook::default();
        let crash = |book: &mut RestartBook| {
            book.crashed(
                &limited,
                Duration::from_millis(100),
                Duration::ZERO,
                Timestamp::from_ms(1),
            )
        };
        assert_eq!(
            crash(&mut book),
            Verdict::RestartAfter(Duration::from_millis(100))
        );
        assert_eq!(crash(&mut book), Verdict::GiveUp);
        book.clear();
        assert_eq!(
            crash(&mut book),
            Verdict::RestartAfter(Duration::from_millis(100))
        );
    }
}
