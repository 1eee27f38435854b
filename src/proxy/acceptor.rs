//! The acceptor: takes connections from the one listener and hands each to the least loaded worker. It never reads a
//! request, and it never ends because of an error: whatever accepting runs into, it waits a little and goes on.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::handed::Handed;
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

/// What the acceptor is told.
#[derive(Debug)]
pub(super) enum Order {
    /// Accept no more, and have the workers give up what they have by this way.
    HandOver(mpsc::UnboundedSender<Handed>),
    /// Have the workers keep what they have, say so, and accept again.
    TakeBack(oneshot::Sender<()>),
    /// Say that all orders before have been passed on.
    Answer(oneshot::Sender<()>),
}

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

    /// Accepts until told to stop; without `accepts` not before it is told to take back.
    pub(super) fn run(
        self,
        runtime: Runtime,
        orders: mpsc::UnboundedReceiver<Order>,
        stop: CancellationToken,
        accepts: bool,
    ) {
        LocalSet::new().block_on(&runtime, async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.follow(orders, accepts) => {}
            }
        });
    }

    /// Accepts, except between being told to hand over and being told to take back.
    async fn follow(&self, mut orders: mpsc::UnboundedReceiver<Order>, mut accepts: bool) {
        let mut refusals = JoinSet::new();
        loop {
            // An order cannot interrupt between a connection that has been accepted and its place at a worker.
            let order = tokio::select! {
                order = orders.recv() => order,
                () = self.accept_all(&mut refusals), if accepts => None,
            };
            match order {
                Some(Order::HandOver(way)) => {
                    accepts = false;
                    for seat in &self.seats {
                        seat.send_away(way.clone());
                    }
                    // Those who are being refused count as connections, so the way stays until they have gone.
                    let mut refusals = std::mem::take(&mut refusals);
                    tokio::task::spawn_local(async move {
                        while refusals.join_next().await.is_some() {}
                        drop(way);
                    });
                }
                Some(Order::TakeBack(done)) => {
                    accepts = true;
                    for seat in &self.seats {
                        seat.stay();
                    }
                    // Whoever asked may have left.
                    let _ = done.send(());
                }
                Some(Order::Answer(done)) => {
                    let _ = done.send(());
                }
                // Whoever gives orders has gone, and the signal to stop is on its way.
                None => std::future::pending().await,
            }
        }
    }

    async fn accept_all(&self, refusals: &mut JoinSet<()>) {
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
                    self.place(stream, peer, refusals);
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

    fn place(&self, stream: TcpStream, peer: SocketAddr, refusals: &mut JoinSet<()>) {
        let loads: Vec<usize> = self.seats.iter().map(Seat::load).collect();
        if loads.iter().sum::<usize>() >= self.max_connections.load(SeqCst) {
            while refusals.try_join_next().is_some() {}
            if refusals.len() < MAX_REFUSALS {
                refusals.spawn_local(async move {
                    let _ = tokio::time::timeout(REFUSAL_TIME, refuse(stream)).await;
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
pub(super) fn least_loaded(loads: &[usize]) -> usize {
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
