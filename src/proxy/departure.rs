//! The way out of a worker: while it is open, every connection that is not in the middle of a request leaves by it.
//!
//! Opening it costs connections nothing before: their tasks are woken through their slots and find it open.

use std::cell::RefCell;
use std::task::Poll;

use tokio::sync::mpsc::UnboundedSender;

use super::handed::Handed;

/// The way out; closed at first.
#[derive(Debug, Default)]
pub(super) struct Departure(RefCell<Option<UnboundedSender<Handed>>>);

impl Departure {
    /// Opens it. Whoever calls this wakes the connections.
    pub(super) fn open(&self, way: UnboundedSender<Handed>) {
        self.0.replace(Some(way));
    }

    /// Closes it: connections stay.
    pub(super) fn close(&self) {
        self.0.replace(None);
    }

    /// Whether connections leave. When nobody is at the other end any more they stay.
    pub(super) fn is_open(&self) -> bool {
        self.0.borrow().as_ref().is_some_and(|way| !way.is_closed())
    }

    /// Resolves when the way is open. The task must be one that is woken through its slot: this registers nowhere.
    pub(super) async fn opened(&self) {
        std::future::poll_fn(|_| {
            if self.is_open() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Lets a connection go.
    pub(super) fn take(&self, handed: Handed) {
        if let Some(way) = &*self.0.borrow() {
            // Nobody at the other end at this very moment: the connection is closed.
            let _ = way.send(handed);
        }
    }
}
