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
use super::slots::Listed;
use super::target::Target;
use super::upstream::Upstream;
use super::wire::Wire;
use super::worker::Load;

/// An upgrade that the upstream has agreed to, and its place in all counts.
#[derive(Debug)]
pub(super) struct Tunnel {
    client: TcpStream,
    upstream: TcpStream,
    up: Flow,
    down: Flow,
    target: Rc<Target>,
    slot: Listed,
    _counted: Counted,
    _load: Load,
}

/// The task of a tunnel, much smaller than that of the request it came from.
#[derive(Debug)]
struct Serving(Option<Tunnel>);

/// One direction.
#[derive(Debug)]
struct Flow {
    buffer: Buffer,
    phase: Phase,
}

impl Tunnel {
    /// A tunnel that begins with what has come already: the answer that switches protocols, and early bytes.
    pub(super) fn new(
        mut wire: Wire,
        mut upstream: Upstream,
        load: Load,
        counted: Counted,
        target: Rc<Target>,
    ) -> Tunnel {
        let mut down = std::mem::take(&mut wire.output);
        down.tail().extend_from_slice(upstream.input.unread());
        upstream.input.clear();
        Tunnel {
            up: Flow::new(std::mem::take(&mut wire.input)),
            down: Flow::new(down),
            client: wire.stream,
            upstream: upstream.stream,
            target,
            slot: wire.slot,
            _counted: counted,
            _load: load,
        }
    }

    /// A tunnel that comes from elsewhere, with the sockets of client and upstream.
    pub(super) fn adopted(
        (client, upstream): (TcpStream, TcpStream),
        state: &OpenTunnel,
        slot: Listed,
        load: Load,
        counted: Counted,
        target: Rc<Target>,
    ) -> Tunnel {
        Tunnel {
            client,
            upstream,
            up: Flow::adopted(&state.up),
            down: Flow::adopted(&state.down),
            target,
            slot,
            _counted: counted,
            _load: load,
        }
    }

    /// Starts the tunnel as a task of its own.
    pub(super) fn start(self) {
        let slot = Rc::clone(&self.slot);
        slot.upgrade();
        let task = tokio::task::spawn_local(Serving(Some(self)));
        slot.served_by(task.abort_handle());
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let slot = &self.slot;
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

    /// Leaves for another proxy, with all it has read and not yet written.
    fn leave(self) {
        let stage = Stage::Tunnel(OpenTunnel {
            route: self.slot.route(),
            usage: self.slot.usage().unwrap_or_default(),
            up: self.up.handed(),
            down: self.down.handed(),
        });
        self.slot.give_up(stage, self.client, Some(self.upstream));
    }
}

impl Future for Serving {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(tunnel) = &mut self.0 else {
            return Poll::Ready(());
        };
        // Woken through its slot when its release's connections are closed, and when connections leave.
        tunnel.slot.attend(context);
        if !tunnel.target.closed().is_sent() {
            if tunnel.slot.departure().is_open() {
                if let Some(tunnel) = self.0.take() {
                    tunnel.leave();
                }
                return Poll::Ready(());
            }
            // An error ends it as well as an end does.
            if tunnel.poll(context).is_pending() {
                return Poll::Pending;
            }
        }
        // Both sides are closed now.
        self.0 = None;
        Poll::Ready(())
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
