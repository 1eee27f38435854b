//! What can be told of one client connection while it is open, and how its task is reached.
//!
//! The connection writes into a slot of its own, plain cells of its worker's thread: no lock, no atomic, and no memory
//! while it rests. Whoever asks is answered by the worker between two steps of its connections.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Waker};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::handed::Usage;

/// How much of a request line is kept.
const MOST_LINE_BYTES: usize = 128;
/// Stands behind a path that is longer than what is kept.
const CUT: &str = "…";
/// Spare memory for requests kept by each thread.
const MOST_SPARE: usize = 64;

/// The boxes are what is kept; what is in them is written anew.
type Spare = Vec<Box<Use>>;

thread_local! {
    static SPARE: RefCell<Spare> = const { RefCell::new(Vec::new()) };
}

/// A connection that is in use, at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// None between two requests.
    in_use: RefCell<Option<Box<Use>>>,
    task: RefCell<Task>,
    /// When its task is to be woken although nothing has come.
    deadline: Cell<Option<Instant>>,
}

/// What is told of a request, or of what became of it.
#[derive(Debug)]
struct Use {
    /// 0 until it is counted.
    route: u64,
    is_upgraded: bool,
    began: Instant,
    line: [u8; MOST_LINE_BYTES],
    bytes_in: u64,
    bytes_out: u64,
}

/// The task that serves a connection, as others reach it.
#[derive(Debug, Default)]
struct Task {
    abort: Option<AbortHandle>,
    waker: Option<Waker>,
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
            in_use: RefCell::default(),
            task: RefCell::default(),
            deadline: Cell::new(None),
        })
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// A request begins, with this head.
    pub(super) fn begin(&self, head: &[u8]) {
        let mut begun = SPARE
            .with_borrow_mut(Vec::pop)
            .unwrap_or_else(|| Box::new(Use::new()));
        begun.begin(head);
        self.in_use.replace(Some(begun));
    }

    /// Goes on with a request that began elsewhere.
    pub(super) fn go_on(&self, usage: &Usage) {
        let line = match usage.path.strip_suffix(CUT) {
            // Without an end, it is seen as cut again.
            Some(path) => format!("{} {path}", usage.method),
            None => format!("{} {}\r\n", usage.method, usage.path),
        };
        let mut begun = Box::new(Use::new());
        begun.begin(line.as_bytes());
        let age = Duration::from_millis(usage.age_ms);
        begun.began = begun.began.checked_sub(age).unwrap_or(begun.began);
        begun.bytes_in = usage.bytes_in;
        begun.bytes_out = usage.bytes_out;
        self.in_use.replace(Some(begun));
    }

    /// It is counted on this route.
    pub(super) fn follow(&self, route: u64) {
        self.change(|in_use| in_use.route = route);
    }

    /// Its request is over.
    pub(super) fn rest(&self) {
        if let Some(over) = self.in_use.take() {
            SPARE.with_borrow_mut(|spare| {
                if spare.len() < MOST_SPARE {
                    spare.push(over);
                }
            });
        }
    }

    pub(super) fn upgrade(&self) {
        self.change(|in_use| in_use.is_upgraded = true);
    }

    pub(super) fn received(&self, bytes: usize) {
        self.change(|in_use| in_use.bytes_in += bytes as u64);
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.change(|in_use| in_use.bytes_out += bytes as u64);
    }

    fn change(&self, change: impl FnOnce(&mut Use)) {
        if let Some(in_use) = &mut *self.in_use.borrow_mut() {
            change(in_use);
        }
    }

    /// The route it is counted on; 0 between two requests.
    pub(super) fn route(&self) -> u64 {
        self.in_use.borrow().as_ref().map_or(0, |in_use| in_use.route)
    }

    /// What is told of its request, if it has one.
    pub(super) fn usage(&self) -> Option<Usage> {
        let in_use = self.in_use.borrow();
        let in_use = in_use.as_ref()?;
        let (method, path) = shown(&in_use.line);
        Some(Usage {
            method,
            path,
            age_ms: u64::try_from(in_use.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            bytes_in: in_use.bytes_in,
            bytes_out: in_use.bytes_out,
        })
    }

    /// What is shown of it, if it is in use.
    pub(super) fn look(&self) -> Option<OpenConnection> {
        let in_use = self.in_use.borrow();
        let in_use = in_use.as_ref().filter(|in_use| in_use.route != 0)?;
        let (method, path) = shown(&in_use.line);
        Some(OpenConnection {
            number: self.number,
            route: in_use.route,
            is_upgraded: in_use.is_upgraded,
            peer: self.peer,
            method,
            path,
            age: in_use.began.elapsed(),
            bytes_in: in_use.bytes_in,
            bytes_out: in_use.bytes_out,
        })
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

    pub(super) fn wake(&self) {
        if let Some(waker) = &self.task.borrow().waker {
            waker.wake_by_ref();
        }
    }

    /// Drops its task, and with it both sockets and its place in the counts; whether there was one.
    pub(super) fn cut(&self) -> bool {
        self.task
            .borrow()
            .abort
            .as_ref()
            .map(AbortHandle::abort)
            .is_some()
    }

    /// When its task is woken although nothing has come.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline.get()
    }

    /// Has its task woken at this moment; of two, only the last one counts.
    pub(super) fn wake_at(&self, deadline: Option<Instant>) {
        self.deadline.set(deadline);
    }
}

impl Use {
    fn new() -> Use {
        Use {
            route: 0,
            is_upgraded: false,
            began: Instant::now(),
            line: [b' '; MOST_LINE_BYTES],
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    fn begin(&mut self, head: &[u8]) {
        let length = head.len().min(MOST_LINE_BYTES);
        self.line[..length].copy_from_slice(&head[..length]);
        self.line[length..].fill(b' ');
        self.route = 0;
        self.is_upgraded = false;
        self.began = Instant::now();
        self.bytes_in = head.len() as u64;
        self.bytes_out = 0;
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
}
