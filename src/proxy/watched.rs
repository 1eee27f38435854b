//! A socket that notes what passes through it, because hyper owns the socket and does not tell: whether bytes have
//! arrived since somebody last looked, whether bytes have left, and whether closing must look like a failure.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The notes on one socket. Atomics only because hyper wants its sockets to be `Send`; one thread uses them.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    arrived: AtomicBool,
    left: AtomicBool,
    reset: AtomicBool,
}

/// The socket.
#[derive(Debug)]
pub(super) struct Watched {
    stream: TcpStream,
    traffic: Arc<Traffic>,
}

impl Traffic {
    /// Whether bytes have arrived since [`Traffic::forget_arrivals`].
    pub(super) fn has_arrived(&self) -> bool {
        self.arrived.load(Relaxed)
    }

    pub(super) fn forget_arrivals(&self) {
        self.arrived.store(false, Relaxed);
    }

    /// Whether bytes have left since the last call.
    pub(super) fn take_left(&self) -> bool {
        self.left.swap(false, Relaxed)
    }

    /// Makes the socket end with a reset: the only way to tell a client that reads until the end of the connection
    /// that the end came too early.
    pub(super) fn end_with_reset(&self) {
        self.reset.store(true, Relaxed);
    }
}

impl Watched {
    pub(super) fn new(stream: TcpStream) -> (Watched, Arc<Traffic>) {
        let traffic = Arc::new(Traffic::default());
        (
            Watched {
                stream,
                traffic: Arc::clone(&traffic),
            },
            traffic,
        )
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if self.traffic.reset.load(Relaxed) {
            // If it fails the peer is gone already.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            self.traffic.arrived.store(true, Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        self.traffic.left.store(true, Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, buffers))?;
        self.traffic.left.store(true, Relaxed);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.traffic.reset.load(Relaxed) {
            // A FIN would already look like a clean end.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
