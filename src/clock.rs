//! Wall-clock time as the core sees it: milliseconds since the Unix epoch, printed as RFC 3339.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

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
    pub fn from_ms(ms: u64) -> Timestamp {
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
    began: Timestamp,
    beginning: Instant,
}

impl SteadyClock {
    /// A clock that begins now.
    pub fn start() -> SteadyClock {
        SteadyClock {
            began: Timestamp::now(),
            beginning: Instant::now(),
        }
    }

    /// What it shows now.
    pub fn now(&self) -> Timestamp {
        self.began.plus(self.beginning.elapsed())
    }
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
    fn a_clock_that_went_backwards_gives_zero() {
        assert_eq!(Timestamp::from_ms(5).since(Timestamp::from_ms(9)), Duration::ZERO);
        assert_eq!(
            Timestamp::from_ms(9).since(Timestamp::from_ms(5)),
            Duration::from_millis(4)
        );
    }
}
