//! The acceptor: takes connections from the one listener and hands each to the least loaded worker. It never reads a
//! request, and it never ends because of an error: whatever accepting runs into, it waits a little and goes on.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::LocalSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::refusal;
use super::worker::Seat;

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Refused clients that are being answered at once; further ones are closed without a word.
const MAX_REFUSALS: usize = 64;
/// How long a refused client may take to read its answer and leave.
const REFUSAL_TIME: Duration = Duration::from_secs(1);

/// Trouble is over when nothing has gone wrong for this long.
const QUIET_TIME: Duration = Duration::from_secs(5);

/// Whether connections can be accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepting {
    /// Not at the moment; says what the machine lacks. It is tried again until it works.
    Paused(String),
    /// Again, and for a while without trouble.
    Resumed,
}

/// Who is told of trouble with accepting; nobody at first.
#[derive(Clone, Default)]
pub(super) struct Watch(Arc<OnceLock<Tell>>);

type Tell = Box<dyn Fn(Accepting) + Send + Sync>;

/// The listener and the workers behind it.
#[derive(Debug)]
pub(super) struct Acceptor {
    listener: TcpListener,
    seats: Vec<Seat>,
    max_connections: Arc<AtomicUsize>,
    watch: Watch,
}

/// What to do about a failed `accept`.
#[derive(Debug, PartialEq, Eq)]
enum AfterError {
    /// That one connection is lost; the next may be fine.
    GoOn,
    /// The machine lacks something (descriptors, memory): leave it time to recover.
    Pause,
}

impl Acceptor {
    pub(super) fn new(
        listener: TcpListener,
        seats: Vec<Seat>,
        max_connections: Arc<AtomicUsize>,
        watch: Watch,
    ) -> Acceptor {
        Acceptor {
            listener,
            seats,
            max_connections,
            watch,
        }
    }

    /// Accepts until told to stop.
    pub(super) fn run(self, runtime: Runtime, stop: CancellationToken) {
        LocalSet::new().block_on(&runtime, async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.accept_all() => {}
            }
        });
    }

    async fn accept_all(&self) {
        let refusing = Rc::new(Cell::new(0));
        let mut pause = FIRST_PAUSE;
        // When accepting failed last; none once that is over.
        let mut trouble: Option<Instant> = None;
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    if trouble.is_some_and(|last| last.elapsed() >= QUIET_TIME) {
                        trouble = None;
                        self.watch.tell(Accepting::Resumed);
                    }
                    pause = FIRST_PAUSE;
                    self.place(stream, peer, &refusing);
                }
                Err(error) if after(&error) == AfterError::GoOn => {}
                Err(error) => {
                    // Told once, however often it happens before it is over.
                    if trouble.replace(Instant::now()).is_none() {
                        self.watch.tell(Accepting::Paused(error.to_string()));
                    }
                    tokio::time::sleep(pause).await;
                    pause = longer(pause);
                }
            }
        }
    }

    fn place(&self, stream: TcpStream, peer: SocketAddr, refusing: &Rc<Cell<usize>>) {
        let loads: Vec<usize> = self.seats.iter().map(Seat::load).collect();
        if loads.iter().sum::<usize>() >= self.max_connections.load(SeqCst) {
            if refusing.get() < MAX_REFUSALS {
                let refusing = Refusing::new(Rc::clone(refusing));
                tokio::task::spawn_local(async move {
                    let _ = tokio::time::timeout(REFUSAL_TIME, refuse(stream)).await;
                    drop(refusing);
                });
            }
            return;
        }
        // The socket leaves this thread's runtime here. One that cannot is broken, and dropped.
        if let Ok(stream) = stream.into_std() {
            self.seats[least_loaded(&loads)].serve(stream, peer);
        }
    }
}

impl Watch {
    pub(super) fn set(&self, tell: impl Fn(Accepting) + Send + Sync + 'static) {
        // Whoever came first is told.
        let _ = self.0.set(Box::new(tell));
    }

    fn tell(&self, news: Accepting) {
        if let Some(tell) = self.0.get() {
            tell(news);
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Watch")
    }
}

/// Counts the refusals under way.
struct Refusing(Rc<Cell<usize>>);

impl Refusing {
    fn new(count: Rc<Cell<usize>>) -> Refusing {
        count.set(count.get() + 1);
        Refusing(count)
    }
}

impl Drop for Refusing {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Answers 503 and waits for the client to leave: closing before its request has been read would make the kernel
/// send a reset, which can overtake the answer.
async fn refuse(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(refusal::TOO_MANY_CONNECTIONS.as_bytes()).await?;
    stream.shutdown().await?;
    let mut unread = [0; 1024];
    while stream.read(&mut unread).await? > 0 {}
    Ok(())
}

fn after(error: &io::Error) -> AfterError {
    match error.kind() {
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted => {
            AfterError::GoOn
        }
        _ => AfterError::Pause,
    }
}

fn longer(pause: Duration) -> Duration {
    (pause * 2).min(LONGEST_PAUSE)
}

/// The first of the smallest loads.
fn least_loaded(loads: &[usize]) -> usize {
    loads
        .iter()
        .enumerate()
        .min_by_key(|(_, load)| **load)
        .map_or(0, |(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_go_to_the_least_loaded_worker() {
        for (loads, expected) in [
            (vec![0], 0),
            (vec![0, 0], 0),
            (vec![2, 1, 1], 1),
            (vec![3, 4, 2], 2),
        ] {
            assert_eq!(least_loaded(&loads), expected, "{loads:?}");
        }
    }

    #[test]
    fn pauses_grow_up_to_a_second() {
        let mut pause = FIRST_PAUSE;
        for _ in 0..20 {
            pause = longer(pause);
        }
        assert_eq!(pause, LONGEST_PAUSE);
    }

    #[test]
    fn only_a_lost_connection_is_passed_over_without_a_pause() {
        let go_on = [nix::errno::Errno::ECONNABORTED, nix::errno::Errno::EINTR];
        let pause = [
            nix::errno::Errno::EMFILE,
            nix::errno::Errno::ENFILE,
            nix::errno::Errno::ENOMEM,
        ];
        for errno in go_on {
            assert_eq!(after(&io::Error::from(errno)), AfterError::GoOn, "{errno}");
        }
        for errno in pause {
            assert_eq!(after(&io::Error::from(errno)), AfterError::Pause, "{errno}");
        }
    }
}
