//! Where requests go, and how many are under way there. Counts are atomics shared by all workers; a guard that
//! leaves by being dropped takes itself out, so that no path can forget to count down.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// An upstream and the connection counts of the release behind it. Clones share the counts.
#[derive(Clone, Debug)]
pub struct Route {
    upstream: SocketAddr,
    connections: Arc<Connections>,
}

/// The open connections of one release.
#[derive(Debug)]
pub struct Connections {
    id: u64,
    http: AtomicUsize,
    websocket: AtomicUsize,
    /// Those of them that are open in another proxy.
    guest_http: AtomicUsize,
    guest_websocket: AtomicUsize,
    /// Callers inside [`Connections::wait_idle`]; while there are none, a request that ends notifies nobody.
    waiting: AtomicUsize,
    idle: Notify,
    closed: CancellationToken,
    failed: watch::Sender<bool>,
    /// One more each time the upstream begins to stop, and each time it is over: odd while it stops.
    departures: AtomicUsize,
}

/// How many connections [`Connections::close`] found open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Requests whose response had not ended.
    pub http: usize,
    /// Upgraded connections.
    pub websocket: usize,
}

/// One counted request or upgraded connection; dropping it counts down.
#[derive(Debug)]
pub(super) struct Counted {
    connections: Arc<Connections>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Http,
    Websocket,
}

impl Route {
    /// A route to `upstream` with counts of its own, all zero.
    pub fn new(upstream: SocketAddr) -> Route {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let connections = Connections {
            id: NEXT.fetch_add(1, SeqCst),
            http: AtomicUsize::new(0),
            websocket: AtomicUsize::new(0),
            guest_http: AtomicUsize::new(0),
            guest_websocket: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            idle: Notify::new(),
            closed: CancellationToken::new(),
            failed: watch::Sender::new(false),
            departures: AtomicUsize::new(0),
        };
        Route {
            upstream,
            connections: Arc::new(connections),
        }
    }

    /// The counts of this route.
    pub fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }

    pub(super) fn upstream(&self) -> SocketAddr {
        self.upstream
    }
}

impl Connections {
    /// Tells them apart from those of any other route; never 0.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Requests between their head and the end of their response.
    pub fn http(&self) -> usize {
        self.http.load(SeqCst)
    }

    /// Open upgraded connections, whatever their protocol.
    pub fn websocket(&self) -> usize {
        self.websocket.load(SeqCst)
    }

    /// As [`Connections::http`], but only what is open in this proxy.
    pub fn own_http(&self) -> usize {
        // In this order, so that a guest that leaves meanwhile is rather counted than not.
        let all = self.http();
        all.saturating_sub(self.guest_http.load(SeqCst))
    }

    /// As [`Connections::websocket`], but only what is open in this proxy.
    pub fn own_websocket(&self) -> usize {
        let all = self.websocket();
        all.saturating_sub(self.guest_websocket.load(SeqCst))
    }

    /// Resolves when no request and no upgraded connection is open.
    pub async fn wait_idle(&self) {
        let _waiter = Waiter::new(&self.waiting);
        loop {
            let notified = self.idle.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if self.is_idle() {
                return;
            }
            notified.await;
        }
    }

    /// Ends the release's connections for good: upgraded ones are closed on both sides, responses in flight are cut,
    /// requests without a response get 502. Returns how many were open; they leave the counts soon after.
    pub fn close(&self) -> Cut {
        let cut = Cut {
            http: self.http(),
            websocket: self.websocket(),
        };
        self.closed.cancel();
        cut
    }

    /// Says whether the upstream will stay away: requests waiting for it then get 502 at once instead of being held.
    pub fn set_failed(&self, failed: bool) {
        self.failed.send_replace(failed);
    }

    /// Says whether the upstream is stopping. While it is, no connection to it takes a further request: those that were
    /// there before take none, and each that it still accepts takes one. When it accepts none, requests are held.
    pub fn set_stopping(&self, stopping: bool) {
        let next = |count: usize| (stopping == count.is_multiple_of(2)).then_some(count + 1);
        // It fails where that was said already.
        let _ = self.departures.fetch_update(SeqCst, SeqCst, next);
    }

    /// Whether the upstream was stopping, and how often that changed, as one number: one that was opened at another one takes
    /// no further request.
    pub(super) fn departures(&self) -> usize {
        self.departures.load(SeqCst)
    }

    /// Whether a connection that was opened at this number of departures may take another request.
    pub(super) fn may_keep(&self, opened: usize) -> bool {
        opened.is_multiple_of(2) && opened == self.departures()
    }

    pub(super) fn is_failed(&self) -> bool {
        *self.failed.borrow()
    }

    /// Resolves when the upstream is marked as failed.
    pub(super) async fn failed(&self) {
        let mut failed = self.failed.subscribe();
        // The sender lives as long as `self`, so waiting cannot end without the mark.
        let _ = failed.wait_for(|failed| *failed).await;
    }

    /// Resolves when [`Connections::close`] has been called.
    pub async fn wait_closed(&self) {
        self.closed.cancelled().await;
    }

    pub(super) fn closed(&self) -> &CancellationToken {
        &self.closed
    }

    /// Whether nothing is open. The order matters: an upgrade is counted as a WebSocket before it stops being counted
    /// as a request, so reading requests first cannot miss it.
    fn is_idle(&self) -> bool {
        self.http() == 0 && self.websocket() == 0
    }

    fn counter(&self, kind: Kind) -> &AtomicUsize {
        match kind {
            Kind::Http => &self.http,
            Kind::Websocket => &self.websocket,
        }
    }
}

impl Counted {
    /// How many of its kind are guests.
    pub(super) fn guests(&self) -> &AtomicUsize {
        match self.kind {
            Kind::Http => &self.connections.guest_http,
            Kind::Websocket => &self.connections.guest_websocket,
        }
    }

    /// Counts a request in.
    pub(super) fn request(connections: &Arc<Connections>) -> Counted {
        Counted::count(connections, Kind::Http)
    }

    /// Counts in an upgraded connection that comes from elsewhere.
    pub(super) fn upgraded(connections: &Arc<Connections>) -> Counted {
        Counted::count(connections, Kind::Websocket)
    }

    /// Turns a counted request into a counted upgraded connection.
    pub(super) fn into_upgraded(self) -> Counted {
        Counted::count(&self.connections, Kind::Websocket)
    }

    fn count(connections: &Arc<Connections>, kind: Kind) -> Counted {
        connections.counter(kind).fetch_add(1, SeqCst);
        Counted {
            connections: Arc::clone(connections),
            kind,
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let before = self.connections.counter(self.kind).fetch_sub(1, SeqCst);
        if before == 1 && self.connections.waiting.load(SeqCst) > 0 {
            self.connections.idle.notify_waiters();
        }
    }
}

/// Announces a caller of [`Connections::wait_idle`] before it looks at the counts.
struct Waiter<'a>(&'a AtomicUsize);

impl<'a> Waiter<'a> {
    fn new(waiting: &'a AtomicUsize) -> Waiter<'a> {
        waiting.fetch_add(1, SeqCst);
        Waiter(waiting)
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections() -> Arc<Connections> {
        Arc::clone(Route::new(([127, 0, 0, 1], 1).into()).connections())
    }

    #[test]
    fn guards_count_in_and_out() {
        let connections = connections();
        let request = Counted::request(&connections);
        assert_eq!((connections.http(), connections.websocket()), (1, 0));
        let upgraded = request.into_upgraded();
        assert_eq!((connections.http(), connections.websocket()), (0, 1));
        assert_eq!(
            connections.close(),
            Cut {
                http: 0,
                websocket: 1
            }
        );
        drop(upgraded);
        assert_eq!((connections.http(), connections.websocket()), (0, 0));
    }

    #[tokio::test]
    async fn waiting_ends_with_the_last_connection() {
        let connections = connections();
        let (first, second) = (
            Counted::request(&connections),
            Counted::request(&connections).into_upgraded(),
        );
        let waiting = tokio::spawn({
            let connections = Arc::clone(&connections);
            async move { connections.wait_idle().await }
        });
        tokio::task::yield_now().await;
        drop(first);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(second);
        waiting.await.unwrap();
        connections.wait_idle().await;
    }

    #[tokio::test]
    async fn a_failure_wakes_those_who_wait_for_it() {
        let connections = connections();
        assert!(!connections.is_failed());
        connections.set_failed(true);
        connections.failed().await;
        connections.set_failed(false);
        assert!(!connections.is_failed());
    }
}
