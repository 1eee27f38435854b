//! A route as one worker follows it: the route, this worker's idle connections to its upstream, and local copies of
//! the signals, so that a request registers with nothing that other threads touch.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::pool::Pool;
use super::route::{Connections, Route};
use super::signal::Signal;
use super::slots::Slots;
use super::upstream::Upstream;

/// How often idle connections are looked through while there are any.
const SWEEP_INTERVAL: Duration = Duration::from_millis(500);

/// A worker's view of the release it sends requests to.
#[derive(Debug)]
pub(super) struct Target {
    route: Route,
    pool: Pool,
    retired: Signal,
    closed: Rc<Signal>,
    _watching: AbortOnDropHandle<()>,
}

impl Target {
    /// Starts following `route`, for connections with these slots.
    pub(super) fn new(route: Route, slots: &Rc<Slots>) -> Rc<Target> {
        let closed = Rc::new(Signal::default());
        let watching = tokio::task::spawn_local({
            let (connections, closed) = (Arc::clone(route.connections()), Rc::clone(&closed));
            let slots = Rc::clone(slots);
            async move {
                connections.closed().cancelled().await;
                closed.send();
                slots.wake_route(connections.id());
            }
        });
        Rc::new(Target {
            route,
            pool: Pool::default(),
            retired: Signal::default(),
            closed,
            _watching: AbortOnDropHandle::new(watching),
        })
    }

    pub(super) fn connections(&self) -> &Arc<Connections> {
        self.route.connections()
    }

    /// Sent when the worker follows another route.
    pub(super) fn retired(&self) -> &Signal {
        &self.retired
    }

    /// Sent when the release's connections are closed. Those are woken too, and need not wait for it.
    pub(super) fn closed(&self) -> &Signal {
        &self.closed
    }

    /// Takes new requests no more: idle connections are closed, and those in use close when they become idle.
    pub(super) fn retire(&self) {
        self.retired.send();
        self.pool.clear();
    }

    /// The most recently used idle connection that may carry a request of this kind.
    pub(super) fn take_idle(&self, idempotent: bool) -> Option<Upstream> {
        let departures = self.connections().departures();
        self.pool.take(idempotent, departures, Instant::now())
    }

    /// Opens a new connection.
    pub(super) async fn connect(&self) -> std::io::Result<Upstream> {
        let departures = self.connections().departures();
        Upstream::connect(self.route.upstream(), departures).await
    }

    /// Keeps a connection for the next request.
    pub(super) fn give_back(self: Rc<Self>, upstream: Upstream) {
        let may_stay = self.connections().may_keep(upstream.departures);
        if may_stay && !self.retired.is_sent() && !self.closed.is_sent() {
            self.pool.put(upstream, Instant::now());
            self.sweep();
        }
    }

    fn sweep_once(&self) -> bool {
        let departures = self.connections().departures();
        self.pool.sweep(departures, Instant::now() + SWEEP_INTERVAL)
    }

    /// Closes idle connections as their time passes, for as long as there are any.
    fn sweep(self: Rc<Self>) {
        if self.pool.start_sweeping() {
            let pool = Rc::downgrade(&self);
            tokio::task::spawn_local(async move {
                loop {
                    tokio::time::sleep(SWEEP_INTERVAL).await;
                    match pool.upgrade() {
                        Some(target) if target.sweep_once() => {}
                        _ => return,
                    }
                }
            });
        }
    }
}
