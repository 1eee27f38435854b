//! Waiting for conditions instead of for time.

use std::time::{Duration, Instant};

/// Nothing on a working machine, however busy, takes this long; a test that waits longer has failed.
pub const PATIENCE: Duration = Duration::from_secs(90);

const LOOK: Duration = Duration::from_millis(5);

/// Returns once the condition holds.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}

/// Returns what the condition found once it finds something.
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "never happened: {what}");
        std::thread::sleep(LOOK);
    }
}
