//! What retired engines still have open, asked of each of them while it is there.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::{Engine, ReleaseConnection};

/// How long an engine that has retired may take to answer. One of an older version may not know the question.
const LONGEST_LOOK: Duration = Duration::from_secs(1);

/// A question to a retired engine.
#[derive(Debug)]
pub(super) struct Question {
    /// Cut this connection.
    pub close: Option<u64>,
    /// What is open there, with what was just cut.
    pub answer: oneshot::Sender<Vec<ReleaseConnection>>,
}

/// The ways to the retired engines that are still there, by the names of their sockets.
#[derive(Debug, Default)]
pub(super) struct Elsewhere(Mutex<BTreeMap<String, mpsc::UnboundedSender<Question>>>);

impl Elsewhere {
    /// One more; what is asked of it comes out of the receiver.
    pub fn add(&self, name: &str) -> mpsc::UnboundedReceiver<Question> {
        let (way, questions) = mpsc::unbounded_channel();
        self.ways().insert(name.to_owned(), way);
        questions
    }

    /// It is gone.
    pub fn remove(&self, name: &str) {
        self.ways().remove(name);
    }

    fn ways(&self) -> MutexGuard<'_, BTreeMap<String, mpsc::UnboundedSender<Question>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// What is open in retired engines. With `close`, the connection of this number is cut there, and the only one told of.
    pub(super) async fn connections_elsewhere(&self, close: Option<u64>) -> Vec<ReleaseConnection> {
        // All are asked before the first answer is waited for.
        let answers: Vec<_> = self
            .inner
            .elsewhere
            .ways()
            .values()
            .map(|way| {
                let (answer, answered) = oneshot::channel();
                // One that has just gone has nothing open.
                let _ = way.send(Question { close, answer });
                answered
            })
            .collect();
        let mut open = Vec::new();
        for answered in answers {
            if let Ok(Ok(there)) = tokio::time::timeout(LONGEST_LOOK, answered).await {
                open.extend(there);
            }
        }
        open
    }
}
