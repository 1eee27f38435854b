//! Memory supervision: which measurement is worth telling, and which leads to a restart.
//!
//! [`Gauge`] decides and is pure; [`MemoryCheck`] is the clockwork around it for one running child.

use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Timestamp;
use crate::config::MemoryPolicy;
use crate::host::{BoxFuture, ChildId, Depth, ProcessHost, Usage};

/// What timers can tell apart.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(1);

/// Where the last measurement lay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing to say of it.
    #[default]
    Low,
    /// Above `warnBytes`.
    High,
    /// Above `limitBytes`.
    Excessive,
}

/// A line that was crossed upwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crossing {
    /// `warnBytes`.
    Warning,
    /// `limitBytes`.
    Limit,
}

/// Follows the measurements of one running child.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauge {
    level: Level,
}

impl Gauge {
    /// Takes in a measurement. Each line is told once per crossing: again only after it was fallen below.
    pub fn measured(&mut self, rss_bytes: u64, policy: &MemoryPolicy) -> Option<Crossing> {
        let before = self.level;
        self.level = match policy.warn_bytes {
            _ if rss_bytes > policy.limit_bytes => Level::Excessive,
            Some(warn_bytes) if rss_bytes > warn_bytes => Level::High,
            _ => Level::Low,
        };
        match self.level {
            Level::Excessive if before < Level::Excessive => Some(Crossing::Limit),
            Level::High if before < Level::High => Some(Crossing::Warning),
            _ => None,
        }
    }

    /// Where the last measurement lay.
    pub fn level(&self) -> Level {
        self.level
    }
}

/// The regular measurement of one running child.
pub(super) struct MemoryCheck {
    child: ChildId,
    /// What was measured so far.
    pub gauge: Gauge,
    interval: Duration,
    due: Instant,
    asked: Option<BoxFuture<'static, Usage>>,
}

impl MemoryCheck {
    /// A check of `child` every `interval`.
    pub fn begin(child: ChildId, interval: Duration) -> MemoryCheck {
        MemoryCheck {
            child,
            gauge: Gauge::default(),
            interval,
            due: Instant::now() + until_due(Timestamp::now(), interval),
            asked: None,
        }
    }

    /// How far apart the measurements are.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Waits for the next measurement and returns it. Giving up the wait loses nothing.
    pub async fn next(&mut self, host: &dyn ProcessHost) -> u64 {
        if self.asked.is_none() {
            tokio::time::sleep_until(self.due).await;
        }
        let asked = self
            .asked
            .get_or_insert_with(|| host.usage(self.child, Depth::Total));
        let usage = asked.await;
        self.asked = None;
        // In step with the others even after a pause, such as the machine's sleep.
        let now = Instant::now();
        while self.due <= now {
            self.due += self.interval.max(SHORTEST_INTERVAL);
        }
        usage.rss_bytes
    }
}

/// Checks happen when the wall clock is at a multiple of the interval: so all processes with the same one are due at the
/// same moment, and one look at the system serves them all.
fn until_due(now: Timestamp, interval: Duration) -> Duration {
    let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1);
    Duration::from_millis(interval_ms - now.as_ms() % interval_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(warn_bytes: Option<u64>) -> MemoryPolicy {
        MemoryPolicy {
            limit_bytes: 100,
            warn_bytes,
            check_interval: Duration::from_millis(5000),
        }
    }

    fn crossings(warn_bytes: Option<u64>, measured: &[u64]) -> Vec<Option<Crossing>> {
        let mut gauge = Gauge::default();
        measured
            .iter()
            .map(|bytes| gauge.measured(*bytes, &policy(warn_bytes)))
            .collect()
    }

    #[test]
    fn each_line_is_told_once_per_crossing() {
        const W: Option<Crossing> = Some(Crossing::Warning);
        const L: Option<Crossing> = Some(Crossing::Limit);
        type Steps = &'static [(u64, Option<Crossing>)];
        let table: &[(Option<u64>, Steps)] = &[
            (Some(50), &[(50, None), (51, W), (80, None), (50, None), (51, W)]),
            (
                Some(50),
                &[(100, W), (101, L), (200, None), (100, None), (101, L)],
            ),
            (Some(50), &[(500, L), (60, None), (40, None), (60, W)]),
            (None, &[(100, None), (101, L), (0, None), (101, L)]),
            // A warning above the limit never comes alone; the config warns of it.
            (Some(150), &[(120, L), (160, None), (90, None)]),
        ];
        for (warn_bytes, steps) in table {
            let measured: Vec<u64> = steps.iter().map(|(bytes, _)| *bytes).collect();
            let expected: Vec<_> = steps.iter().map(|(_, crossing)| *crossing).collect();
            assert_eq!(crossings(*warn_bytes, &measured), expected, "{steps:?}");
        }
    }

    #[test]
    fn the_level_follows_the_last_measurement() {
        let mut gauge = Gauge::default();
        for (bytes, level) in [
            (0, Level::Low),
            (101, Level::Excessive),
            (60, Level::High),
            (50, Level::Low),
        ] {
            gauge.measured(bytes, &policy(Some(50)));
            assert_eq!(gauge.level(), level);
        }
    }

    #[test]
    fn processes_with_the_same_interval_are_due_together() {
        let interval = Duration::from_millis(5000);
        for now in [0, 1, 4999, 5000, 12_345] {
            let wait = until_due(Timestamp::from_ms(now), interval);
            assert!(wait > Duration::ZERO && wait <= interval);
            assert_eq!((now + wait.as_millis() as u64) % 5000, 0);
        }
        assert_eq!(
            until_due(Timestamp::from_ms(7), Duration::ZERO),
            Duration::from_millis(1)
        );
    }
}
