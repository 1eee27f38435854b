//! The successor's side: it comes up beside the owner, then takes its place.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{FromOwner, SuccessionError, ToOwner, is_exclusive};
use crate::config::ProcessDefinition;
use crate::daemon::Engine;
use crate::keeper::Handover;
use crate::proxy::Proxy;

/// The way of a daemon into another one's place.
#[derive(Debug)]
pub struct Succession {
    pub(super) way: Handover,
    /// The owner still has what there may be only one of.
    waits: AtomicBool,
}

impl Succession {
    /// Must be called inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// The socket to the owner cannot be used.
    pub fn new(way: OwnedFd) -> Result<Arc<Succession>, SuccessionError> {
        Ok(Arc::new(Succession {
            way: Handover::new(way)?,
            waits: AtomicBool::new(true),
        }))
    }

    async fn say_and_hear(&self, say: ToOwner) -> Result<FromOwner, SuccessionError> {
        let said = self.way.send(&say, &[]).await;
        said.map_err(|_| SuccessionError::OwnerGone)?;
        match self.way.receive::<FromOwner>().await {
            Ok(Some((answer, _))) => Ok(answer),
            _ => Err(SuccessionError::OwnerGone),
        }
    }
}

impl Engine {
    /// Whether this process must wait until the owner has stopped its own.
    pub(in crate::daemon) fn leaves_to_owner(&self, definition: &ProcessDefinition) -> bool {
        let succession = self.inner.succession.as_ref();
        succession.is_some_and(|succession| succession.waits.load(Ordering::SeqCst))
            && is_exclusive(definition)
    }

    /// Takes the owner's place, once the release is healthy. Does nothing in a daemon that succeeds nobody.
    ///
    /// # Errors
    ///
    /// It did not come to that, and the owner goes on: this daemon must end.
    pub async fn take_place(&self) -> Result<(), SuccessionError> {
        let Some(succession) = self.inner.succession.clone() else {
            return Ok(());
        };
        // A shutdown stops what would be started here, and finds nothing amiss with that.
        tokio::select! {
            biased;
            () = self.closing() => return Err(SuccessionError::Ended),
            ready = self.make_ready(&succession) => ready?,
        }
        if self.is_closing() {
            return Err(SuccessionError::Ended);
        }
        let FromOwner::Left { next_connection } = succession.say_and_hear(ToOwner::Done {}).await? else {
            return Err(SuccessionError::OwnerGone);
        };
        Proxy::number_from(next_connection);
        self.inner.proxy.take_back().await;
        let engine = self.clone();
        tokio::spawn(async move { engine.take_clients(&succession.way).await });
        Ok(())
    }

    /// All that comes before the owner may leave.
    async fn make_ready(&self, succession: &Succession) -> Result<(), SuccessionError> {
        let FromOwner::Stopped {} = succession.say_and_hear(ToOwner::Stop {}).await? else {
            return Err(SuccessionError::OwnerGone);
        };
        succession.waits.store(false, Ordering::SeqCst);
        self.start_exclusive().await.map_err(SuccessionError::NotStarted)
    }
}
