//! One client connection: hyper reads its requests, this file says how long it may stay and when it is cut.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::forward;
use super::forwarded::Seen;
use super::upstream::BUFFER_BYTES;
use super::watched::{Traffic, Watched};
use super::worker::{Arrival, Load, Worker};

/// Bytes of a request head.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Fields of a request head.
const MAX_FIELDS: usize = 128;
/// How long a head may take from its first byte to its last.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// What the parts of one client connection share.
#[derive(Debug)]
pub(super) struct Client {
    peer: SocketAddr,
    local: SocketAddr,
    traffic: Arc<Traffic>,
    /// Whether there has been a request.
    used: Cell<bool>,
    busy: Cell<bool>,
    /// Whether the response under way ends with the connection.
    until_close: Cell<bool>,
    cut: RefCell<Option<Pin<Box<WaitForCancellationFutureOwned>>>>,
    _load: Load,
}

/// Marks the client as having a request under way, until dropped.
#[derive(Debug)]
pub(super) struct Busy(Rc<Client>);

/// What a client connection is doing, as far as its patience is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No byte of the first request: it may be on its way, so idle time has not begun.
    Fresh,
    /// No byte of a next request.
    Idle,
    /// Part of a head.
    Head,
    /// A request that has no answer yet, or not all of it.
    Busy,
}

/// Serves a client connection until it ends, or has been upgraded.
pub(super) async fn serve(worker: Rc<Worker>, arrival: Arrival) {
    // A socket that fails before its first request has nobody to tell.
    let Ok(stream) = TcpStream::from_std(arrival.stream) else {
        return;
    };
    let Ok(local) = stream.local_addr() else { return };
    let _ = stream.set_nodelay(true);

    let (watched, traffic) = Watched::new(stream);
    let client = Rc::new(Client {
        peer: arrival.peer,
        local,
        traffic,
        used: Cell::new(false),
        busy: Cell::new(false),
        until_close: Cell::new(false),
        cut: RefCell::new(None),
        _load: arrival.load,
    });
    let service = service_fn(|request| {
        client.used.set(true);
        let answer = forward::answer(Rc::clone(&worker), Rc::clone(&client), request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let idle_timeout = worker.settings().client_idle_timeout;
    let mut connection = http1::Builder::new()
        // Without idle time the client is told with each answer that no other request is welcome.
        .keep_alive(!idle_timeout.is_zero())
        .preserve_header_case(true)
        .auto_date_header(false)
        .max_buf_size(BUFFER_BYTES)
        .max_header_size(MAX_HEAD_BYTES)
        .max_headers(MAX_FIELDS)
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(watched), service)
        .with_upgrades();
    let mut clock = pin!(Clock::new(idle_timeout));

    std::future::poll_fn(|context| {
        if Pin::new(&mut connection).poll(context).is_ready() {
            return Poll::Ready(());
        }
        if client.poll_cut(context).is_ready() {
            client.cut_short();
            return Poll::Ready(());
        }
        clock.as_mut().poll(context, &client)
    })
    .await;
}

impl Client {
    /// Judged anew for each request: which proxies are trusted may change while the connection lasts.
    pub(super) fn seen(&self, trusted_proxies: &[IpNet]) -> Seen {
        Seen::new(self.peer, self.local, trusted_proxies)
    }

    /// Begins a request.
    pub(super) fn begin(self: &Rc<Self>) -> Busy {
        self.busy.set(true);
        Busy(Rc::clone(self))
    }

    /// Cuts the connection when `closed` is cancelled before the request ends. `until_close` tells that the response
    /// has no other end than that of the connection.
    pub(super) fn cut_on(&self, closed: &CancellationToken, until_close: bool) {
        self.until_close.set(until_close);
        self.cut.replace(Some(Box::pin(closed.clone().cancelled_owned())));
    }

    /// The response ends too early: makes sure that the client can tell.
    pub(super) fn cut_short(&self) {
        if self.until_close.get() {
            self.traffic.end_with_reset();
        }
    }

    fn poll_cut(&self, context: &mut Context<'_>) -> Poll<()> {
        match self.cut.borrow_mut().as_mut() {
            Some(cut) => cut.as_mut().poll(context),
            None => Poll::Pending,
        }
    }

    fn phase(&self) -> Phase {
        if self.busy.get() {
            Phase::Busy
        } else if self.traffic.has_arrived() {
            Phase::Head
        } else if self.used.get() {
            Phase::Idle
        } else {
            Phase::Fresh
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.set(false);
        self.0.cut.replace(None);
        self.0.traffic.forget_arrivals();
    }
}

/// Ends a connection that stays too long in a phase.
struct Clock {
    idle_timeout: Duration,
    phase: Phase,
    sleep: Pin<Box<Sleep>>,
}

impl Clock {
    fn new(idle_timeout: Duration) -> Clock {
        let sleep = Box::pin(tokio::time::sleep(HEAD_TIMEOUT));
        Clock {
            // Without idle time the connection ends by itself once its answer has left, which may take a while.
            idle_timeout: match idle_timeout {
                Duration::ZERO => HEAD_TIMEOUT,
                some => some,
            },
            phase: Phase::Fresh,
            sleep,
        }
    }

    fn limit(&self) -> Option<Duration> {
        match self.phase {
            Phase::Idle => Some(self.idle_timeout),
            Phase::Fresh | Phase::Head => Some(HEAD_TIMEOUT),
            Phase::Busy => None,
        }
    }

    /// Ready when the time of the present phase is over. Bytes that leave for the client start it again.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>, client: &Client) -> Poll<()> {
        let phase = client.phase();
        let left = client.traffic.take_left();
        let changed = phase != self.phase;
        self.phase = phase;
        let Some(limit) = self.limit() else {
            return Poll::Pending;
        };
        if changed || left {
            self.sleep.as_mut().reset(Instant::now() + limit);
        }
        self.sleep.as_mut().poll(context)
    }
}
