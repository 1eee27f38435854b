//! A worker thread: a single-threaded runtime that serves its share of the client connections and follows one route
//! at a time. Everything a request touches here belongs to this thread alone.

use std::cell::{Ref, RefCell};
use std::net::{SocketAddr, TcpStream};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

use super::adoption::{self, Adopted};
use super::alarm::Alarm;
use super::departure::Departure;
use super::handed::{Handed, HeldRequest, Resting};
use super::hold::Holds;
use super::route::Route;
use super::slot::{OpenConnection, Slot};
use super::slots::Slots;
use super::target::Target;
use super::{Settings, client};

/// What a worker is told.
#[derive(Debug)]
pub(super) enum Command {
    /// Serve this client connection.
    Serve(Arrival),
    /// Go on with this client connection.
    Adopt(Box<Adopted>),
    /// Give up every connection by this way, as soon as it is not in the middle of a request.
    SendAway(mpsc::UnboundedSender<Handed>),
    /// Keep those that are still here.
    Stay,
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
    pub(super) beginning: Beginning,
}

/// Where a client connection begins.
#[derive(Debug)]
pub(super) enum Beginning {
    /// With its first request.
    New,
    /// Where another proxy has left it.
    Resting(Box<Resting>),
    /// With a request another proxy has held.
    Held(Box<HeldRequest>),
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
    /// Targets of adopted tunnels, which get no new requests.
    others: RefCell<Vec<Weak<Target>>>,
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
                others: RefCell::default(),
                slots: Rc::default(),
            });
            let mut alarm = Alarm::default();
            while let Some(command) = alarm.next_command(&mut commands, &worker).await {
                match command {
                    Command::Serve(arrival) => {
                        let slot = Slot::new(arrival.peer);
                        worker.serve(arrival, &slot);
                    }
                    Command::Adopt(adopted) => adoption::go_on(&worker, *adopted),
                    Command::SendAway(way) => worker.slots.send_away(way),
                    Command::Stay => worker.slots.departure().close(),
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

    /// Serves a client connection, which is told of in this slot.
    pub(super) fn serve(self: &Rc<Self>, arrival: Arrival, slot: &Rc<Slot>) {
        let listed = Slots::add(&self.slots, slot);
        if let Some(serving) = client::serve(Rc::clone(self), arrival, listed) {
            slot.served_by(tokio::task::spawn_local(serving).abort_handle());
        }
    }

    pub(super) fn slots(&self) -> &Rc<Slots> {
        &self.slots
    }

    /// The way out, for connections in the care of this worker.
    pub(super) fn departure(&self) -> &Departure {
        self.slots.departure()
    }

    pub(super) fn settings(&self) -> Ref<'_, Settings> {
        Ref::map(self.settings.borrow(), |settings| &**settings)
    }

    pub(super) fn holds(&self) -> &Arc<Holds> {
        &self.holds
    }

    /// The target new requests go to. A caller counts its request in before it awaits anything.
    pub(super) fn target(&self) -> Option<Rc<Target>> {
        self.target.borrow().clone()
    }

    /// The target of an adopted tunnel. All of one route share one.
    pub(super) fn target_of(&self, route: Route) -> Rc<Target> {
        let id = route.connections().id();
        let is_wanted = |target: &Rc<Target>| target.connections().id() == id;
        if let Some(current) = self.target().filter(is_wanted) {
            return current;
        }
        let mut others = self.others.borrow_mut();
        others.retain(|target| target.strong_count() > 0);
        if let Some(known) = others.iter().filter_map(Weak::upgrade).find(is_wanted) {
            return known;
        }
        let target = Target::new(route, &self.slots);
        target.retire();
        others.push(Rc::downgrade(&target));
        target
    }

    fn follow(&self, route: Option<Route>) {
        let old = self
            .target
            .replace(route.map(|route| Target::new(route, &self.slots)));
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
        let arrival = Arrival {
            stream,
            peer,
            load: self.more_load(),
            beginning: Beginning::New,
        };
        // A worker that is gone drops the connection, which closes it.
        let _ = self.commands.send(Command::Serve(arrival));
    }

    /// Has this worker go on with a client connection.
    pub(super) fn adopt(&self, adopt: impl FnOnce(Load) -> Adopted) {
        let adopted = Box::new(adopt(self.more_load()));
        let _ = self.commands.send(Command::Adopt(adopted));
    }

    /// Has this worker give up its connections.
    pub(super) fn send_away(&self, way: mpsc::UnboundedSender<Handed>) {
        let _ = self.commands.send(Command::SendAway(way));
    }

    /// Has this worker keep the connections it still has.
    pub(super) fn stay(&self) {
        let _ = self.commands.send(Command::Stay);
    }

    fn more_load(&self) -> Load {
        self.load.fetch_add(1, SeqCst);
        Load(Arc::clone(&self.load))
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
