//! The daemon's log: each event a JSON line on stdout. A closed or blocked stdout never holds the daemon up.

use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use crate::control::wire;
use crate::events::Event;
use crate::host::{Legacy, ProcessHost, note_of};

/// The key of the note that tells how many events have been written.
const LOGGED_KEY: &str = "logged";

/// How many lines may wait for a slow stdout; further ones are lost to it (not to `rollbridge events`).
const WAITING_LINES: usize = 10_000;

/// How long the last lines may take at the end.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Writes events on a thread of its own.
#[derive(Debug)]
pub(super) struct LogWriter {
    /// None is the end.
    lines: SyncSender<Option<Arc<Event>>>,
    done: Receiver<()>,
}

impl LogWriter {
    /// Starts the thread.
    pub fn start(host: Arc<dyn ProcessHost>) -> std::io::Result<LogWriter> {
        let (lines, waiting) = sync_channel::<Option<Arc<Event>>>(WAITING_LINES);
        let (finished, done) = sync_channel(1);
        std::thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || {
                while let Ok(Some(event)) = waiting.recv() {
                    write_line(&event);
                    host.note(vec![note_of(LOGGED_KEY.to_owned(), &event.seq)]);
                }
                let _ = finished.send(());
            })?;
        Ok(LogWriter { lines, done })
    }

    /// Writes what an earlier engine had recorded and not yet written.
    pub fn go_on(&self, legacy: &Legacy, recorded: &[Event]) {
        // Of a note that cannot be read the worst is a line that comes twice.
        let logged: u64 = legacy.find(LOGGED_KEY).ok().flatten().unwrap_or(0);
        let write = self.sink();
        let missing = recorded.iter().filter(|event| event.seq > logged);
        missing.for_each(|event| write(&Arc::new(event.clone())));
    }

    /// Where events go in.
    pub fn sink(&self) -> impl Fn(&Arc<Event>) + Send + Sync + use<> {
        let lines = self.lines.clone();
        move |event| match lines.try_send(Some(event.clone())) {
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }

    /// Waits for the lines so far, not for ever.
    pub fn finish(self) {
        // Said, not shown by dropping the senders: tasks that nobody runs any more may still hold a sink. Where the
        // queue is full, stdout is blocked and the wait below runs out.
        let _ = self.lines.try_send(None);
        let _ = self.done.recv_timeout(LAST_LINES);
    }
}

fn write_line(event: &Event) {
    let mut stdout = std::io::stdout().lock();
    // Nobody reads it any more: the events are still there for `rollbridge events`.
    let _ = writeln!(stdout, "{}", wire::event(event)).and_then(|()| stdout.flush());
}
