//! The engine's side: a [`ProcessHost`] whose processes are children of the keeper.

use std::collections::HashMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::keeping::{Attendance, Keeper};
use super::message::{Ending, Inbox, ToEngine, ToKeeper, VERSION, append};
use crate::clock::Timestamp;
use crate::host::{
    BoxFuture, Census, Child, ChildId, Depth, Exit, Kinship, Log, Member, ProcessHost, SignalError,
    SpawnError, SpawnSpec, Stream, Usage, kin,
};

/// How long processes may take to end after SIGTERM once the keeper is gone.
const GRACE: Duration = Duration::from_secs(10);

/// How often is looked whether they have.
const LOOK: Duration = Duration::from_millis(20);

/// Starts processes through a keeper. Must be used inside a tokio runtime.
#[derive(Debug)]
pub struct KeeperHost {
    requests: mpsc::UnboundedSender<ToKeeper>,
    next_request: AtomicU64,
    book: Arc<Mutex<Book>>,
    census: Census,
    lost: CancellationToken,
}

/// What is known of the children, and who waits for one.
#[derive(Debug, Default)]
struct Book {
    waiting: HashMap<u64, Waiting>,
    children: HashMap<u64, Known>,
    /// The keeper is gone.
    lost: bool,
}

#[derive(Debug)]
struct Waiting {
    token: String,
    log: Log,
    answer: oneshot::Sender<Result<Child, SpawnError>>,
}

#[derive(Debug)]
struct Known {
    kinship: Kinship,
    log: Log,
    /// Gone once nobody is left who could write.
    exit: Option<mpsc::Sender<Exit>>,
    /// The engine has let go of it.
    forgotten: bool,
}

impl KeeperHost {
    /// Speaks to the keeper at the other end of `socket`.
    pub fn connect(socket: UnixStream) -> io::Result<KeeperHost> {
        socket.set_nonblocking(true)?;
        let (reader, writer) = tokio::net::UnixStream::from_std(socket)?.into_split();
        let (requests, queue) = mpsc::unbounded_channel();
        // The receiver was made a line above.
        let _ = requests.send(ToKeeper::Hello { version: VERSION });
        let host = KeeperHost {
            requests,
            next_request: AtomicU64::new(0),
            book: Arc::default(),
            census: Census::default(),
            lost: CancellationToken::new(),
        };
        tokio::spawn(write(writer, queue));
        tokio::spawn(read(reader, host.book.clone(), host.lost.clone()));
        Ok(host)
    }

    /// With a keeper that is a thread of this very process: for whoever runs the core without a daemon. Dropping the host
    /// stops what it started.
    pub fn in_this_process() -> io::Result<KeeperHost> {
        struct Nothing;
        impl Attendance for Nothing {
            fn descriptor(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
                None
            }
            fn attend(&mut self, _: &[i32]) {}
        }
        let (ours, theirs) = UnixStream::pair()?;
        let keeper = Keeper::new(theirs)?;
        std::thread::Builder::new()
            .name("keeper".to_owned())
            .spawn(move || keeper.run(&mut Nothing))?;
        KeeperHost::connect(ours)
    }

    /// Waits until the keeper is gone. What it kept is being stopped then.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        locked(&self.book)
    }

    fn kinship(&self, child: ChildId) -> Option<Kinship> {
        let book = self.book();
        let known = book.children.get(&child.0).filter(|known| !known.forgotten)?;
        Some(known.kinship.clone())
    }

    fn ask(&self, message: ToKeeper) {
        // Without a keeper there is nobody left to ask; whoever waits for an answer is told by the reader.
        let _ = self.requests.send(message);
    }
}

impl ProcessHost for KeeperHost {
    fn spawn(&self, spec: SpawnSpec, log: Log) -> BoxFuture<'_, Result<Child, SpawnError>> {
        Box::pin(async move {
            let request = self.next_request.fetch_add(1, Ordering::Relaxed);
            let (answer, wait) = oneshot::channel();
            {
                let mut book = self.book();
                if book.lost {
                    return Err(SpawnError::KeeperGone);
                }
                let token = spec.token.clone();
                book.waiting.insert(request, Waiting { token, log, answer });
            }
            self.ask(ToKeeper::Spawn {
                request,
                spec: spec.into(),
            });
            wait.await.unwrap_or(Err(SpawnError::KeeperGone))
        })
    }

    fn signal(&self, child: ChildId, signal: Signal) -> Result<(), SignalError> {
        match self.kinship(child) {
            Some(kinship) if self.book().lost => {
                kin::proven_members(&kinship)
                    .into_iter()
                    .for_each(|member| kin::signal_one(member, signal));
                Ok(())
            }
            Some(kinship) => kin::signal(&kinship, signal),
            None => Ok(()),
        }
    }

    fn members(&self, child: ChildId) -> Vec<Member> {
        match self.kinship(child) {
            Some(kinship) if self.book().lost => kin::proven_members(&kinship),
            Some(kinship) => kin::members(&kinship),
            None => Vec::new(),
        }
    }

    fn usage(&self, child: ChildId, depth: Depth) -> BoxFuture<'static, Usage> {
        let answer = self.kinship(child).map(|kinship| self.census.ask(kinship, depth));
        Box::pin(async move {
            match answer {
                Some(answer) => answer.await.unwrap_or_default(),
                None => Usage::default(),
            }
        })
    }

    fn forget(&self, child: ChildId) {
        if let Some(known) = self.book().children.get_mut(&child.0) {
            // Its last words may still be on their way.
            known.forgotten = true;
            known.exit = None;
        }
        self.ask(ToKeeper::Forget { child: child.0 });
    }
}

async fn write(mut writer: OwnedWriteHalf, mut queue: mpsc::UnboundedReceiver<ToKeeper>) {
    let mut bytes = Vec::new();
    while let Some(message) = queue.recv().await {
        bytes.clear();
        append(&message, &mut bytes);
        while let Ok(message) = queue.try_recv() {
            append(&message, &mut bytes);
        }
        if writer.write_all(&bytes).await.is_err() {
            // The reader notices the same, and tells.
            return;
        }
    }
}

async fn read(mut reader: OwnedReadHalf, book: Arc<Mutex<Book>>, lost: CancellationToken) {
    let mut inbox = Inbox::default();
    let mut buffer = vec![0; 64 * 1024];
    'connected: loop {
        match reader.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(count) => inbox.push(&buffer[..count]),
        }
        while let Some(message) = inbox.take() {
            match message {
                Ok(message) => {
                    if !locked(&book).take(message) {
                        break 'connected;
                    }
                }
                Err(_) => break 'connected,
            }
        }
    }
    locked(&book).lose();
    lost.cancel();
    stop_what_was_kept(&book).await;
}

impl Book {
    /// Takes in a message; false if this keeper cannot be understood.
    fn take(&mut self, message: ToEngine) -> bool {
        match message {
            ToEngine::Hello { version } => return version == VERSION,
            ToEngine::Spawned { request, child, pid } => self.spawned(request, child, pid),
            ToEngine::SpawnFailed { request, reason } => {
                if let Some(waiting) = self.waiting.remove(&request) {
                    // Whoever asked may have lost interest.
                    let _ = waiting.answer.send(Err(reason.into()));
                }
            }
            ToEngine::Line {
                child,
                at,
                stderr,
                line,
            } => {
                if let Some(known) = self.children.get(&child) {
                    let stream = if stderr { Stream::Stderr } else { Stream::Stdout };
                    known.log.keep(stream, line, Timestamp::from_ms(at));
                }
            }
            ToEngine::Exited { child, ending } => {
                if let Some(exit) = self.children.get(&child).and_then(|known| known.exit.as_ref()) {
                    // There is room for the one exit; a supervisor that is gone needs none.
                    let _ = exit.try_send(match ending {
                        Ending::Code(code) => Exit::Code(code),
                        Ending::Signal(number) => Exit::Signal(number),
                        Ending::Unknown => Exit::Unknown,
                    });
                }
            }
            ToEngine::Silent { child } => {
                if let Some(known) = self.children.get_mut(&child) {
                    known.exit = None;
                }
            }
            ToEngine::Forgotten { child } => {
                self.children.remove(&child);
            }
        }
        true
    }

    fn lose(&mut self) {
        self.lost = true;
        // Whoever waits for a start learns of it when the sender is dropped.
        self.waiting.clear();
    }

    fn spawned(&mut self, request: u64, child: u64, pid: i32) {
        let Some(waiting) = self.waiting.remove(&request) else {
            return;
        };
        let (sender, exit) = mpsc::channel(1);
        let kinship = Kinship {
            leader: pid,
            token: waiting.token,
        };
        let known = Known {
            kinship,
            log: waiting.log,
            exit: Some(sender),
            forgotten: false,
        };
        self.children.insert(child, known);
        let id = ChildId(child);
        // A supervisor that went away meanwhile cannot stop it; its kin are known here, for the end of the keeper.
        let _ = waiting.answer.send(Ok(Child { id, pid, exit }));
    }
}

/// The keeper is gone, and with it the pipes and the exits: what it kept is stopped rather than left behind. Only
/// processes that prove by their token that they are ours are signalled, for their leaders are reaped by others now.
async fn stop_what_was_kept(book: &Mutex<Book>) {
    let kinships: Vec<Kinship> = locked(book)
        .children
        .values()
        .filter(|known| !known.forgotten)
        .map(|known| known.kinship.clone())
        .collect();
    let stop = move || {
        let signal_all = |signal| {
            let members: Vec<Member> = kinships.iter().flat_map(kin::proven_members).collect();
            members.iter().for_each(|member| kin::signal_one(*member, signal));
            members.is_empty()
        };
        let deadline = std::time::Instant::now() + GRACE;
        let mut gone = signal_all(Signal::SIGTERM);
        while !gone && std::time::Instant::now() < deadline {
            std::thread::sleep(LOOK);
            gone = kinships
                .iter()
                .all(|kinship| kin::proven_members(kinship).is_empty());
        }
        // What survives this is in the hands of the system.
        if !gone {
            signal_all(Signal::SIGKILL);
        }
    };
    // It fails only while the runtime goes down.
    let _ = tokio::task::spawn_blocking(stop).await;
    for known in locked(book).children.values_mut() {
        if let Some(exit) = known.exit.take() {
            // There is room for the one exit, unless it has been told.
            let _ = exit.try_send(Exit::Unknown);
        }
    }
}

fn locked(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}
