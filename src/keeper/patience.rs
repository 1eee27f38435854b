//! How long the keeper waits before it starts another engine: not at all, unless one after the other hardly begins.

use std::time::{Duration, Instant};

/// An engine that served for so long was a good one.
const GOOD_SERVICE: Duration = Duration::from_millis(50);

/// So many engines in a row that are no good are bad luck: their successors are started at once.
const BAD_LUCK: u32 = 2;

/// The first pause; doubled with each further engine that is no good.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What the pause depends on.
#[derive(Debug, Default)]
pub(super) struct Patience {
    ready_at: Option<Instant>,
    short_lived: u32,
}

impl Patience {
    /// An engine serves.
    pub fn ready(&mut self, now: Instant) {
        self.ready_at = Some(now);
    }

    /// It went away: how long to wait for the next one.
    pub fn gone(&mut self, now: Instant) -> Duration {
        let served = self
            .ready_at
            .take()
            .map(|since| now.saturating_duration_since(since));
        match served {
            Some(served) if served >= GOOD_SERVICE => self.short_lived = 0,
            _ => self.short_lived += 1,
        }
        match self.short_lived {
            few if few <= BAD_LUCK => Duration::ZERO,
            many => (FIRST_PAUSE * (1 << (many - BAD_LUCK - 1).min(16))).min(LONGEST_PAUSE),
        }
    }

    /// How many engines in a row were no good.
    pub fn short_lived(&self) -> u32 {
        self.short_lived
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pauses_grow_and_a_good_engine_ends_them() {
        let mut patience = Patience::default();
        let start = Instant::now();
        let pauses: Vec<u128> = (0..9).map(|_| patience.gone(start).as_millis()).collect();
        assert_eq!(pauses, [0, 0, 100, 200, 400, 800, 1600, 3200, 5000]);
        patience.ready(start);
        assert_eq!(patience.gone(start + GOOD_SERVICE), Duration::ZERO);
        assert_eq!(patience.short_lived(), 0);
        for pause in [Duration::ZERO, Duration::ZERO, FIRST_PAUSE] {
            patience.ready(start);
            assert_eq!(patience.gone(start), pause);
        }
        for _ in 0..100 {
            patience.gone(start);
        }
        assert_eq!(patience.gone(start), LONGEST_PAUSE);
    }
}
