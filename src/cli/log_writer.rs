//! The daemon's log: each event a JSON line on stdout. A closed or blocked stdout never holds the daemon up.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TrySendError, sync_channel};
use std::thread::Thread;
use std::time::Duration;

use tokio::sync::mpsc;

use super::log_output::{LineWriter, LogOutput};
use crate::control::wire;
use crate::error::plain;
use crate::events::{Event, EventLog, Milestone};
use crate::host::{BoxFuture, Estate, LogFile, ProcessHost, note_of};

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
    output: Arc<LogOutput>,
    writer: Thread,
    news: mpsc::UnboundedReceiver<Milestone>,
    done: Receiver<()>,
}

impl LogWriter {
    /// Starts the thread; `file` is where stdout leads, if that is a file of the daemon's own. Must be called inside a tokio
    /// runtime.
    pub fn start(host: Arc<dyn ProcessHost>, file: Option<&LogFile>) -> std::io::Result<LogWriter> {
        let (lines, to_be_written) = sync_channel::<Arc<Event>>(WAITING_LINES);
        let (finished, done) = sync_channel(1);
        let (tell, news) = mpsc::unbounded_channel();
        let output = LogOutput::new(tell);
        let mut writer = LineWriter::new(output.clone(), file);
        let notes = host.clone();
        let thread = std::thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || {
                while let Ok(event) = to_be_written.recv() {
                    writer.write(&format!("{}\n", wire::event(&event)));
                    notes.note(vec![note_of(LOGGED_KEY.to_owned(), &event.seq)]);
                }
                let _ = finished.send(());
            })?;
        let (waiting, mut queue) = mpsc::unbounded_channel::<Option<(Arc<Event>, BoxFuture<'static, ()>)>>();
        let drops = output.clone();
        tokio::spawn(async move {
            while let Some(Some((event, settled))) = queue.recv().await {
                settled.await;
                match lines.try_send(event) {
                    Ok(()) | Err(TrySendError::Disconnected(_)) => {}
                    Err(TrySendError::Full(_)) => drops.lose(),
                }
            }
        });
        Ok(LogWriter {
            host,
            waiting,
            output,
            writer: thread.thread().clone(),
            news,
            done,
        })
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

    /// Has trouble with the log recorded among the events. To be called once, inside the runtime.
    pub fn report_to(&mut self, events: Arc<EventLog>) {
        let mut news = std::mem::replace(&mut self.news, mpsc::unbounded_channel().1);
        tokio::spawn(async move {
            while let Some(milestone) = news.recv().await {
                events.record(milestone);
            }
        });
    }

    /// What opens the log again.
    pub fn reopening(&self, file: LogFile) -> Reopening {
        Reopening {
            file,
            output: self.output.clone(),
            writer: self.writer.clone(),
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

/// Opens the log again, after its file was renamed.
#[derive(Clone)]
pub(super) struct Reopening {
    file: LogFile,
    output: Arc<LogOutput>,
    writer: Thread,
}

impl Reopening {
    /// Does it, and says what came of it.
    pub async fn reopen(self) -> Milestone {
        let path = self.file.path().display().to_string();
        // Files can make one wait.
        let opened = tokio::task::spawn_blocking(move || {
            self.file.take_output().map_err(|error| error.reason)?;
            self.output.opened_again();
            // It may wait for room on the disk of the other file.
            self.writer.unpark();
            Ok(())
        });
        let reason = match opened.await {
            Ok(Ok(())) => return Milestone::LogReopened { path },
            Ok(Err(reason)) => reason,
            Err(error) => plain(&std::io::Error::other(error)),
        };
        Milestone::LogNotReopened { path, reason }
    }
}
