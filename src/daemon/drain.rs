//! What follows when a release is over: its ports are free again, and old ones are forgotten.

use std::sync::Arc;
use std::time::Duration;

use super::{Book, Engine};
use crate::clock::Timestamp;
use crate::config::Retention;
use crate::release::Release;
use crate::release::lifecycle::Phase;
use crate::release::retention::forgotten;

impl Engine {
    /// Waits in the background until nothing of `release` runs, then gives back its ports and applies the retention: at
    /// once, and again when the release has become too old.
    pub(super) fn follow_to_its_end(&self, release: &Arc<Release>) {
        let (engine, release) = (self.clone(), release.clone());
        let ports = release.blueprint().reserved.clone();
        tokio::spawn(async move {
            release.wait_until_over().await;
            drop(release);
            engine.book().ports.release(ports);
            engine.forget_old_releases();
            let Some(max_age) = engine.config().release_retention.max_age else {
                return;
            };
            // Ages are told in whole milliseconds: one more, and it is older.
            tokio::select! {
                () = tokio::time::sleep(max_age + Duration::from_millis(1)) => engine.forget_old_releases(),
                () = engine.closing() => {}
            }
        });
    }

    fn forget_old_releases(&self) {
        let retention = self.config().release_retention.clone();
        let mut book = self.book();
        book.forget_old_releases(&retention, Timestamp::now());
        self.note_book(&book);
    }
}

impl Book {
    /// Only stopped releases are ever forgotten here; failed ones stay until the next deploy.
    fn forget_old_releases(&mut self, retention: &Retention, now: Timestamp) {
        let stopped: Vec<Arc<Release>> = self
            .releases
            .iter()
            .filter(|release| release.phase() == Phase::Stopped)
            .cloned()
            .collect();
        let times: Vec<Timestamp> = stopped
            .iter()
            .filter_map(|release| release.life().stopped_at())
            .collect();
        let old: Vec<Arc<Release>> = forgotten(&times, retention, now)
            .into_iter()
            .map(|position| stopped[position].clone())
            .collect();
        self.releases
            .retain(|release| !old.iter().any(|old| Arc::ptr_eq(old, release)));
        let releases = &self.releases;
        self.activations
            .retain(|key| releases.iter().any(|release| release.key() == key));
    }
}
