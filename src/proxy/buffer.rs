//! Bytes on their way. A buffer takes its memory from a list of this thread when it is first filled and gives it back
//! when it is empty, so that a connection nobody talks on holds none.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio_util::io::poll_read_buf;

/// What a buffer holds before whoever fills it has to wait.
pub(super) const BUFFER_BYTES: usize = 64 * 1024;
/// Spare memory kept by each thread.
const MOST_SPARE: usize = 32;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Bytes that have come in and not gone out yet.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    keeps: bool,
}

impl Buffer {
    /// A buffer with these bytes to be used.
    pub(super) fn of(bytes: &[u8]) -> Buffer {
        let mut buffer = Buffer::default();
        if !bytes.is_empty() {
            buffer.tail().extend_from_slice(bytes);
        }
        buffer
    }

    /// The bytes that are still to be used.
    pub(super) fn unread(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= BUFFER_BYTES
    }

    /// Makes room, and says how many bytes may be added. What has been taken out is forgotten where that helps.
    pub(super) fn make_room(&mut self) -> usize {
        let is_worth_it = if self.keeps {
            self.start > 0 && self.bytes.len() >= BUFFER_BYTES
        } else {
            self.start > self.bytes.len() / 2
        };
        if is_worth_it {
            self.keeps = false;
            self.forget_taken();
        }
        BUFFER_BYTES.saturating_sub(self.bytes.len())
    }

    /// Takes the first bytes out.
    pub(super) fn consume(&mut self, length: usize) {
        self.start += length;
        debug_assert!(self.start <= self.bytes.len());
        if self.is_empty() && !self.keeps {
            self.release();
        }
    }

    /// The end of the buffer, for writing. What is added beyond the room there is, is kept all the same.
    pub(super) fn tail(&mut self) -> &mut Vec<u8> {
        self.acquire();
        &mut self.bytes
    }

    /// Keeps from now on what is taken out, for [`Buffer::rewind`], for as long as everything fits.
    pub(super) fn keep(&mut self) {
        self.keeps = true;
    }

    /// Whether everything that was taken out can be put back.
    pub(super) fn can_rewind(&self) -> bool {
        self.keeps
    }

    /// Puts back everything that has been taken out since [`Buffer::keep`].
    pub(super) fn rewind(&mut self) {
        debug_assert!(self.keeps);
        self.start = 0;
    }

    fn forget_taken(&mut self) {
        self.bytes.drain(..self.start);
        self.start = 0;
    }

    /// Empties the buffer.
    pub(super) fn clear(&mut self) {
        self.keeps = false;
        self.start = self.bytes.len();
        self.release();
    }

    /// Reads once from `stream`, up to the room there is; zero bytes mean the end of the stream. There must be room.
    pub(super) fn poll_fill(
        &mut self,
        context: &mut Context<'_>,
        stream: &mut TcpStream,
    ) -> Poll<io::Result<usize>> {
        self.acquire();
        if self.start > 0 {
            self.forget_taken();
        }
        let outcome = poll_read_buf(Pin::new(stream), context, &mut self.bytes);
        if self.is_empty() {
            self.release();
        }
        outcome
    }

    /// Writes once to `stream` and takes out what it took.
    pub(super) fn poll_drain(
        &mut self,
        context: &mut Context<'_>,
        stream: &mut TcpStream,
    ) -> Poll<io::Result<()>> {
        let written = ready!(Pin::new(stream).poll_write(context, self.unread()))?;
        self.consume(written);
        Poll::Ready(Ok(()))
    }

    fn acquire(&mut self) {
        if self.bytes.capacity() == 0 {
            self.bytes = SPARE
                .with_borrow_mut(Vec::pop)
                .unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES));
        }
    }

    fn release(&mut self) {
        self.start = 0;
        if self.bytes.capacity() == 0 {
            return;
        }
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        // What has grown is not kept. A thread that is ending has no list any more.
        if bytes.capacity() == BUFFER_BYTES {
            let _ = SPARE.try_with(|spare| {
                let mut spare = spare.borrow_mut();
                if spare.len() < MOST_SPARE {
                    spare.push(bytes);
                }
            });
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_can_be_put_back_until_it_is_forgotten() {
        let mut buffer = Buffer::default();
        buffer.tail().extend_from_slice(b"abcdef");
        buffer.keep();
        buffer.consume(6);
        assert!(buffer.is_empty() && buffer.can_rewind());
        buffer.rewind();
        assert_eq!(buffer.unread(), b"abcdef");
        buffer.consume(6);
        buffer.tail().resize(BUFFER_BYTES, b'x');
        assert_eq!(buffer.make_room(), 6);
        assert!(!buffer.can_rewind());
    }

    #[test]
    fn an_empty_buffer_holds_no_memory() {
        let mut buffer = Buffer::default();
        buffer.tail().extend_from_slice(b"abc");
        buffer.consume(3);
        assert_eq!(buffer.bytes.capacity(), 0);
    }
}
