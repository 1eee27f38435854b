//! One at a time: deploys and rollbacks never overlap, and whoever must wait is served in order of arrival.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;

use crate::release::Release;

/// The operation that has the turn.
#[derive(Clone, Debug)]
pub struct Operation {
    /// What it is, for messages: `deploy of v2`.
    pub description: String,
    /// The release it starts, if it starts one.
    pub release_id: Option<String>,
    /// Cancels it; the reason is kept for its answer.
    cancel: Cancel,
}

/// A cancel button that remembers who pressed it first.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    token: CancellationToken,
    by: Arc<Mutex<Option<String>>>,
    /// Set once there is no way back: pressing changes nothing any more.
    expired: Arc<AtomicBool>,
    /// The very release that the operation starts or puts back, once there is one.
    release: Arc<Mutex<Option<Arc<Release>>>>,
}

impl Cancel {
    /// Cancels, on behalf of `by`.
    pub fn press(&self, by: &str) {
        self.by
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_with(|| by.to_owned());
        self.token.cancel();
    }

    /// Says which release the operation starts or puts back.
    pub fn concerns(&self, release: &Arc<Release>) {
        *self.release.lock().unwrap_or_else(PoisonError::into_inner) = Some(release.clone());
    }

    /// The release that the operation started or put back, if it came that far.
    pub fn release(&self) -> Option<Arc<Release>> {
        self.release
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Says that there is no way back from here on.
    pub fn expire(&self) {
        self.expired.store(true, Ordering::SeqCst);
    }

    /// Whether the operation went past the point where it could be cancelled.
    pub fn has_expired(&self) -> bool {
        self.expired.load(Ordering::SeqCst)
    }

    /// Waits until somebody cancels, and says who.
    pub async fn pressed(&self) -> String {
        self.token.cancelled().await;
        let by = self.by.lock().unwrap_or_else(PoisonError::into_inner);
        by.clone().unwrap_or_else(|| "an unknown hand".to_owned())
    }
}

/// The turn, and who has it.
#[derive(Debug, Default)]
pub struct Turn {
    queue: Arc<tokio::sync::Mutex<()>>,
    holder: Arc<Mutex<Option<Operation>>>,
}

/// Having the turn; dropping this passes it on.
#[derive(Debug)]
pub struct Held {
    /// Pressed when the operation is to end early.
    pub cancel: Cancel,
    holder: Arc<Mutex<Option<Operation>>>,
    _place: OwnedMutexGuard<()>,
}

impl Drop for Held {
    fn drop(&mut self) {
        *self.holder.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Held {
    /// Says which release the operation starts, once that is known.
    pub fn starts(&self, release_id: &str) {
        if let Some(operation) = &mut *self.holder.lock().unwrap_or_else(PoisonError::into_inner) {
            operation.release_id = Some(release_id.to_owned());
        }
    }
}

impl Turn {
    /// Waits for the turn. Dropping the future leaves the queue.
    pub async fn wait(&self, description: &str, release_id: Option<&str>) -> Held {
        let place = self.queue.clone().lock_owned().await;
        self.hold(place, description, release_id)
    }

    /// Takes the turn if it is free; else says who has it.
    pub fn take(&self, description: &str, release_id: Option<&str>) -> Result<Held, String> {
        match self.queue.clone().try_lock_owned() {
            Ok(place) => Ok(self.hold(place, description, release_id)),
            // Free again between the two looks: somebody is just taking it over.
            Err(_) => Err(self
                .holder()
                .map_or_else(|| "another operation".to_owned(), |holder| holder.description)),
        }
    }

    /// Cancels the operation that has the turn, if it starts `release_id` (or whatever it starts, given none); returns
    /// its button, if there is one.
    pub fn cancel(&self, release_id: Option<&str>, by: &str) -> Option<Cancel> {
        let holder = self.holder.lock().unwrap_or_else(PoisonError::into_inner);
        let is_meant =
            |operation: &&Operation| release_id.is_none_or(|id| operation.release_id.as_deref() == Some(id));
        let operation = holder.as_ref().filter(is_meant)?;
        operation.cancel.press(by);
        Some(operation.cancel.clone())
    }

    /// Who has the turn.
    pub fn holder(&self) -> Option<Operation> {
        self.holder.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn hold(&self, place: OwnedMutexGuard<()>, description: &str, release_id: Option<&str>) -> Held {
        let cancel = Cancel::default();
        *self.holder.lock().unwrap_or_else(PoisonError::into_inner) = Some(Operation {
            description: description.to_owned(),
            release_id: release_id.map(str::to_owned),
            cancel: cancel.clone(),
        });
        Held {
            cancel,
            holder: self.holder.clone(),
            _place: place,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn first_come_first_served_and_who_leaves_is_dropped() {
        let turn = Turn::default();
        let first = turn.take("deploy of v1", Some("v1")).expect("the turn is free");
        assert_eq!(
            turn.take("deploy of v2", None).map(|_| ()),
            Err("deploy of v1".to_owned())
        );
        let leaver = tokio::time::timeout(std::time::Duration::ZERO, turn.wait("left", None)).await;
        assert!(leaver.is_err());
        let (second, ()) = tokio::join!(turn.wait("deploy of v2", Some("v2")), async { drop(first) });
        assert_eq!(turn.holder().expect("it is held").description, "deploy of v2");
        drop(second);
        assert!(turn.holder().is_none());
    }

    #[tokio::test]
    async fn a_cancel_reaches_only_the_release_it_names() {
        let turn = Turn::default();
        let held = turn.take("deploy of v1", Some("v1")).expect("the turn is free");
        assert!(turn.cancel(Some("v2"), "stop").is_none());
        assert!(turn.cancel(Some("v1"), "stop").is_some());
        assert!(turn.cancel(None, "shutdown").is_some());
        assert_eq!(held.cancel.pressed().await, "stop");
    }
}
