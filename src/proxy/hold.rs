//! Holding requests while their upstream does not answer: how many at once, how long, and how often to try again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tokio::time::Instant;

use super::refusal::Refusal;
use super::target::Target;
use super::worker::Worker;

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// A connection attempt may take this long even when hardly any holding time is left.
const SHORTEST_CONNECT: Duration = Duration::from_secs(1);

/// The waiting places all workers share.
#[derive(Debug)]
pub(super) struct Holds {
    limit: AtomicUsize,
    held: AtomicUsize,
}

/// One taken place, free again when dropped.
#[derive(Debug)]
struct Held(Arc<Holds>);

/// The patience of one request. It takes a waiting place with the first failure and keeps it until it has an answer.
#[derive(Debug)]
pub(super) struct Patience {
    held: Option<(Held, Instant)>,
    pause: Duration,
    /// How long it has been held before, elsewhere.
    waited: Duration,
}

impl Holds {
    pub(super) fn new(limit: usize) -> Holds {
        Holds {
            limit: AtomicUsize::new(limit),
            held: AtomicUsize::new(0),
        }
    }

    pub(super) fn set_limit(&self, limit: usize) {
        self.limit.store(limit, SeqCst);
    }

    fn take(self: &Arc<Self>) -> Option<Held> {
        let held = Held(Arc::clone(self));
        // Counted first: on failure the guard takes it back.
        (self.held.fetch_add(1, SeqCst) < self.limit.load(SeqCst)).then_some(held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, SeqCst);
    }
}

impl Patience {
    /// That of a request which has been held for some time elsewhere.
    pub(super) fn after(waited: Duration) -> Patience {
        Patience {
            held: None,
            pause: FIRST_PAUSE,
            waited,
        }
    }

    /// How long the request has been held.
    pub(super) fn waited(&self, worker: &Worker) -> Duration {
        match &self.held {
            Some((_, deadline)) => {
                let left = deadline.saturating_duration_since(Instant::now());
                worker.settings().hold_timeout.saturating_sub(left)
            }
            None => self.waited,
        }
    }

    /// How long a connection attempt may take.
    pub(super) fn connect_limit(&self, worker: &Worker) -> Duration {
        let left = match &self.held {
            Some((_, deadline)) => deadline.saturating_duration_since(Instant::now()),
            None => worker.settings().hold_timeout.saturating_sub(self.waited),
        };
        left.max(SHORTEST_CONNECT)
    }

    /// Waits before the next try: a growing pause, or until the worker follows another route.
    ///
    /// # Errors
    /// When there is no point in trying again: the time is over, too many are waiting, or the upstream is given up.
    pub(super) async fn wait(&mut self, worker: &Worker, target: &Target) -> Result<(), Refusal> {
        if target.retired().is_sent() {
            return Ok(());
        }
        if target.connections().is_failed() {
            return Err(Refusal::Failed);
        }
        let deadline = self.hold(worker)?;
        let now = Instant::now();
        if now >= deadline {
            return Err(Refusal::Unreachable);
        }
        tokio::select! {
            () = tokio::time::sleep_until((now + self.pause).min(deadline)) => {
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                Ok(())
            }
            () = target.retired().sent() => {
                self.pause = FIRST_PAUSE;
                Ok(())
            }
            () = target.connections().failed() => Err(Refusal::Failed),
            () = target.closed().sent() => Err(Refusal::Closed),
        }
    }

    fn hold(&mut self, worker: &Worker) -> Result<Instant, Refusal> {
        if let Some((_, deadline)) = &self.held {
            return Ok(*deadline);
        }
        let timeout = worker.settings().hold_timeout;
        if timeout.is_zero() {
            return Err(Refusal::Unreachable);
        }
        let held = worker.holds().take().ok_or(Refusal::TooManyHeld)?;
        let deadline = Instant::now() + timeout.saturating_sub(self.waited);
        self.held = Some((held, deadline));
        Ok(deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_come_back() {
        let holds = Arc::new(Holds::new(2));
        let first = holds.take().unwrap();
        let second = holds.take().unwrap();
        assert!(holds.take().is_none());
        assert!(holds.take().is_none());
        drop(first);
        let third = holds.take().unwrap();
        assert!(holds.take().is_none());
        drop((second, third));
        assert_eq!(holds.held.load(SeqCst), 0);
    }
}
