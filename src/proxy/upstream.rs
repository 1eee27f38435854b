//! One connection to an upstream. It belongs to one request at a time; whoever drops it closes it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{Either, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

use super::pool::LONGEST_IDLE;
use super::watched::{Traffic, Watched};

/// Bytes that hyper may buffer on each side of a connection.
pub(super) const BUFFER_BYTES: usize = 64 * 1024;

/// What is sent upstream: the client's body, or nothing when a request is sent again.
pub(super) type RequestBody = Either<Incoming, Empty<Bytes>>;

/// An open connection.
#[derive(Debug)]
pub(super) struct Upstream {
    sender: SendRequest<RequestBody>,
    traffic: Arc<Traffic>,
    idle_limit: Duration,
    _task: AbortOnDropHandle<()>,
}

/// Why a request got no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The connection was dead before any of the request was sent: here it is again.
    Unsent(Box<Request<RequestBody>>),
    /// The connection died before a byte of an answer; the upstream may or may not have seen the request.
    Silent,
    /// The answer was cut within its head, or was not HTTP.
    Broken,
}

impl Upstream {
    pub(super) async fn connect(address: SocketAddr) -> io::Result<Upstream> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (watched, traffic) = Watched::new(stream);
        let (sender, connection) = http1::Builder::new()
            .preserve_header_case(true)
            .max_buf_size(BUFFER_BYTES)
            .handshake(TokioIo::new(watched))
            .await
            .map_err(io::Error::other)?;
        let task = tokio::task::spawn_local(async move {
            // How a connection ends is seen where its answer or its body is awaited.
            let _ = connection.with_upgrades().await;
        });
        Ok(Upstream {
            sender,
            traffic,
            idle_limit: LONGEST_IDLE,
            _task: AbortOnDropHandle::new(task),
        })
    }

    /// Sends a request and waits for the head of its answer.
    pub(super) async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, Failure> {
        self.traffic.forget_arrivals();
        self.sender
            .try_send_request(request)
            .await
            .map_err(|mut error| match error.take_message() {
                Some(request) => Failure::Unsent(Box::new(request)),
                None if self.traffic.has_arrived() => Failure::Broken,
                None => Failure::Silent,
            })
    }

    /// Whether the end of the connection has been seen.
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Resolves when the connection can take another request; false when it never will.
    pub(super) async fn ready(&mut self) -> bool {
        self.sender.ready().await.is_ok()
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
