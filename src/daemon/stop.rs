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
        let cancelled =
            release_id.is_some_and(|id| self.inner.turn.cancel(Some(id), "a stop of the release"));
        let description = release_id.map_or_else(|| "a stop".to_owned(), |id| format!("the stop of {id}"));
        // Its own task: a client that leaves must not leave a half stopped release behind.
        let held = self.inner.turn.wait(&description, None).await;
        let (engine, id) = (self.clone(), release_id.map(str::to_owned));
        let stopping = async move {
            let outcome = engine.stop_now(id.as_deref(), cancelled).await;
            drop(held);
            outcome
        };
        match tokio::spawn(stopping).await {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    /// `cancelled`: a deploy of that id was cancelled, so its instance is meant and no earlier one that still serves.
    async fn stop_now(&self, release_id: Option<&str>, cancelled: bool) -> Result<(), EngineError> {
        let active = self.book().active();
        let release = match release_id {
            None => active.clone(),
            Some(id) if cancelled => self.book().newest(id),
            Some(id) => Some(self.find(id)?),
        };
        let Some(release) = release.filter(|release| !release.phase().is_over()) else {
            return Ok(());
        };
        let release_id = release.key().id.clone();
        self.record(Milestone::StopRequested { release_id });
        match active.is_some_and(|active| Arc::ptr_eq(&active, &release)) {
            true => self.stop_active(&release).await,
            false => release.stop().await,
        }
        Ok(())
    }

    async fn stop_active(&self, release: &Arc<Release>) {
        self.inner.proxy.switch(None).await;
        self.book().active = None;
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
