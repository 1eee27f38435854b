//! A client's connection: its socket, what has come from it and what is to go to it.

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::buffer::Buffer;
use super::exchange::Failure;
use super::handed::Stage;
use super::request::Request;
use super::slots::Listed;

/// How long a client may take to read the last answer and leave.
const LINGER: Duration = Duration::from_secs(1);
/// How long a client may take to read an answer of the proxy itself.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(30);

/// The connection.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) stream: TcpStream,
    pub(super) input: Buffer,
    pub(super) output: Buffer,
    /// What is told of the connection.
    pub(super) slot: Listed,
    /// The client has sent its FIN and still wants its answer.
    half_closed: bool,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, slot: Listed) -> Wire {
        Wire {
            stream,
            input: Buffer::default(),
            output: Buffer::default(),
            slot,
            half_closed: false,
        }
    }

    pub(super) fn is_half_closed(&self) -> bool {
        self.half_closed
    }

    /// Fails when the client has left. What it sends meanwhile is its next request, and is kept up to a limit.
    pub(super) fn poll_presence(
        &mut self,
        context: &mut Context<'_>,
        request: &Request,
    ) -> Result<(), Failure> {
        while !self.half_closed && !self.input.is_full() {
            match self.input.poll_fill(context, &mut self.stream) {
                // Such a client sends one request and its FIN, and waits for the answer.
                Poll::Ready(Ok(0)) if !request.keep_alive => self.half_closed = true,
                Poll::Ready(Ok(0) | Err(_)) => return Err(Failure::ClientGone),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    /// Resolves when the client leaves.
    pub(super) async fn gone(&mut self, request: &Request) {
        std::future::poll_fn(|context| match self.poll_presence(context, request) {
            Ok(()) => Poll::Pending,
            Err(_) => Poll::Ready(()),
        })
        .await;
    }

    /// Sends what is ready for the client.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        let flushing = std::future::poll_fn(|context| {
            while !self.output.is_empty() {
                match self.output.poll_drain(context, &mut self.stream) {
                    Poll::Ready(Ok(())) => {}
                    other => return other,
                }
            }
            Poll::Ready(Ok(()))
        });
        tokio::time::timeout(FLUSH_TIMEOUT, flushing).await?
    }

    /// Closes, after the client has had time to read: closing with bytes of it unread would make the kernel send a
    /// reset, which can overtake the answer.
    pub(super) async fn linger(mut self) {
        if self.stream.shutdown().await.is_err() {
            return;
        }
        let leaving = std::future::poll_fn(|context| {
            loop {
                self.input.clear();
                match self.input.poll_fill(context, &mut self.stream) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Pending => return Poll::Pending,
                }
            }
        });
        // Whoever stays longer has had its chance.
        let _ = tokio::time::timeout(LINGER, leaving).await;
    }

    /// Leaves for another proxy, in a stage that is made of what has come and is not used yet.
    pub(super) fn leave(self, stage: impl FnOnce(Vec<u8>) -> Stage) {
        let stage = stage(self.input.unread().to_vec());
        self.slot.give_up(stage, self.stream, None);
    }

    /// Closes so that the client cannot take it for a proper end.
    pub(super) fn reset(self) {
        // If it fails the client is gone already.
        let _ = self.stream.set_zero_linger();
    }
}
