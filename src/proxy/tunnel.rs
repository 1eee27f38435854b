//! An upgraded connection: bytes both ways, a half-close passed on as one, until both sides are done, one of them
//! breaks, or the release's connections are closed. It owns both sockets, and no memory while nobody speaks.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

use super::buffer::Buffer;
use super::handed::{HandedFlow, OpenTunnel, Phase, Stage};
use super::route::Counted;
use super::slot::{Listed, Slot};
use super::target::Target;
use super::upstream::Upstream;
use super::wire::Wire;
use super::worker::Load;

/// The two sides of an upgrade that the upstream has agreed to.
#[derive(Debug)]
pub(super) struct Tunnel {
    client: TcpStream,
    upstream: TcpStream,
    up: Flow,
    down: Flow,
}

/// What becomes of a tunnel.
enum End {
    Over,
    /// Another proxy goes on with it.
    Leaves,
}

/// One direction.
#[derive(Debug)]
struct Flow {
    buffer: Buffer,
    phase: Phase,
}

impl Tunnel {
    /// A tunnel that begins with what has come already: the answer that switches protocols, and early bytes.
    pub(super) fn new(mut wire: Wire, mut upstream: Upstream) -> Tunnel {
        let mut down = std::mem::take(&mut wire.output);
        down.tail().extend_from_slice(upstream.input.unread());
        upstream.input.clear();
        Tunnel {
            up: Flow::new(std::mem::take(&mut wire.input)),
            down: Flow::new(down),
            client: wire.stream,
            upstream: upstream.stream,
        }
    }

    /// A tunnel that comes from elsewhere.
    pub(super) fn adopted(client: TcpStream, upstream: TcpStream, state: &OpenTunnel) -> Tunnel {
        Tunnel {
            client,
            upstream,
            up: Flow::adopted(&state.up),
            down: Flow::adopted(&state.down),
        }
    }

    /// Starts the tunnel as a task of its own, much smaller than that of the request it came from.
    pub(super) fn start(self, load: Load, counted: Counted, target: Rc<Target>, listed: Listed) {
        let slot = Rc::clone(listed.slot());
        slot.upgrade();
        let task = tokio::task::spawn_local(self.run(load, counted, target, listed));
        slot.served_by(task.abort_handle());
    }

    async fn run(mut self, load: Load, counted: Counted, target: Rc<Target>, listed: Listed) {
        let end = {
            let mut closed = target.closed().waiting();
            std::future::poll_fn(|context| {
                listed.slot().attend(context);
                if listed.departure().is_open() && !target.closed().is_sent() {
                    return Poll::Ready(End::Leaves);
                }
                match self.poll(context, listed.slot()) {
                    Poll::Ready(_) => Poll::Ready(End::Over),
                    Poll::Pending => closed.poll(context).map(|()| End::Over),
                }
            })
            .await
        };
        match end {
            End::Leaves => self.give_up(&listed),
            // However it ended, both sides are closed now.
            End::Over => drop(self),
        }
        drop((counted, load, listed));
    }

    /// Goes with all it has read and not yet written.
    fn give_up(self, listed: &Listed) {
        let stage = Stage::Tunnel(OpenTunnel {
            route: listed.slot().route(),
            usage: listed.slot().usage(),
            up: self.up.handed(),
            down: self.down.handed(),
        });
        listed.give_up(stage, self.client, Some(self.upstream));
    }

    fn poll(&mut self, context: &mut Context<'_>, slot: &Slot) -> Poll<io::Result<()>> {
        let up = self
            .up
            .poll(context, &mut self.client, &mut self.upstream, |bytes| {
                slot.received(bytes)
            })?;
        let down = self
            .down
            .poll(context, &mut self.upstream, &mut self.client, |bytes| {
                slot.sent(bytes)
            })?;
        if up.is_ready() && down.is_ready() {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }
}

impl Flow {
    fn new(buffer: Buffer) -> Flow {
        Flow {
            buffer,
            phase: Phase::Open,
        }
    }

    fn adopted(state: &HandedFlow) -> Flow {
        Flow {
            buffer: Buffer::of(&state.pending),
            phase: state.phase,
        }
    }

    fn handed(&self) -> HandedFlow {
        HandedFlow {
            pending: self.buffer.unread().to_vec(),
            phase: self.phase,
        }
    }

    /// Ready when the FIN has been passed on.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        from: &mut TcpStream,
        to: &mut TcpStream,
        count: impl Fn(usize),
    ) -> Poll<io::Result<()>> {
        loop {
            while !self.buffer.is_empty() {
                ready!(self.buffer.poll_drain(context, to))?;
            }
            match self.phase {
                Phase::Open => match ready!(self.buffer.poll_fill(context, from))? {
                    0 => self.phase = Phase::Ending,
                    bytes => count(bytes),
                },
                Phase::Ending => {
                    ready!(Pin::new(&mut *to).poll_shutdown(context))?;
                    self.phase = Phase::Ended;
                }
                Phase::Ended => return Poll::Ready(Ok(())),
            }
        }
    }
}
