//! The socket through which a retired engine hands its connections over to whoever is the engine now.
//!
//! Messages are JSON values, cut into packets; descriptors come with the first of them. Packets keep their bounds also where
//! a reader ends in the middle, so that the next one finds the beginning of a message again.
#![allow(
    unsafe_code,
    reason = "the runtime must be promised that a descriptor stays open"
)]

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::unix::AsyncFd;

use super::descriptors;

/// How many bytes of a message go into one packet.
const PACKET_BYTES: usize = 32 * 1024;

/// What a packet begins with: whether it is the first of its message, and whether it is the last.
const FIRST: u8 = 1;
const LAST: u8 = 2;

/// How long is waited where the system passes no more descriptors until some have been taken.
const PAUSE: Duration = Duration::from_millis(1);

/// One end of the socket.
#[derive(Debug)]
pub struct Handover {
    socket: AsyncFd<OwnedFd>,
    /// The message that has come in part.
    begun: Mutex<Option<Part>>,
}

/// What has come of a message.
#[derive(Debug)]
struct Part {
    text: Vec<u8>,
    descriptors: VecDeque<OwnedFd>,
}

impl Handover {
    /// Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the socket cannot be used.
    pub fn new(socket: OwnedFd) -> io::Result<Handover> {
        let stream = std::os::unix::net::UnixStream::from(socket);
        stream.set_nonblocking(true)?;
        let socket = OwnedFd::from(stream);
        // More is better here, and what the system allows is enough.
        let _ = setsockopt(&socket, sockopt::SndBuf, &(16 * PACKET_BYTES));
        // SAFETY: it owns its descriptor, which stays the same and open for as long as it lives.
        let socket = unsafe { AsyncFd::register(socket)? };
        Ok(Handover {
            socket,
            begun: Mutex::default(),
        })
    }

    /// Sends a message; it is whole in the socket afterwards, also if this process ends.
    ///
    /// # Errors
    /// When nobody can read it any more.
    pub async fn send(&self, message: &impl Serialize, descriptors: &[OwnedFd]) -> io::Result<()> {
        let text = serde_json::to_vec(message)?;
        let mut descriptors: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
        let count = text.len().div_ceil(PACKET_BYTES).max(1);
        for (at, part) in text.chunks(PACKET_BYTES).enumerate() {
            let mut packet = vec![u8::from(at == 0) * FIRST + u8::from(at + 1 == count) * LAST];
            packet.extend_from_slice(part);
            self.send_packet(&packet, &descriptors).await?;
            descriptors.clear();
        }
        Ok(())
    }

    async fn send_packet(&self, packet: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        loop {
            let mut ready = self.socket.writable().await?;
            let send = |socket: &AsyncFd<OwnedFd>| {
                descriptors::send_all(socket.get_ref().as_fd(), packet, descriptors)
            };
            match ready.try_io(send) {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => match error.raw_os_error().map(Errno::from_raw) {
                    Some(Errno::EINTR) => {}
                    Some(Errno::ETOOMANYREFS | Errno::ENOBUFS | Errno::ENOMEM) => {
                        tokio::time::sleep(PAUSE).await;
                    }
                    _ => return Err(error),
                },
                Err(_would_block) => {}
            }
        }
    }

    /// The next message with its descriptors; none once the other end is gone. Dropping the future loses nothing: what has
    /// come of a message is kept for the next call.
    ///
    /// # Errors
    /// When the socket fails.
    pub async fn receive<M: DeserializeOwned>(&self) -> io::Result<Option<(M, VecDeque<OwnedFd>)>> {
        let mut packet = vec![0; PACKET_BYTES + 1];
        loop {
            let mut with = VecDeque::new();
            let mut ready = self.socket.readable().await?;
            let receive = |socket: &AsyncFd<OwnedFd>| {
                descriptors::receive(socket.get_ref().as_fd(), &mut packet, &mut with)
            };
            let count = match ready.try_io(receive) {
                Ok(Ok(0)) => return Ok(None),
                Ok(Ok(count)) => count,
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => continue,
                // The other end is gone, with something unread in it. That is told once, before what it had sent.
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => continue,
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => continue,
            };
            let Some(whole) = self.take(&packet[..count], with) else {
                continue;
            };
            // What cannot be read is passed over: another version may have more to say.
            if let Ok(message) = serde_json::from_slice(&whole.text) {
                return Ok(Some((message, whole.descriptors)));
            }
        }
    }

    /// Takes in a packet; a message, if it is whole with that.
    fn take(&self, packet: &[u8], descriptors: VecDeque<OwnedFd>) -> Option<Part> {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let (kind, text) = packet.split_first()?;
        if kind & FIRST != 0 {
            *begun = Some(Part {
                text: Vec::new(),
                descriptors,
            });
        }
        // Else it is the rest of a message of which another reader has had the beginning.
        begun.as_mut()?.text.extend_from_slice(text);
        if kind & LAST != 0 { begun.take() } else { None }
    }
}

impl AsFd for Handover {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.get_ref().as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::platform::{maker, packet_sockets};

    #[tokio::test]
    async fn messages_arrive_whole_with_their_descriptors() {
        let (ours, theirs) = packet_sockets().expect("a pair");
        assert_eq!(maker(&theirs).expect("a pid"), std::process::id().cast_signed());
        let (ours, theirs) = (
            Handover::new(ours).expect("a socket"),
            Handover::new(theirs).expect("a socket"),
        );
        let long = "\u{0}é".repeat(200_000);
        let descriptor = OwnedFd::from(std::fs::File::open("/dev/null").expect("it is there"));
        let send = async {
            ours.send(&long, &[descriptor]).await.expect("it is read");
            ours.send(&"short", &[]).await.expect("it is read");
            drop(ours);
        };
        let receive = async {
            let (first, descriptors) = theirs
                .receive::<String>()
                .await
                .expect("no error")
                .expect("a message");
            assert!(first == long && descriptors.len() == 1);
            let (second, descriptors) = theirs
                .receive::<String>()
                .await
                .expect("no error")
                .expect("a message");
            assert!(second == "short" && descriptors.is_empty());
            assert!(theirs.receive::<String>().await.expect("no error").is_none());
        };
        tokio::join!(send, receive);
    }

    #[tokio::test]
    async fn what_was_sent_is_read_also_where_the_sender_has_not_heard_everything() {
        let (ours, theirs) = packet_sockets().expect("a pair");
        let (ours, theirs) = (
            Handover::new(ours).expect("a socket"),
            Handover::new(theirs).expect("a socket"),
        );
        theirs.send(&"unheard", &[]).await.expect("it fits");
        ours.send(&"last words", &[]).await.expect("it fits");
        drop(ours);
        let (message, _) = theirs
            .receive::<String>()
            .await
            .expect("no error")
            .expect("a message");
        assert_eq!(message, "last words");
        assert!(theirs.receive::<String>().await.expect("no error").is_none());
    }

    #[tokio::test]
    async fn a_reader_that_turns_to_something_else_in_between_loses_nothing() {
        let (ours, theirs) = packet_sockets().expect("a pair");
        let ours = Handover::new(ours).expect("a socket");
        let theirs = Handover::new(theirs).expect("a socket");
        let descriptor = OwnedFd::from(std::fs::File::open("/dev/null").expect("it is there"));
        ours.send_packet(&[FIRST, b'"', b'a'], &[descriptor.as_fd()])
            .await
            .expect("it fits");
        let early = tokio::time::timeout(Duration::from_millis(20), theirs.receive::<String>()).await;
        assert!(early.is_err(), "it is not whole yet");
        ours.send_packet(&[LAST, b'b', b'"'], &[]).await.expect("it fits");
        let (message, descriptors) = theirs
            .receive::<String>()
            .await
            .expect("no error")
            .expect("a message");
        assert_eq!((message.as_str(), descriptors.len()), ("ab", 1));
    }

    #[tokio::test]
    async fn another_reader_begins_with_the_next_message() {
        let (ours, theirs) = packet_sockets().expect("a pair");
        let ours = Handover::new(ours).expect("a socket");
        let again = theirs.try_clone().expect("a descriptor");
        let first = Handover::new(theirs).expect("a socket");
        ours.send(&"x".repeat(3 * PACKET_BYTES), &[])
            .await
            .expect("it fits");
        ours.send(&"whole", &[]).await.expect("it fits");
        // It takes the first packet, and ends.
        let mut packet = vec![0; PACKET_BYTES + 1];
        descriptors::receive(first.socket.get_ref().as_fd(), &mut packet, &mut VecDeque::new())
            .expect("a packet");
        drop(first);
        let second = Handover::new(again).expect("a socket");
        let (message, _) = second
            .receive::<String>()
            .await
            .expect("no error")
            .expect("a message");
        assert_eq!(message, "whole");
    }
}
