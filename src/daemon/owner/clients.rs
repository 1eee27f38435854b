//! Clients that come over from elsewhere: from the owner, or from an engine of this daemon that has retired.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use super::{FromOwner, Succession};
use crate::daemon::Engine;
use crate::keeper::Handover;
use crate::proxy::{Handed, Route, Stage};

/// The name by which the keeper holds the way to the owner, so that a next engine goes on with it.
pub const OWNER: &str = "owner";

/// Where the clients of a daemon go that has left; none if nobody took its place.
pub(in crate::daemon) type Onward = Option<Arc<Handover>>;

impl Succession {
    /// Another handle on the way to the owner.
    ///
    /// # Errors
    ///
    /// The system refuses one.
    pub fn handle(&self) -> std::io::Result<OwnedFd> {
        self.way.as_fd().try_clone_to_owned()
    }
}

impl Engine {
    /// Goes on with the clients of the owner whose place an engine before this one has taken.
    pub(in crate::daemon) fn go_on_with_owner(&self, way: Option<OwnedFd>) {
        // One that cannot be used is as good as gone.
        if let Some(way) = way.and_then(|way| Handover::new(way).ok()) {
            let engine = self.clone();
            tokio::spawn(async move { engine.take_clients(&way).await });
        }
    }

    /// Until the owner has ended.
    pub(super) async fn take_clients(&self, way: &Handover) {
        while let Ok(Some((message, descriptors))) = way.receive::<FromOwner>().await {
            if let (FromOwner::Client { state }, Some(client)) = (message, descriptors.into_iter().next()) {
                let handed = Handed {
                    state,
                    client,
                    upstream: None,
                };
                self.go_on_with_client(handed, None).await;
            }
        }
        self.inner.host.let_go(OWNER.to_owned());
    }

    /// Goes on with a connection that another proxy has given up, or passes it on where this daemon has left by now.
    pub(in crate::daemon) async fn go_on_with_client(&self, handed: Handed, route: Option<Route>) {
        match self.inner.onward.get() {
            Some(onward) if !matches!(handed.state.stage, Stage::Tunnel(_)) => {
                pass_on(handed, onward.as_deref()).await;
            }
            _ => self.inner.proxy.adopt(handed, route),
        }
    }
}

/// Gives a client to the successor; without one its connection is closed.
pub(super) async fn pass_on(handed: Handed, onward: Option<&Handover>) {
    let Handed { state, client, .. } = handed;
    if let Some(way) = onward {
        // A successor that has ended takes nobody, and its clients see a closed connection.
        let _ = way.send(&FromOwner::Client { state }, &[client]).await;
    }
}
