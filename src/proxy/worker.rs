//! A worker thread: a single-threaded runtime that serves its share of the client connections and follows one route
//! at a time. Everything a request touches here belongs to this thread alone.

use std::cell::RefCell;
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

use super::hold::Holds;
use super::route::Route;
use super::slot::{OpenConnection, Slot, Slots};
use super::target::Target;
use super::{Settings, client};

/// What a worker is told.
#[derive(Debug)]
pub(super) enum Command {
    /// Serve this client connection.
    Serve(Arrival),
    /// Treat clients like this from now on.
    Configure(Arc<Settings>),
    /// Follow this route from now on, then say so.
    Switch(Option<Route>, oneshot::Sender<()>),
    /// Tell which connections are in use.
    Look(oneshot::Sender<Vec<OpenConnection>>),
    /// Cut this connection, and say whether it was here.
    Cut(u64, oneshot::Sender<bool>),
}

/// A client connection on its way from the acceptor to a worker.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) load: Load,
}

/// A worker as others see it: where to send commands, and how many client connections it has.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    commands: mpsc::UnboundedSender<Command>,
    load: Arc<AtomicUsize>,
}

/// One client connection in its worker's load, until dropped.
#[derive(Debug)]
pub(super) struct Load(Arc<AtomicUsize>);

/// What the connections of one worker share.
#[derive(Debug)]
pub(super) struct Worker {
    settings: RefCell<Arc<Settings>>,
    holds: Arc<Holds>,
    target: RefCell<Option<Rc<Target>>>,
    slots: Rc<Slots>,
}

impl Worker {
    /// Serves until every sender of commands is gone, then closes all connections.
    pub(super) fn run(
        runtime: Runtime,
        settings: Arc<Settings>,
        holds: Arc<Holds>,
        mut commands: mpsc::UnboundedReceiver<Command>,
    ) {
        LocalSet::new().block_on(&runtime, async move {
            let worker = Rc::new(Worker {
                settings: RefCell::new(settings),
                holds,
                target: RefCell::new(None),
                slots: Rc::default(),
            });
            while let Some(command) = commands.recv().await {
                match command {
                    Command::Serve(arrival) => {
                        let slot = Slot::new(arrival.peer);
                        let listed = Slots::add(&worker.slots, &slot);
                        let serving = client::serve(Rc::clone(&worker), arrival, listed);
                        slot.served_by(tokio::task::spawn_local(serving).abort_handle());
                    }
                    Command::Configure(settings) => {
                        worker.settings.replace(settings);
                    }
                    Command::Switch(route, acknowledgement) => {
                        worker.follow(route);
                        // Whoever asked may have stopped listening; the switch holds all the same.
                        let _ = acknowledgement.send(());
                    }
                    Command::Look(answer) => {
                        // Whoever asked may have left.
                        let _ = answer.send(worker.slots.look());
                    }
                    Command::Cut(number, answer) => {
                        let _ = answer.send(worker.slots.cut(number));
                    }
                }
            }
        });
    }

    pub(super) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.borrow())
    }

    pub(super) fn holds(&self) -> &Arc<Holds> {
        &self.holds
    }

    /// The target new requests go to. A caller counts its request in before it awaits anything.
    pub(super) fn target(&self) -> Option<Rc<Target>> {
        self.target.borrow().clone()
    }

    fn follow(&self, route: Option<Route>) {
        let old = self.target.replace(route.map(Target::new));
        if let Some(old) = old {
            old.retire();
        }
    }
}

impl Seat {
    /// A seat and the commands its worker will read.
    pub(super) fn new() -> (Seat, mpsc::UnboundedReceiver<Command>) {
        let (commands, receiver) = mpsc::unbounded_channel();
        (
            Seat {
                commands,
                load: Arc::new(AtomicUsize::new(0)),
            },
            receiver,
        )
    }

    /// Open client connections of this worker, those on their way to it included.
    pub(super) fn load(&self) -> usize {
        self.load.load(SeqCst)
    }

    /// Sends a client connection to this worker.
    pub(super) fn serve(&self, stream: TcpStream, peer: SocketAddr) {
        self.load.fetch_add(1, SeqCst);
        let load = Load(Arc::clone(&self.load));
        // A worker that is gone drops the connection, which closes it.
        let _ = self.commands.send(Command::Serve(Arrival { stream, peer, load }));
    }

    /// Sends new settings to this worker.
    pub(super) fn configure(&self, settings: Arc<Settings>) {
        let _ = self.commands.send(Command::Configure(settings));
    }

    /// The connections in use; the receiver fails if the worker has ended.
    pub(super) fn look(&self) -> oneshot::Receiver<Vec<OpenConnection>> {
        let (answer, receiver) = oneshot::channel();
        let _ = self.commands.send(Command::Look(answer));
        receiver
    }

    /// Cuts a connection, if it is here.
    pub(super) fn cut(&self, number: u64) -> oneshot::Receiver<bool> {
        let (answer, receiver) = oneshot::channel();
        let _ = self.commands.send(Command::Cut(number, answer));
        receiver
    }

    /// Sends a route to this worker; the receiver resolves when the worker follows it, or has ended.
    pub(super) fn publish(&self, route: Option<Route>) -> oneshot::Receiver<()> {
        let (acknowledgement, receiver) = oneshot::channel();
        let _ = self.commands.send(Command::Switch(route, acknowledgement));
        receiver
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}
