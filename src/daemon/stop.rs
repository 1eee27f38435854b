//! Stopping one release; for the active one, its singletons with it. Services stay.

use std::sync::Arc;

use super::{Engine, EngineError};
use crate::events::Milestone;
use crate::process::ManagedProcess;
use crate::release::{Release, stop_all};

impl Engine {
    /// Stops the release with this id, or the active one; returns once nothing of it runs. Stopping what is stopped
    /// already, or with nothing active, is done at once. A stop of the release that is just being deployed cancels the
    /// deploy; any other waits until the deploy is through.
    pub async fn stop(&self, release_id: Option<&str>) -> Result<(), EngineError> {
        let cancel = release_id.and_then(|id| self.inner.turn.cancel(Some(id), "a stop of the release"));
        let description = release_id.map_or_else(|| "a stop".to_owned(), |id| format!("the stop of {id}"));
        let held = self.wait_for_turn(&description, None).await?;
        let (engine, id) = (self.clone(), release_id.map(str::to_owned));
        // Of a cancelled operation only the release it was about is meant, never another one of the same id.
        let cancelled = cancel
            .filter(|cancel| !cancel.has_expired())
            .map(|cancel| cancel.release());
        // Its own task: a client that leaves must not leave a half stopped release behind.
        let stopping = async move {
            let outcome = match cancelled {
                Some(release) => {
                    engine.stop_release(release).await;
                    Ok(())
                }
                None => engine.stop_now(id.as_deref()).await,
            };
            drop(held);
            outcome
        };
        match tokio::spawn(stopping).await {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    async fn stop_now(&self, release_id: Option<&str>) -> Result<(), EngineError> {
        let release = match release_id {
            None => self.book().active(),
            Some(id) => Some(self.find(id)?),
        };
        self.stop_release(release).await;
        Ok(())
    }

    async fn stop_release(&self, release: Option<Arc<Release>>) {
        let Some(release) = release.filter(|release| !release.phase().is_over()) else {
            return;
        };
        let release_id = release.key().id.clone();
        self.record(Milestone::StopRequested { release_id });
        let active = self.book().active();
        match active.is_some_and(|active| Arc::ptr_eq(&active, &release)) {
            true => self.stop_active(&release).await,
            false => release.stop().await,
        }
    }

    async fn stop_active(&self, release: &Arc<Release>) {
        self.inner.proxy.switch(None).await;
        {
            let mut book = self.book();
            book.active = None;
            self.note_book(&book);
        }
        self.record(Milestone::TrafficStopped {
            release_id: release.key().id.clone(),
        });
        let singletons: Vec<ManagedProcess> = self
            .book()
            .singletons
            .iter()
            .map(|singleton| singleton.process.clone())
            .collect();
        tokio::join!(release.stop(), stop_all(singletons.iter()));
    }

    fn find(&self, id: &str) -> Result<Arc<Release>, EngineError> {
        let book = self.book();
        book.find(id).ok_or_else(|| book.not_found(id))
    }
}
