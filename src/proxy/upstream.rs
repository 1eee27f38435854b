//! One connection to an upstream. It belongs to one request at a time; whoever drops it closes it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

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
}

impl Upstream {
    pub(super) async fn connect(address: SocketAddr) -> io::Result<Upstream> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Upstream {
            stream,
            input: Buffer::default(),
            idle_limit: LONGEST_IDLE,
        })
    }

    /// Whether an idle connection has ended, or says something nobody asked for. Costs a system call only when the
    /// reactor has seen anything of it.
    pub(super) fn is_closed(&self) -> bool {
        let outcome = self.stream.try_read(&mut [0; 1]);
        !matches!(outcome, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
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
