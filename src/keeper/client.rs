//! The engine's side: a [`ProcessHost`] whose processes are children of the keeper.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::book::{Book, Waiting};
use super::descriptors;
use super::inheritance::{self, Inheritance};
use super::keeping::{Attendance, Departure, Keeper, Next};
use super::message::{Inbox, Past, ToKeeper, VERSION, append};
use crate::host::{
    BoxFuture, Census, Child, ChildId, Depth, Estate, Exit, Kinship, Log, Member, Note, ProcessHost, Role,
    SignalError, SpawnError, SpawnSpec, Usage, kin,
};

/// How long processes may take to end after SIGTERM once the keeper is gone.
const GRACE: Duration = Duration::from_secs(10);

/// How long is waited for room on the way to the keeper.
const MOMENT: Duration = Duration::from_millis(1);

/// How often is looked whether they have.
const LOOK: Duration = Duration::from_millis(20);

/// Starts processes through a keeper. Must be used inside a tokio runtime.
#[derive(Debug)]
pub struct KeeperHost {
    outgoing: mpsc::UnboundedSender<Outgoing>,
    next_request: AtomicU64,
    next_log: AtomicU64,
    book: Arc<Mutex<Book>>,
    /// The keeper, if it is a process of its own.
    keeper: Option<i32>,
    census: Census,
    lost: CancellationToken,
    /// How much of what was asked is not out of this process yet.
    unsent: Arc<AtomicUsize>,
    /// Another handle on the socket to the keeper.
    socket: OwnedFd,
}

/// What goes to the keeper, in this order.
#[derive(Debug)]
enum Outgoing {
    Message(ToKeeper),
    WithDescriptor(ToKeeper, OwnedFd),
    /// Answered once all before it is out of this process.
    Settle(oneshot::Sender<()>),
}

impl KeeperHost {
    /// Speaks to the keeper at the other end of `socket`, and hears what an earlier engine left there.
    /// `keeper` is its pid, if it is a process of its own. `rehearse` tells whether an engine of this program could go on
    /// from such notes.
    pub fn connect(
        socket: UnixStream,
        keeper: Option<i32>,
        rehearse: impl Fn(&Estate) -> Result<(), String>,
    ) -> io::Result<(KeeperHost, Inheritance)> {
        let mut book = Book::default();
        let mut inbox = Inbox::default();
        let mut inheritance = inheritance::receive(&socket, &mut inbox, rehearse, |message| {
            book.take(message);
        })?;
        inheritance.estate.children = std::mem::take(&mut book.heirs);
        let next_log = book.logs.keys().next_back().map_or(1, |last| last + 1);
        socket.set_nonblocking(true)?;
        let unsent = Arc::new(AtomicUsize::new(0));
        let another = socket.as_fd().try_clone_to_owned()?;
        let (reader, writer) = tokio::net::UnixStream::from_std(socket)?.into_split();
        let (outgoing, queue) = mpsc::unbounded_channel();
        let host = KeeperHost {
            outgoing,
            next_request: AtomicU64::new(0),
            next_log: AtomicU64::new(next_log),
            book: Arc::new(Mutex::new(book)),
            keeper,
            census: Census::default(),
            lost: CancellationToken::new(),
            unsent: unsent.clone(),
            socket: another,
        };
        host.ask(ToKeeper::Hello { version: VERSION });
        tokio::spawn(write(writer, queue, unsent));
        tokio::spawn(read(reader, inbox, host.book.clone(), host.lost.clone()));
        Ok((host, inheritance))
    }

    /// With a keeper that is a thread of this very process: for whoever runs the core without a daemon. Dropping the host
    /// stops what it started.
    pub fn in_this_process() -> io::Result<KeeperHost> {
        /// One engine, which is this very process.
        struct Only(Option<UnixStream>);
        impl Attendance for Only {
            fn descriptor(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
                None
            }
            fn attend(&mut self, _: &[i32]) {}
            fn engine_is_gone(&mut self, _: Departure, _: &[i32]) -> Next {
                Next::End
            }
            fn start_engine(&mut self) -> io::Result<(UnixStream, Past)> {
                let socket = self.0.take().ok_or(io::ErrorKind::NotConnected)?;
                Ok((socket, Past::default()))
            }
            fn engine_is_refused(&mut self, _: io::Error) -> Next {
                Next::End
            }
        }
        let (ours, theirs) = UnixStream::pair()?;
        std::thread::Builder::new()
            .name("keeper".to_owned())
            .spawn(move || Keeper::new().run(&mut Only(Some(theirs))))?;
        KeeperHost::connect(ours, None, |_| Ok(())).map(|(host, _)| host)
    }

    /// Waits until the keeper is gone. What it kept is being stopped then.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// Has a listener held for the next engine, under the name of what it listens for.
    pub fn hold(&self, name: &str, listener: OwnedFd) {
        let name = name.to_owned();
        self.send(Outgoing::WithDescriptor(ToKeeper::Hold { name }, listener));
    }

    /// Says that this engine serves: from now on another one takes its place should it end.
    pub fn ready(&self) {
        self.ask(ToKeeper::Ready {});
    }

    /// Has the service manager told something, in its own words.
    pub fn notify(&self, state: &str) {
        self.ask(ToKeeper::Notify {
            state: state.to_owned(),
        });
    }

    /// Waits until nothing is on its way to the keeper; true until the next await of the caller.
    pub async fn is_quiet(&self) {
        while self.unsent.load(Ordering::Acquire) > 0 {
            self.settled().await;
        }
    }

    /// Says that this engine has let go of everything but its connections, which it hands over through `socket`; the
    /// other end is the argument. Must be called where nothing of this engine runs any more, after [`Self::is_quiet`].
    ///
    /// # Errors
    /// When the keeper is gone.
    pub fn retire(&self, socket: &OwnedFd) -> io::Result<()> {
        let mut frame = Vec::new();
        append(&ToKeeper::Retire {}, &mut frame);
        loop {
            match descriptors::send(self.socket.as_fd(), &frame, socket.as_fd()) {
                // So short a message goes as a whole.
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(MOMENT),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Says that this engine ends for good.
    pub async fn farewell(&self) {
        self.ask(ToKeeper::Farewell {});
        self.settled().await;
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
        self.send(Outgoing::Message(message));
    }

    fn send(&self, outgoing: Outgoing) {
        self.unsent.fetch_add(1, Ordering::AcqRel);
        // Without a keeper there is nobody left to ask; whoever waits for an answer is told by the reader.
        if self.outgoing.send(outgoing).is_err() {
            self.unsent.store(0, Ordering::Release);
        }
    }
}

impl ProcessHost for KeeperHost {
    fn open_log(&self, most_lines: usize) -> Log {
        let id = self.next_log.fetch_add(1, Ordering::Relaxed);
        let log = Log::new(id, most_lines);
        self.book().logs.insert(id, log.clone());
        log
    }

    fn reopen_log(&self, id: u64, most_lines: usize) -> Log {
        self.next_log.fetch_max(id + 1, Ordering::Relaxed);
        let mut book = self.book();
        let log = book.logs.entry(id).or_insert_with(|| Log::new(id, most_lines));
        log.clone()
    }

    fn close_log(&self, log: &Log) {
        self.book().logs.remove(&log.id());
        self.ask(ToKeeper::CloseLog { log: log.id() });
    }

    fn spawn(&self, spec: SpawnSpec, log: Log, role: Role) -> BoxFuture<'_, Result<Child, SpawnError>> {
        Box::pin(async move {
            let request = self.next_request.fetch_add(1, Ordering::Relaxed);
            let (answer, wait) = oneshot::channel();
            {
                let mut book = self.book();
                if book.lost {
                    return Err(SpawnError::KeeperGone);
                }
                let token = spec.token.clone();
                book.waiting.insert(request, Waiting { token, answer });
            }
            self.ask(ToKeeper::Spawn {
                request,
                spec,
                log: log.id(),
                most_lines: log.most_lines(),
                role,
            });
            wait.await.unwrap_or(Err(SpawnError::KeeperGone))
        })
    }

    fn note(&self, notes: Vec<Note>) {
        self.ask(ToKeeper::Note { notes });
    }

    fn settled(&self) -> BoxFuture<'static, ()> {
        let (answer, wait) = oneshot::channel();
        self.send(Outgoing::Settle(answer));
        Box::pin(async move {
            // Without a keeper nothing will ever be safer than it is.
            let _ = wait.await;
        })
    }

    fn prepare_successor(&self, program: OwnedFd) -> BoxFuture<'static, Result<String, String>> {
        let (answer, wait) = oneshot::channel();
        {
            let mut book = self.book();
            book.successor = Some(answer);
            book.upgrading = true;
        }
        self.send(Outgoing::WithDescriptor(ToKeeper::Upgrade {}, program));
        let book = self.book.clone();
        Box::pin(async move {
            let gone = || Err("the keeper is gone".to_owned());
            let outcome = wait.await.unwrap_or_else(|_| gone());
            locked(&book).upgrading = outcome.is_ok();
            outcome
        })
    }

    fn replaced(&self) -> BoxFuture<'static, Result<(), String>> {
        let mut replaced = self.book().replaced.subscribe();
        Box::pin(async move {
            match replaced.wait_for(Option::is_some).await {
                Ok(outcome) => outcome.clone().unwrap_or(Ok(())),
                Err(_) => Err("the keeper is gone".to_owned()),
            }
        })
    }

    fn know_retired(&self, pid: i32, is_one: bool) {
        let retired = &mut self.book().retired;
        match is_one {
            true => retired.push(pid),
            false => retired.retain(|known| *known != pid),
        }
    }

    fn let_go(&self, name: String) {
        self.ask(ToKeeper::LetGo { name });
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

    fn strays(&self) -> Vec<Member> {
        let Some(keeper) = self.keeper else {
            return Vec::new();
        };
        let book = self.book();
        if book.lost || !book.waiting.is_empty() || book.upgrading {
            // One that is just being started is not known by its pid yet.
            return Vec::new();
        }
        let leaders = book.children.values().map(|known| known.kinship.leader);
        let mut known: Vec<i32> = leaders.collect();
        known.push(std::process::id().cast_signed());
        known.extend(&book.retired);
        let tokens = book.children.values().map(|known| known.kinship.token.as_str());
        let tokens: Vec<&str> = tokens.collect();
        kin::strays(keeper, &known, &tokens)
    }

    fn signal_stray(&self, stray: Member, signal: Signal) {
        kin::signal_one(stray, signal);
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

async fn write(
    mut writer: OwnedWriteHalf,
    mut queue: mpsc::UnboundedReceiver<Outgoing>,
    unsent: Arc<AtomicUsize>,
) {
    let mut bytes = Vec::new();
    let mut settling = Vec::new();
    while let Some(first) = queue.recv().await {
        let mut next = Some(first);
        let mut with = None;
        let mut taken = 0;
        while let Some(outgoing) = next {
            taken += 1;
            match outgoing {
                Outgoing::Message(message) => append(&message, &mut bytes),
                Outgoing::Settle(answer) => settling.push(answer),
                Outgoing::WithDescriptor(message, descriptor) => {
                    with = Some((message, descriptor));
                    break;
                }
            }
            next = queue.try_recv().ok();
        }
        if writer.write_all(&bytes).await.is_err() {
            // The reader notices the same, and tells.
            return;
        }
        bytes.clear();
        if let Some((message, descriptor)) = with {
            append(&message, &mut bytes);
            if write_with(&mut writer, &bytes, &descriptor).await.is_err() {
                return;
            }
            bytes.clear();
        }
        unsent.fetch_sub(taken, Ordering::Release);
        // Whoever waited may have left.
        for answer in settling.drain(..) {
            let _: Result<(), ()> = answer.send(());
        }
    }
}

/// The descriptor goes with the first of the bytes.
async fn write_with(writer: &mut OwnedWriteHalf, bytes: &[u8], descriptor: &OwnedFd) -> io::Result<()> {
    let socket = writer.as_ref();
    let send = || descriptors::send(socket.as_fd(), bytes, descriptor.as_fd());
    let sent = socket.async_io(Interest::WRITABLE, send).await?;
    writer.write_all(&bytes[sent..]).await
}

async fn read(mut reader: OwnedReadHalf, mut inbox: Inbox, book: Arc<Mutex<Book>>, lost: CancellationToken) {
    let mut buffer = vec![0; 64 * 1024];
    'connected: loop {
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
        match reader.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(count) => inbox.push(&buffer[..count]),
        }
    }
    locked(&book).lose();
    lost.cancel();
    stop_what_was_kept(&book).await;
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
