//! What can be told of one client connection while it is open.
//!
//! The connection writes into a slot of its own, plain cells of its worker's thread: no lock, no atomic, no allocation for
//! each request. Whoever asks is answered by the worker between two steps of its connections.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;

use super::departure::Departure;
use super::handed::{Handed, HandedState, Stage, Usage, descriptor};

/// How much of a request line is kept.
const MOST_LINE_BYTES: usize = 128;
/// Stands behind a path that is longer than what is kept.
const CUT: &str = "…";

/// A connection that is in use, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenConnection {
    /// Names it.
    pub number: u64,
    /// The route it is counted on, by [`super::route::Connections::id`].
    pub route: u64,
    /// Whether it has been upgraded.
    pub is_upgraded: bool,
    /// Who is at the other end.
    pub peer: SocketAddr,
    /// The method of its request.
    pub method: String,
    /// The path of its request, without the query; a long one is cut.
    pub path: String,
    /// How long ago its request began.
    pub age: Duration,
    /// Bytes from the client since then.
    pub bytes_in: u64,
    /// Bytes to the client since then.
    pub bytes_out: u64,
}

/// What one connection tells of itself.
#[derive(Debug)]
pub(super) struct Slot {
    number: u64,
    peer: SocketAddr,
    /// 0 between two requests.
    route: Cell<u64>,
    is_upgraded: Cell<bool>,
    began: Cell<Instant>,
    line: RefCell<[u8; MOST_LINE_BYTES]>,
    bytes_in: Cell<u64>,
    bytes_out: Cell<u64>,
    task: RefCell<Task>,
}

/// The task that serves a connection, as others reach it.
#[derive(Debug, Default)]
struct Task {
    abort: Option<AbortHandle>,
    waker: Option<Waker>,
}

/// The slots of one worker, and the way out for their connections.
#[derive(Debug, Default)]
pub(super) struct Slots {
    list: RefCell<BTreeMap<u64, Rc<Slot>>>,
    departure: Departure,
}

/// The number the next connection gets.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// The number the next connection of this process gets.
pub(super) fn next_number() -> u64 {
    NEXT.load(Relaxed)
}

/// Leaves all numbers below `first` to others.
pub(super) fn number_from(first: u64) {
    NEXT.fetch_max(first, Relaxed);
}

/// A slot in its worker's list, until dropped.
#[derive(Debug)]
pub(super) struct Listed {
    slots: Rc<Slots>,
    slot: Rc<Slot>,
}

impl Slot {
    pub(super) fn new(peer: SocketAddr) -> Rc<Slot> {
        Slot::with_number(NEXT.fetch_add(1, Relaxed), peer)
    }

    /// The slot of a connection that comes from elsewhere, and keeps its number.
    pub(super) fn adopted(number: u64, peer: SocketAddr) -> Rc<Slot> {
        number_from(number.saturating_add(1));
        Slot::with_number(number, peer)
    }

    fn with_number(number: u64, peer: SocketAddr) -> Rc<Slot> {
        Rc::new(Slot {
            number,
            peer,
            route: Cell::new(0),
            is_upgraded: Cell::new(false),
            began: Cell::new(Instant::now()),
            line: RefCell::new([b' '; MOST_LINE_BYTES]),
            bytes_in: Cell::new(0),
            bytes_out: Cell::new(0),
            task: RefCell::default(),
        })
    }

    /// Goes on with a request that began elsewhere.
    pub(super) fn go_on(&self, usage: &Usage) {
        let line = match usage.path.strip_suffix(CUT) {
            // Without an end, it is seen as cut again.
            Some(path) => format!("{} {path}", usage.method),
            None => format!("{} {}\r\n", usage.method, usage.path),
        };
        self.begin(line.as_bytes());
        let age = Duration::from_millis(usage.age_ms);
        self.began
            .set(Instant::now().checked_sub(age).unwrap_or_else(Instant::now));
        self.bytes_in.set(usage.bytes_in);
        self.bytes_out.set(usage.bytes_out);
    }

    /// What is told of its request.
    pub(super) fn usage(&self) -> Usage {
        let (method, path) = shown(&*self.line.borrow());
        let age = self.began.get().elapsed();
        Usage {
            method,
            path,
            age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
            bytes_in: self.bytes_in.get(),
            bytes_out: self.bytes_out.get(),
        }
    }

    pub(super) fn route(&self) -> u64 {
        self.route.get()
    }

    /// A request begins, with this head.
    pub(super) fn begin(&self, head: &[u8]) {
        let length = head.len().min(MOST_LINE_BYTES);
        self.line.borrow_mut()[..length].copy_from_slice(&head[..length]);
        self.began.set(Instant::now());
        self.bytes_in.set(head.len() as u64);
        self.bytes_out.set(0);
    }

    /// It is counted on this route.
    pub(super) fn follow(&self, route: u64) {
        self.route.set(route);
    }

    /// Its request is over.
    pub(super) fn rest(&self) {
        self.route.set(0);
    }

    pub(super) fn upgrade(&self) {
        self.is_upgraded.set(true);
    }

    pub(super) fn received(&self, bytes: usize) {
        self.bytes_in.set(self.bytes_in.get() + bytes as u64);
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.bytes_out.set(self.bytes_out.get() + bytes as u64);
    }

    /// The task that serves it from now on.
    pub(super) fn served_by(&self, task: AbortHandle) {
        // The waker of the task before wakes nobody.
        self.task.replace(Task {
            abort: Some(task),
            waker: None,
        });
    }

    /// Has its task woken through this slot too. Called by the task, as often as it likes.
    pub(super) fn attend(&self, context: &Context<'_>) {
        let waker = &mut self.task.borrow_mut().waker;
        if waker.is_none() {
            *waker = Some(context.waker().clone());
        }
    }

    fn wake(&self) {
        if let Some(waker) = &self.task.borrow().waker {
            waker.wake_by_ref();
        }
    }

    fn look(&self) -> Option<OpenConnection> {
        let route = self.route.get();
        let (method, path) = shown(&*self.line.borrow());
        (route != 0).then(|| OpenConnection {
            number: self.number,
            route,
            is_upgraded: self.is_upgraded.get(),
            peer: self.peer,
            method,
            path,
            age: self.began.get().elapsed(),
            bytes_in: self.bytes_in.get(),
            bytes_out: self.bytes_out.get(),
        })
    }
}

impl Slots {
    /// Lists a slot.
    pub(super) fn add(slots: &Rc<Slots>, slot: &Rc<Slot>) -> Listed {
        slots.list.borrow_mut().insert(slot.number, Rc::clone(slot));
        Listed {
            slots: Rc::clone(slots),
            slot: Rc::clone(slot),
        }
    }

    /// The connections in use.
    pub(super) fn look(&self) -> Vec<OpenConnection> {
        self.list
            .borrow()
            .values()
            .filter_map(|slot| slot.look())
            .collect()
    }

    /// Cuts a connection; whether it was in use here.
    pub(super) fn cut(&self, number: u64) -> bool {
        let slot = self.list.borrow().get(&number).cloned();
        let Some(slot) = slot.filter(|slot| slot.route.get() != 0) else {
            return false;
        };
        // Its task is dropped, and with it both sockets and its place in the counts.
        slot.task
            .borrow()
            .abort
            .as_ref()
            .map(AbortHandle::abort)
            .is_some()
    }

    pub(super) fn departure(&self) -> &Departure {
        &self.departure
    }

    /// Sends every connection away that is not in the middle of a request, and the others as soon as they are not. The
    /// way is dropped with the last one.
    pub(super) fn send_away(&self, way: UnboundedSender<Handed>) {
        self.departure.open(way);
        let list = self.list.borrow();
        if list.is_empty() {
            self.departure.close();
        }
        for slot in list.values() {
            slot.wake();
        }
    }
}

impl Listed {
    pub(super) fn slot(&self) -> &Rc<Slot> {
        &self.slot
    }

    pub(super) fn departure(&self) -> &Departure {
        &self.slots.departure
    }

    /// Gives the connection up. Should a socket not come out of its runtime, it is closed.
    pub(super) fn give_up(&self, stage: Stage, client: TcpStream, upstream: Option<TcpStream>) {
        let state = HandedState {
            number: self.slot.number,
            peer: self.slot.peer,
            stage,
        };
        if let (Ok(client), Ok(upstream)) = (descriptor(client), upstream.map(descriptor).transpose()) {
            self.slots.departure.take(Handed {
                state,
                client,
                upstream,
            });
        }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut list = self.slots.list.borrow_mut();
        list.remove(&self.slot.number);
        if list.is_empty() {
            self.slots.departure.close();
        }
    }
}

/// Method and path: no query, which may hold secrets.
fn shown(line: &[u8]) -> (String, String) {
    let end = line.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
    let text = String::from_utf8_lossy(&line[..end.unwrap_or(line.len())]).into_owned();
    let mut words = text.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target.split('?').next().unwrap_or_default();
    let is_cut = end.is_none() && path.len() == target.len() && words.next().is_none();
    (
        method.to_owned(),
        format!("{path}{}", if is_cut { CUT } else { "" }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_shown_without_its_query() {
        let pair = |method: &str, path: &str| (method.to_owned(), path.to_owned());
        assert_eq!(shown(b"GET /a?token=b HTTP/1.1\r\nhost: x"), pair("GET", "/a"));
        assert_eq!(shown(b"POST / HTTP/1.1\r\n"), pair("POST", "/"));
        let long = format!("GET /{}", "x".repeat(200));
        let kept = &long.as_bytes()[..MOST_LINE_BYTES];
        assert_eq!(
            shown(kept),
            pair("GET", &format!("{}…", &long[4..MOST_LINE_BYTES]))
        );
    }

    #[test]
    fn a_connection_is_told_of_while_it_is_in_use() {
        let slots = Rc::new(Slots::default());
        let slot = Slot::new(([127, 0, 0, 1], 9).into());
        let listed = Slots::add(&slots, &slot);
        assert!(slots.look().is_empty());
        slot.begin(b"GET / HTTP/1.1\r\n\r\n");
        slot.follow(4);
        slot.sent(7);
        let open = &slots.look()[0];
        assert_eq!((open.route, open.bytes_in, open.bytes_out), (4, 18, 7));
        slot.rest();
        assert!(slots.look().is_empty() && !slots.cut(slot.number));
        drop(listed);
        assert!(slots.list.borrow().is_empty());
    }
}
