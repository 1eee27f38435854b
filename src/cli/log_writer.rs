//! The daemon's log: each event a JSON line on stdout. A closed or blocked stdout never holds the daemon up.

use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TrySendError, sync_channel};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::control::wire;
use crate::events::Event;
use crate::host::{BoxFuture, Estate, ProcessHost, note_of};

/// The key of the note that tells how many events have been written.
const LOGGED_KEY: &str = "logged";

/// How many lines may wait for a slow stdout; further ones are lost to it (not to `rollbridge events`).
const WAITING_LINES: usize = 10_000;

/// How long the last lines may take at the end.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Writes events on a thread of its own, each once it is safe from the end of this engine.
pub(super) struct LogWriter {
    host: Arc<dyn ProcessHost>,
    /// None is the end.
    waiting: mpsc::UnboundedSender<Option<(Arc<Event>, BoxFuture<'static, ()>)>>,
    done: Receiver<()>,
}

impl LogWriter {
    /// Starts the thread. Must be called inside a tokio runtime.
    pub fn start(host: Arc<dyn ProcessHost>) -> std::io::Result<LogWriter> {
        let (lines, to_be_written) = sync_channel::<Arc<Event>>(WAITING_LINES);
        let (finished, done) = sync_channel(1);
        let notes = host.clone();
        std::thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || {
                while let Ok(event) = to_be_written.recv() {
                    write_line(&event);
                    notes.note(vec![note_of(LOGGED_KEY.to_owned(), &event.seq)]);
                }
                let _ = finished.send(());
            })?;
        let (waiting, mut queue) = mpsc::unbounded_channel::<Option<(Arc<Event>, BoxFuture<'static, ()>)>>();
        tokio::spawn(async move {
            while let Some(Some((event, settled))) = queue.recv().await {
                settled.await;
                match lines.try_send(event) {
                    Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
                }
            }
        });
        Ok(LogWriter { host, waiting, done })
    }

    /// Writes what an earlier engine had recorded and not yet written.
    pub fn go_on(&self, estate: &Estate, recorded: &[Event]) {
        // Of a note that cannot be read the worst is a line that comes twice.
        let logged: u64 = estate.find(LOGGED_KEY).ok().flatten().unwrap_or(0);
        let write = self.sink();
        let missing = recorded.iter().filter(|event| event.seq > logged);
        missing.for_each(|event| write(&Arc::new(event.clone())));
    }

    /// Where events go in.
    pub fn sink(&self) -> impl Fn(&Arc<Event>) + Send + Sync + use<> {
        let (waiting, host) = (self.waiting.clone(), self.host.clone());
        move |event| {
            // At the very end there is nobody any more who would write.
            let _ = waiting.send(Some((event.clone(), host.settled())));
        }
    }

    /// Waits for the lines so far, not for ever.
    pub async fn finish(self) {
        // Said, not shown by dropping the senders: tasks that nobody runs any more may still hold a sink.
        let _ = self.waiting.send(None);
        let wait = move || self.done.recv_timeout(LAST_LINES).is_ok();
        // It fails only while the runtime goes down.
        let _ = tokio::task::spawn_blocking(wait).await;
    }
}

fn write_line(event: &Event) {
    let mut stdout = std::io::stdout().lock();
    // Nobody reads it any more: the events are still there for `rollbridge events`.
    let _ = writeln!(stdout, "{}", wire::event(event)).and_then(|()| stdout.flush());
}
