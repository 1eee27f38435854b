//! An upgraded connection: bytes both ways, a half-close passed on as one, until both sides are done, one of them
//! breaks, or the release's connections are closed. It owns both sockets, and no memory while nobody speaks.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

use super::buffer::Buffer;
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

/// One direction.
#[derive(Debug)]
struct Flow {
    buffer: Buffer,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// The FIN has come and is still to be passed on.
    Ending,
    Ended,
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

    /// Starts the tunnel as a task of its own, much smaller than that of the request it came from.
    pub(super) fn start(self, load: Load, counted: Counted, target: Rc<Target>, listed: Listed) {
        let slot = Rc::clone(listed.slot());
        slot.upgrade();
        let task = tokio::task::spawn_local(self.run(load, counted, target, listed));
        slot.served_by(task.abort_handle());
    }

    async fn run(mut self, load: Load, counted: Counted, target: Rc<Target>, listed: Listed) {
        {
            let mut closed = target.closed().waiting();
            std::future::poll_fn(|context| match self.poll(context, listed.slot()) {
                // However it ended, both sides are closed now.
                Poll::Ready(_) => Poll::Ready(()),
                Poll::Pending => closed.poll(context),
            })
            .await;
        }
        drop((self, counted, load, listed));
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
