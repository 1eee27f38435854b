//! The proxy: one listener, one active upstream, switched atomically.
//!
//! An acceptor thread hands every client connection to the least loaded worker thread. Each worker owns a
//! single-threaded runtime, the route it follows and its idle upstream connections, so that no request waits for a
//! lock or changes threads. This room knows addresses and connection counts; it never knows processes or releases.

mod acceptor;
mod adoption;
mod alarm;
mod answer;
mod body;
mod buffer;
mod chunks;
mod client;
mod departure;
mod exchange;
mod forward;
mod forwarded;
mod framing;
mod guest;
mod handed;
mod head;
mod hold;
mod lines;
mod pool;
mod refusal;
mod request;
mod route;
mod signal;
mod slot;
mod slots;
mod target;
mod target_form;
mod tunnel;
mod upstream;
mod wire;
mod worker;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use ipnet::IpNet;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use acceptor::{Acceptor, Order};
use adoption::Adopted;
use hold::Holds;
use worker::{Seat, Worker};

pub use acceptor::Accepting;
pub use guest::Guest;
pub use handed::{Handed, HandedFlow, HandedState, HeldRequest, OpenTunnel, Phase, Resting, Stage, Usage};
pub use route::{Connections, Cut, Route};
pub use slot::OpenConnection;

/// How the proxy treats its clients.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Worker threads; zero counts as one. Fixed for the life of a [`Proxy`].
    pub workers: usize,
    /// Peers whose `X-Forwarded-*` and `Forwarded` headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Client connections open at once; the next one is answered 503 and closed.
    pub max_connections: usize,
    /// How long the head of a request may take from its first byte to its last.
    pub head_timeout: Duration,
    /// How long a client connection may stay open without a request.
    pub client_idle_timeout: Duration,
    /// How long a request may wait for an upstream that does not answer; zero means never.
    pub hold_timeout: Duration,
    /// Requests that may wait for the upstream at once; the next one is answered 503.
    pub max_held_requests: usize,
}

/// A running proxy. It works from any async runtime; dropping it without [`Proxy::shutdown`] ends its threads too,
/// without waiting for them.
#[derive(Debug)]
pub struct Proxy {
    local_address: SocketAddr,
    stop: CancellationToken,
    seats: Mutex<Vec<Seat>>,
    holds: Arc<Holds>,
    max_connections: Arc<AtomicUsize>,
    listener_watch: acceptor::Watch,
    orders: mpsc::UnboundedSender<Order>,
    threads: Mutex<Vec<ProxyThread>>,
}

/// A thread and the signal that it is about to end.
#[derive(Debug)]
struct ProxyThread {
    ended: oneshot::Receiver<()>,
    handle: JoinHandle<()>,
}

impl Proxy {
    /// Starts accepting on `listener`, which must be listening already, and forwarding to `route`. Without one every request
    /// is answered 503 until the first [`Proxy::switch`].
    ///
    /// # Errors
    /// When a runtime or a thread cannot be created, or the listener cannot be made non-blocking.
    pub fn start(listener: TcpListener, settings: Settings, route: Option<Route>) -> io::Result<Proxy> {
        Proxy::start_as(listener, settings, route, true)
    }

    /// As [`Proxy::start`], but clients wait in the queue of the listening socket until [`Proxy::take_back`].
    ///
    /// # Errors
    /// As there.
    pub fn start_without_clients(
        listener: TcpListener,
        settings: Settings,
        route: Option<Route>,
    ) -> io::Result<Proxy> {
        Proxy::start_as(listener, settings, route, false)
    }

    fn start_as(
        listener: TcpListener,
        settings: Settings,
        route: Option<Route>,
        accepts: bool,
    ) -> io::Result<Proxy> {
        listener.set_nonblocking(true)?;
        let local_address = listener.local_addr()?;
        let settings = Arc::new(settings);
        let holds = Arc::new(Holds::new(settings.max_held_requests));
        let stop = CancellationToken::new();
        let mut seats = Vec::new();
        let mut threads = Vec::new();

        for index in 0..settings.workers.max(1) {
            let (seat, commands) = Seat::new();
            let (settings, holds) = (Arc::clone(&settings), Arc::clone(&holds));
            threads.push(start_thread(
                format!("proxy-worker-{index}"),
                runtime()?,
                move |runtime| {
                    Worker::run(runtime, settings, holds, commands);
                },
            )?);
            // Before any client connection can be handed to it.
            drop(seat.publish(route.clone()));
            seats.push(seat);
        }

        let runtime = runtime()?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let max_connections = Arc::new(AtomicUsize::new(settings.max_connections));
        let listener_watch = acceptor::Watch::default();
        let acceptor = Acceptor::new(
            listener,
            seats.clone(),
            Arc::clone(&max_connections),
            listener_watch.clone(),
        );
        let stopped = stop.clone();
        let (orders, receiver) = mpsc::unbounded_channel();
        threads.push(start_thread(
            "proxy-accept".to_owned(),
            runtime,
            move |runtime| {
                acceptor.run(runtime, receiver, stopped, accepts);
            },
        )?);

        Ok(Proxy {
            local_address,
            stop,
            seats: Mutex::new(seats),
            holds,
            max_connections,
            listener_watch,
            orders,
            threads: Mutex::new(threads),
        })
    }

    /// The address clients connect to, with the real port where 0 was asked for.
    pub fn local_address(&self) -> SocketAddr {
        self.local_address
    }

    /// Has `tell` called when connections cannot be accepted, and when they can again; the first such call counts. It
    /// runs on the accepting thread and must not wait.
    pub fn watch_accepting(&self, tell: impl Fn(Accepting) + Send + Sync + 'static) {
        self.listener_watch.set(tell);
    }

    /// Treats clients by these settings from now on; what a connection is waiting for at the moment keeps
    /// its time.
    pub fn configure(&self, settings: Settings) {
        self.holds.set_limit(settings.max_held_requests);
        self.max_connections.store(settings.max_connections, SeqCst);
        let settings = Arc::new(settings);
        for seat in locked(&self.seats).iter() {
            seat.configure(Arc::clone(&settings));
        }
    }

    /// Publishes the route (none: no release is active) and returns once every worker follows it. From then on no
    /// new request is counted on an older route.
    pub async fn switch(&self, route: Option<Route>) {
        // All workers are told before anything is awaited, so that switches reach each of them in the same order.
        let acknowledgements: Vec<_> = locked(&self.seats)
            .iter()
            .map(|seat| seat.publish(route.clone()))
            .collect();
        for acknowledgement in acknowledgements {
            // A worker that is gone takes no requests, so there is nothing to wait for.
            let _ = acknowledgement.await;
            crate::fail_point::reached("between acknowledgements").await;
        }
    }

    /// The client connections in use, oldest first.
    pub async fn connections(&self) -> Vec<OpenConnection> {
        let looks: Vec<_> = locked(&self.seats).iter().map(Seat::look).collect();
        let mut open = Vec::new();
        for look in looks {
            // A worker that is gone has no connections.
            open.extend(look.await.unwrap_or_default());
        }
        open.sort_by_key(|connection| std::cmp::Reverse(connection.age));
        open
    }

    /// Cuts a connection on both sides; whether it was in use.
    pub async fn cut(&self, number: u64) -> bool {
        let cuts: Vec<_> = locked(&self.seats).iter().map(|seat| seat.cut(number)).collect();
        let mut was_cut = false;
        for cut in cuts {
            was_cut |= cut.await.unwrap_or(false);
        }
        was_cut
    }

    /// Gives all client connections up, so that another proxy can go on with them: this one accepts no more, and what
    /// comes now waits in the queue of the listening socket for whoever else accepts from it. What is in the middle of a
    /// request is served to its end and follows then. The receiver ends when no connection is left.
    ///
    /// Should the receiver be dropped before, what is still here stays and is served.
    pub fn hand_over(&self) -> mpsc::UnboundedReceiver<Handed> {
        let (way, handed) = mpsc::unbounded_channel();
        // After a shutdown there is nothing to give up, and the receiver ends at once.
        let _ = self.orders.send(Order::HandOver(way));
        handed
    }

    /// How many client connections are here, those on their way to a worker included.
    pub fn clients(&self) -> usize {
        locked(&self.seats).iter().map(Seat::load).sum()
    }

    /// Whether all that is still here after [`Proxy::hand_over`] are requests in flight, which count as such: nothing new
    /// begins any more.
    pub async fn only_finishes(&self) -> bool {
        let (done, told) = oneshot::channel();
        let _ = self.orders.send(Order::Answer(done));
        // After a shutdown nothing is here.
        let _ = told.await;
        // Each worker answers this after it has heard that it is to give its connections up.
        let open = self.connections().await;
        open.len() >= self.clients() && !open.iter().any(|connection| connection.is_upgraded)
    }

    /// Undoes [`Proxy::hand_over`]: what is still here stays, and this proxy accepts again. Returns when that is so; what
    /// has been given up can then be adopted again.
    pub async fn take_back(&self) {
        let (done, told) = oneshot::channel();
        let _ = self.orders.send(Order::TakeBack(done));
        // After a shutdown there is nothing to take back.
        let _ = told.await;
    }

    /// Goes on with a connection that another proxy has given up, whatever the limit of connections. It is counted at
    /// once: as a client connection, and if it is a tunnel on `route`, that of the release it belongs to. A tunnel without
    /// a route is closed on both sides. Other connections take the route of the moment, so there should be one already.
    ///
    /// Times begin anew: how long it may be idle, and how long a head that has begun may take. Only the time for which a
    /// request has been held goes on.
    pub fn adopt(&self, handed: Handed, route: Option<Route>) {
        if matches!(handed.state.stage, Stage::Tunnel(_)) && route.is_none() {
            return adoption::end(handed);
        }
        let seats = locked(&self.seats);
        let loads: Vec<usize> = seats.iter().map(Seat::load).collect();
        // After a shutdown there is no seat, and the connection is closed.
        if let Some(seat) = seats.get(acceptor::least_loaded(&loads)) {
            seat.adopt(|load| Adopted::new(handed, route, load));
        }
    }

    /// The number that the next connection of this process will have.
    pub fn next_number() -> u64 {
        slot::next_number()
    }

    /// Numbers connections of this process from `first` on, unless it has come further already, so that they are not
    /// mistaken for those of another process that are adopted later.
    pub fn number_from(first: u64) {
        slot::number_from(first);
    }

    /// Stops accepting, closes every connection, and returns when all threads have ended.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        locked(&self.seats).clear();
        let threads = std::mem::take(&mut *locked(&self.threads));
        for thread in threads {
            // The sender is dropped, never used: an error is the expected signal.
            let _ = thread.ended.await;
            // A panic of the thread has been printed already, and there is nobody left to serve.
            let _ = thread.handle.join();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_io().enable_time().build()
}

fn start_thread(
    name: String,
    runtime: Runtime,
    run: impl FnOnce(Runtime) + Send + 'static,
) -> io::Result<ProxyThread> {
    let (ending, ended) = oneshot::channel();
    let handle = std::thread::Builder::new().name(name).spawn(move || {
        let _ending: oneshot::Sender<()> = ending;
        run(runtime);
    })?;
    Ok(ProxyThread { ended, handle })
}

/// Locks even after a panic elsewhere: the lists behind these locks are never left half changed.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
