//! Time as the core sees it: of the wall clock, for people, and of a clock that never jumps, for measuring.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// A point in wall-clock time, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(u64);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Timestamp = Timestamp(0);

    /// The present moment; a clock set before 1970 reads as the epoch.
    pub fn now() -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }

    /// The moment `ms` milliseconds after the Unix epoch.
    pub const fn from_ms(ms: u64) -> Timestamp {
        Timestamp(ms)
    }

    /// Milliseconds since the Unix epoch.
    pub fn as_ms(self) -> u64 {
        self.0
    }

    /// This moment and `duration` later.
    pub fn plus(self, duration: Duration) -> Timestamp {
        Timestamp(
            self.0
                .saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    /// This moment and `duration` earlier; not before the epoch.
    pub fn minus(self, duration: Duration) -> Timestamp {
        Timestamp(
            self.0
                .saturating_sub(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    /// How long after `earlier` this is; zero when the clock went backwards.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// RFC 3339 in UTC with milliseconds: `2026-05-21T07:30:00.123Z`.
    pub fn to_rfc3339(self) -> String {
        humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(self.0)).to_string()
    }

    /// Reads what [`Timestamp::to_rfc3339`] prints.
    pub fn parse(text: &str) -> Option<Timestamp> {
        let time = humantime::parse_rfc3339(text).ok()?;
        let since_epoch = time.duration_since(UNIX_EPOCH).ok()?;
        u64::try_from(since_epoch.as_millis()).ok().map(Timestamp)
    }

    /// The digits of the UTC time, `YYYYMMDDHHMMSSmmm`: the id of a release that was given none.
    pub fn to_release_id(self) -> String {
        self.to_rfc3339().chars().filter(char::is_ascii_digit).collect()
    }
}

/// Time for measuring: begins at the wall-clock time of its making and then never jumps, whatever is done to the system's
/// clock. Follows the runtime's clock, also a paused one.
#[derive(Clone, Copy, Debug)]
pub struct SteadyClock {
    setting: ClockSetting,
    beginning: Instant,
}

/// What another process on this machine needs to have a [`SteadyClock`] that shows the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockSetting {
    /// What the clock showed when it began.
    shown: Timestamp,
    /// What the system's monotonic clock, the same one for all processes since the boot, showed then.
    monotonic_ms: u64,
}

impl SteadyClock {
    /// A clock that begins now.
    pub fn start() -> SteadyClock {
        SteadyClock {
            setting: ClockSetting {
                shown: Timestamp::now(),
                monotonic_ms: monotonic_ms(),
            },
            beginning: Instant::now(),
        }
    }

    /// The clock that another process had, going on.
    pub fn go_on(setting: ClockSetting) -> SteadyClock {
        let monotonic_ms = monotonic_ms();
        let since = Duration::from_millis(monotonic_ms.saturating_sub(setting.monotonic_ms));
        SteadyClock {
            setting: ClockSetting {
                shown: setting.shown.plus(since),
                monotonic_ms,
            },
            beginning: Instant::now(),
        }
    }

    /// What makes the same clock in another process.
    pub fn setting(&self) -> ClockSetting {
        self.setting
    }

    /// What it shows now.
    pub fn now(&self) -> Timestamp {
        self.setting.shown.plus(self.beginning.elapsed())
    }

    /// This moment by both clocks.
    pub fn moment(&self) -> Moment {
        Moment {
            wall: Timestamp::now(),
            steady: self.now(),
        }
    }

    /// When it will show `at`; what is over counts as now.
    pub fn instant(&self, at: Timestamp) -> Instant {
        Instant::now() + at.since(self.now())
    }
}

/// One moment by two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// For people.
    pub wall: Timestamp,
    /// For measuring: by a [`SteadyClock`].
    pub steady: Timestamp,
}

/// What the clock shows that [`Instant`] goes by.
fn monotonic_ms() -> u64 {
    // Every system this is built for has this clock.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| {
        u64::try_from(Duration::from(time).as_millis()).unwrap_or(u64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_a_known_moment() {
        let moment = Timestamp::from_ms(1_779_348_600_123);
        assert_eq!(moment.to_rfc3339(), "2026-05-21T07:30:00.123Z");
        assert_eq!(moment.to_release_id(), "20260521073000123");
        assert_eq!(Timestamp::parse("2026-05-21T07:30:00.123Z"), Some(moment));
        assert_eq!(Timestamp::parse("yesterday"), None);
    }

    #[test]
    fn a_steady_clock_goes_on_in_another_process_whatever_the_wall_clock_shows() {
        let began = ClockSetting {
            shown: Timestamp::from_ms(1000),
            monotonic_ms: monotonic_ms() - 500,
        };
        let next = SteadyClock::go_on(began);
        let shown = next.now().as_ms();
        assert!((1500..60_000).contains(&shown), "{shown}");
        let third = SteadyClock::go_on(next.setting());
        assert!(third.now() >= next.setting().shown);
        assert!(next.moment().wall.as_ms() > 1_000_000_000_000);
    }

    #[test]
    fn a_clock_that_went_backwards_gives_zero() {
        assert_eq!(Timestamp::from_ms(5).since(Timestamp::from_ms(9)), Duration::ZERO);
        assert_eq!(
            Timestamp::from_ms(9).since(Timestamp::from_ms(5)),
            Duration::from_millis(4)
        );
    }
}
