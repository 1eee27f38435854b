//! The keeper's end of the socket to one engine: messages and descriptors, in and out, without ever blocking.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use serde::{Deserialize, Serialize};

use super::descriptors;
use super::message::{Inbox, Malformed, ToEngine, ToKeeper, append};

/// While more than this waits to be sent, the engine is behind.
const MOST_UNSENT_BYTES: usize = 256 * 1024;

/// How often is read at a time, so that an engine that never rests does not keep the keeper from everything else.
const MOST_READS: usize = 64;

/// The engine is gone, or cannot be understood.
#[derive(Debug)]
pub(super) struct Broken;

#[derive(Debug)]
pub(super) struct Link {
    socket: UnixStream,
    inbox: Inbox,
    descriptors: VecDeque<OwnedFd>,
    unsent: Vec<u8>,
    sent: usize,
}

/// A link, as it is written down for the program that takes this one's place.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WrittenLink {
    socket: RawFd,
    unread: Vec<u8>,
    descriptors: Vec<RawFd>,
    unsent: Vec<u8>,
}

impl WrittenLink {
    pub fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        self.descriptors.iter().copied().chain([self.socket])
    }
}

impl Link {
    /// How it stands at this moment.
    pub fn written(&self) -> WrittenLink {
        WrittenLink {
            socket: self.socket.as_raw_fd(),
            unread: self.inbox.unread().to_vec(),
            descriptors: self.descriptors.iter().map(AsRawFd::as_raw_fd).collect(),
            unsent: self.unsent[self.sent..].to_vec(),
        }
    }

    /// Goes on with one that was written down; `open` makes descriptors of numbers.
    pub fn again(written: WrittenLink, open: impl Fn(RawFd) -> io::Result<OwnedFd>) -> io::Result<Link> {
        let mut inbox = Inbox::default();
        inbox.push(&written.unread);
        Ok(Link {
            socket: UnixStream::from(open(written.socket)?),
            inbox,
            descriptors: written
                .descriptors
                .into_iter()
                .map(open)
                .collect::<io::Result<_>>()?,
            unsent: written.unsent,
            sent: 0,
        })
    }

    pub fn new(socket: UnixStream) -> io::Result<Link> {
        socket.set_nonblocking(true)?;
        Ok(Link {
            socket,
            inbox: Inbox::default(),
            descriptors: VecDeque::new(),
            unsent: Vec::new(),
            sent: 0,
        })
    }

    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Whether the engine takes in what it is told.
    pub fn has_room(&self) -> bool {
        self.unsent.len() - self.sent < MOST_UNSENT_BYTES
    }

    pub fn tell(&mut self, message: &ToEngine) {
        append(message, &mut self.unsent);
    }

    /// Tells something with a descriptor. Only for a link that is new: nothing may wait to be sent before it.
    pub fn pass(&mut self, message: &ToEngine, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        let mut frame = Vec::new();
        append(message, &mut frame);
        let sent = descriptors::send(self.socket.as_fd(), &frame, descriptor)?;
        self.unsent.extend_from_slice(&frame[sent..]);
        Ok(())
    }

    /// Reads what has come.
    pub fn receive(&mut self) -> Result<(), Broken> {
        let mut buffer = [0; 16 * 1024];
        for _ in 0..MOST_READS {
            match descriptors::receive(self.socket.as_fd(), &mut buffer, &mut self.descriptors) {
                Ok(0) => return Err(Broken),
                Ok(count) => self.inbox.push(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(_) => return Err(Broken),
            }
        }
        Ok(())
    }

    /// The next message that has come whole. What cannot be read is passed over: an engine that talks nonsense once may
    /// be right the next time.
    pub fn next(&mut self) -> Result<Option<ToKeeper>, Broken> {
        loop {
            match self.inbox.take() {
                None => return Ok(None),
                Some(Ok(message)) => return Ok(Some(message)),
                Some(Err(Malformed::Unknown(_))) => {}
                Some(Err(Malformed::TooLong(_))) => return Err(Broken),
            }
        }
    }

    /// The descriptor that came with the message just read.
    pub fn next_descriptor(&mut self) -> Option<OwnedFd> {
        self.descriptors.pop_front()
    }

    /// Sends what can be sent.
    pub fn send(&mut self) -> Result<(), Broken> {
        while self.sent < self.unsent.len() {
            match self.socket.write(&self.unsent[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // It ended. What it had said before is still to be read; the end itself is noticed there.
                Err(_) => break,
            }
        }
        self.unsent.clear();
        // One burst must not cost its memory for ever.
        self.unsent.shrink_to(MOST_UNSENT_BYTES);
        self.sent = 0;
        Ok(())
    }
}
