//! The end: a deploy under way is cancelled and undone, every process stopped, the proxy closed.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::Engine;
use crate::events::Milestone;
use crate::process::ManagedProcess;
use crate::release::{Release, stop_all};

impl Engine {
    /// Shuts down; returns once nothing runs any more. Whoever asks again shares the one shutdown.
    pub async fn shutdown(&self) {
        if !self.inner.closing.is_cancelled() {
            self.record(Milestone::ShutdownStarting {});
            self.begin_shutdown();
        }
        let mut closed = self.inner.closed.subscribe();
        // The sender lives in this very engine.
        let _ = closed.wait_for(|closed| *closed).await;
    }

    /// Nothing new from this very moment on; what runs is stopped in the background.
    pub(super) fn begin_shutdown(&self) {
        self.inner.closing.cancel();
        self.note_book(&self.book());
        let engine = self.clone();
        tokio::spawn(async move { engine.stop_everything().await });
    }

    async fn stop_everything(&self) {
        // A deploy before its switch undoes itself; whatever else has the turn finds its processes being stopped.
        let _ = self.inner.turn.cancel(None, "a shutdown");
        self.inner.proxy.switch(None).await;
        self.stop_all_processes().await;
        let _held = self.inner.turn.wait("the shutdown", None).await;
        // Once more, for what was started meanwhile.
        self.inner.proxy.switch(None).await;
        self.stop_all_processes().await;
        self.stop_strays().await;
        self.inner.proxy.shutdown().await;
        if let Some(state) = self.inner.state.get() {
            state.conclude().await;
        }
        self.record(Milestone::ShutdownFinished {});
        self.inner.closed.send_replace(true);
    }

    async fn stop_all_processes(&self) {
        let (releases, standing) = {
            let mut book = self.book();
            book.active = None;
            let standing = book.services.iter().chain(&book.singletons);
            let standing: Vec<ManagedProcess> = standing.map(|standing| standing.process.clone()).collect();
            (book.releases.clone(), standing)
        };
        tokio::join!(stop_releases(releases), stop_all(standing.iter()));
    }
}

async fn stop_releases(releases: Vec<Arc<Release>>) {
    let mut stopping = JoinSet::new();
    for release in releases.into_iter().filter(|release| !release.phase().is_over()) {
        stopping.spawn(async move { release.stop().await });
    }
    while stopping.join_next().await.is_some() {}
}
