//! Lines on their way to stdout. What a full disk refuses is tried again; what nobody takes is counted, and told once lines
//! are taken again.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::park_timeout;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::write;
use tokio::sync::mpsc::UnboundedSender;

use crate::error::plain;
use crate::events::Milestone;
use crate::host::LogFile;

/// When a line that a full disk refused is tried again.
const NEXT_TRY: Duration = Duration::from_millis(500);

/// The reason where lines do not fail and yet get nowhere.
const TOO_SLOW: &str = "whoever reads it is too slow";

/// Where lines go, shared by those who lose them, write them, and have the file opened again.
#[derive(Debug)]
pub(super) struct LogOutput {
    /// How often the file was opened again.
    opened: AtomicU64,
    lost: AtomicU64,
    /// Who hears of trouble.
    news: UnboundedSender<Milestone>,
}

impl LogOutput {
    pub fn new(news: UnboundedSender<Milestone>) -> Arc<LogOutput> {
        Arc::new(LogOutput {
            opened: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            news,
        })
    }

    /// A line was dropped, because too many wait.
    pub fn lose(&self) {
        if self.lost.fetch_add(1, Ordering::Relaxed) == 0 {
            self.tell_trouble(TOO_SLOW.to_owned());
        }
    }

    /// stdout leads to another file from now on. A line that is half written goes there whole.
    pub fn opened_again(&self) {
        self.opened.fetch_add(1, Ordering::Release);
    }

    fn tell_trouble(&self, reason: String) {
        // At the very end there is nobody any more who would hear it.
        let _ = self.news.send(Milestone::LogNotWritten { reason });
    }

    fn tell_recovery(&self, since: Instant) {
        let lost_lines = self.lost.swap(0, Ordering::Relaxed);
        let after_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let _ = self
            .news
            .send(Milestone::LogWrittenAgain { lost_lines, after_ms });
    }
}

/// The one who writes.
#[derive(Debug)]
pub(super) struct LineWriter {
    output: Arc<LogOutput>,
    /// An engine was killed in the middle of the line at the end of the file.
    begins_torn: bool,
    /// Since when nothing is taken.
    failing: Option<Instant>,
    last_taken: Instant,
}

impl LineWriter {
    /// `file` is where stdout leads, if that is a file of the daemon's own.
    pub fn new(output: Arc<LogOutput>, file: Option<&LogFile>) -> LineWriter {
        LineWriter {
            output,
            begins_torn: file.is_some_and(LogFile::is_torn),
            failing: None,
            last_taken: Instant::now(),
        }
    }

    /// Writes a line, with its end. Returns once it is written, or lost for good.
    pub fn write(&mut self, line: &str) {
        let whole = format!("\n{line}");
        let line = match std::mem::take(&mut self.begins_torn) {
            true => &whole,
            false => line,
        };
        let mut opened = self.output.opened.load(Ordering::Acquire);
        let mut rest = line.as_bytes();
        while !rest.is_empty() {
            match write(std::io::stdout(), rest) {
                Ok(count) => rest = &rest[count..],
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => wait_for_room(),
                Err(errno @ (Errno::ENOSPC | Errno::EDQUOT)) => {
                    self.fail(errno);
                    park_timeout(NEXT_TRY);
                }
                Err(errno) => {
                    self.output.lost.fetch_add(1, Ordering::Relaxed);
                    self.fail(errno);
                    return;
                }
            }
            let now = self.output.opened.load(Ordering::Acquire);
            if now != opened && !rest.is_empty() {
                rest = line.as_bytes();
            }
            opened = now;
        }
        let since = self.failing.take();
        if since.is_some() || self.output.lost.load(Ordering::Relaxed) > 0 {
            self.output.tell_recovery(since.unwrap_or(self.last_taken));
        }
        self.last_taken = Instant::now();
    }

    fn fail(&mut self, errno: Errno) {
        if self.failing.is_none() {
            self.failing = Some(Instant::now());
            self.output.tell_trouble(plain(&errno.into()));
        }
    }
}

/// Somebody has made stdout one that does not wait by itself.
fn wait_for_room() {
    let stdout = std::io::stdout();
    let mut watched = [PollFd::new(stdout.as_fd(), PollFlags::POLLOUT)];
    let timeout = PollTimeout::try_from(NEXT_TRY).unwrap_or(PollTimeout::MAX);
    // What it says comes out when writing is tried again.
    let _ = poll(&mut watched, timeout);
}
