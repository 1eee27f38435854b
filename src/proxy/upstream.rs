//! One connection to an upstream. It belongs to one request at a time; whoever drops it closes it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::TcpMaxSeg;
use tokio::net::TcpStream;

use super::buffer::Buffer;
use super::pool::LONGEST_IDLE;

/// An open connection.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) stream: TcpStream,
    /// What has come and is not used yet; nothing while the connection is idle.
    pub(super) input: Buffer,
    idle_limit: Duration,
    /// [`Connections::departures`](super::Connections::departures) when it was opened.
    pub(super) departures: usize,
}

impl Upstream {
    pub(super) async fn connect(address: SocketAddr, departures: usize) -> io::Result<Upstream> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Upstream {
            stream,
            input: Buffer::default(),
            idle_limit: LONGEST_IDLE,
            departures,
        })
    }

    /// Whether an idle connection has ended, or says something nobody asked for. Costs a system call only when the
    /// reactor has seen anything of it.
    pub(super) fn is_closed(&self) -> bool {
        let outcome = self.stream.try_read(&mut [0; 1]);
        !matches!(outcome, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Whether a connection that has ended had been closed by the upstream before the first `length` bytes, written at
    /// once, got there. Then the system has received the upstream's FIN, and after it the reset with which those bytes
    /// were turned away, which it tells as a broken pipe; an upstream that closes after it has read them, or with them
    /// unread, never causes the two in this order. Of several segments the first may have been read.
    pub(super) fn never_read(&self, length: usize) -> bool {
        let was_turned_away = match self.stream.take_error() {
            Ok(Some(error)) => error.kind() == io::ErrorKind::BrokenPipe,
            Ok(None) | Err(_) => false,
        };
        let segment = getsockopt(&self.stream, TcpMaxSeg).unwrap_or(0);
        was_turned_away && u32::try_from(length).is_ok_and(|length| length <= segment)
    }

    /// How long the connection may be idle before it is closed; zero when it must not be kept.
    pub(super) fn idle_limit(&self) -> Duration {
        self.idle_limit
    }

    /// Takes the upstream's own limit into account: ours ends a second earlier.
    pub(super) fn limit_idle(&mut self, announced: Duration) {
        self.idle_limit = announced.saturating_sub(Duration::from_secs(1)).min(LONGEST_IDLE);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// What the upstream does with a request of eight bytes.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Peer {
        ClosesBefore,
        ReadsAndCloses,
        LeavesUnread,
    }

    #[tokio::test]
    async fn only_what_came_after_the_close_was_never_read() {
        for (peer, expected) in [
            (Peer::ClosesBefore, true),
            (Peer::ReadsAndCloses, false),
            (Peer::LeavesUnread, false),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut upstream = Upstream::connect(listener.local_addr().unwrap(), 0)
                .await
                .unwrap();
            let (mut other, _) = listener.accept().await.unwrap();
            if peer == Peer::ClosesBefore {
                drop(other);
                upstream.stream.write_all(b"12345678").await.unwrap();
            } else {
                upstream.stream.write_all(b"12345678").await.unwrap();
                let most = if peer == Peer::ReadsAndCloses { 8 } else { 4 };
                let mut bytes = [0; 8];
                other.read_exact(&mut bytes[..most]).await.unwrap();
                drop(other);
            }
            let ended = upstream.stream.read(&mut [0; 1]).await;
            assert!(matches!(ended, Ok(0) | Err(_)), "{peer:?} {ended:?}");
            assert_eq!(upstream.never_read(8), expected, "{peer:?}");
        }
    }
}
