//! One case through the proxy: plain sockets on both sides, and a record of what each of them got.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, server};
use hyper_util::rt::TokioIo;
use rollbridge::proxy::{Proxy, Route, Settings};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::case::{Case, Side};

/// When nothing has come for this long, the proxy waits for bytes that will never be sent.
const QUIET: Duration = Duration::from_millis(60);
/// The same where everything ends by itself, unless the machine is very busy.
const LONG_QUIET: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_micros(300);

/// What follows the request of a case whose answer is tried.
pub const MARKER: &str = "marker";
const MARKER_ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nX-Marker: yes\r\nContent-Length: 6\r\n\r\nmarker";

/// What the sockets around the proxy got.
#[derive(Debug)]
pub struct Observed {
    /// The bytes of each connection to the upstream, in the order of the connections.
    pub upstream: Vec<Vec<u8>>,
    pub client: Vec<u8>,
    /// The client's connection has ended with a reset.
    pub was_reset: bool,
}

/// Two proxies, of which one trusts its clients, and the port of their upstream.
pub struct Lane {
    strict: Proxy,
    trusting: Proxy,
    listener: TcpListener,
    upstream: SocketAddr,
}

/// What the connections to the upstream have brought in one case.
#[derive(Debug, Default)]
struct Record {
    streams: Mutex<Vec<Vec<u8>>>,
    requests: AtomicUsize,
    /// The case has been sent as an answer.
    answered: Notify,
}

impl Lane {
    pub fn start() -> Lane {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Lane {
            strict: proxy(false),
            trusting: proxy(true),
            upstream: listener.local_addr().unwrap(),
            listener,
        }
    }

    /// The port of the proxy that a case goes through.
    pub fn port(&self, case: &Case) -> u16 {
        self.proxy(case).local_address().port()
    }

    fn proxy(&self, case: &Case) -> &Proxy {
        if case.trusted {
            &self.trusting
        } else {
            &self.strict
        }
    }

    pub async fn run(&self, case: &Case) -> Observed {
        let proxy = self.proxy(case);
        let route = Route::new(self.upstream);
        proxy.switch(Some(route.clone())).await;
        let record = Arc::new(Record::default());
        let mut serving = JoinSet::new();
        let listener = tokio::net::TcpListener::from_std(self.listener.try_clone().unwrap()).unwrap();
        let pieces = match &case.side {
            Side::Client => case.pieces.clone(),
            Side::Upstream {
                method, is_http_1_0, ..
            } => asking(method, *is_http_1_0).to_vec(),
        };
        let client = converse(proxy.local_address(), &pieces, &record, case);
        tokio::pin!(client);
        let (received, was_reset) = loop {
            tokio::select! {
                received = &mut client => break received,
                accepted = listener.accept() => {
                    serving.spawn(serve(accepted.unwrap().0, case.clone(), Arc::clone(&record)));
                }
            }
        };
        // Now the proxy leaves its upstream alone, so that every connection ends.
        timeout(PATIENCE, route.connections().wait_idle())
            .await
            .expect("requests end");
        proxy.switch(None).await;
        drop(listener);
        while let Ok((stream, _)) = self.listener.accept() {
            stream.set_nonblocking(true).unwrap();
            let stream = TcpStream::from_std(stream).unwrap();
            serving.spawn(serve(stream, case.clone(), Arc::clone(&record)));
        }
        timeout(PATIENCE, async { while serving.join_next().await.is_some() {} })
            .await
            .expect("connections end");
        let upstream = std::mem::take(&mut *record.streams.lock().unwrap());
        Observed {
            upstream,
            client: received,
            was_reset,
        }
    }
}

fn proxy(trusting: bool) -> Proxy {
    let settings = Settings {
        workers: 1,
        trusted_proxies: if trusting {
            vec!["127.0.0.0/8".parse().unwrap()]
        } else {
            Vec::new()
        },
        max_connections: 1000,
        head_timeout: PATIENCE,
        client_idle_timeout: PATIENCE,
        hold_timeout: Duration::from_secs(5),
        max_held_requests: 100,
    };
    Proxy::start(TcpListener::bind("127.0.0.1:0").unwrap(), settings, None).unwrap()
}

/// The request whose answer is tried, and one that shows where that answer has ended.
fn asking(method: &str, is_http_1_0: bool) -> [Vec<u8>; 2] {
    let version = if is_http_1_0 { "1.0" } else { "1.1" };
    let body = if method == "POST" { "body" } else { "" };
    let first = format!(
        "{method} /case HTTP/{version}\r\nHost: a\r\nConnection: keep-alive\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let second = format!("GET /{MARKER} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    [first.into_bytes(), second.into_bytes()]
}

/// Sends the pieces and reads to the end, which may be a reset; a connection on which nothing happens any more is half closed.
async fn converse(proxy: SocketAddr, pieces: &[Vec<u8>], record: &Record, case: &Case) -> (Vec<u8>, bool) {
    let stream = TcpStream::connect(proxy).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let sending = async {
        for (number, piece) in pieces.iter().enumerate() {
            if number > 0 {
                if case.side != Side::Client {
                    // What the upstream says too much must not look like the answer to the next request: nobody can
                    // tell, if it comes after that.
                    let _ = timeout(LONG_QUIET, record.answered.notified()).await;
                }
                sleep(PAUSE).await;
            }
            // The proxy may have refused already.
            if writer.write_all(piece).await.is_err() {
                return None;
            }
        }
        Some(writer)
    };
    let mut received = Vec::new();
    tokio::pin!(sending);
    let sent = loop {
        tokio::select! {
            sent = &mut sending => break sent,
            read = reader.read_buf(&mut received) => match read {
                Ok(0) => return (received, false),
                Err(_) => return (received, true),
                Ok(_) => {}
            },
        }
    };
    // Whoever meets a reset first is told of it, and nobody else: it may be the writer.
    let failed_writing = sent.is_none();
    let mut writer = sent;
    let quiet = if case.is_valid || case.side != Side::Client {
        LONG_QUIET
    } else {
        QUIET
    };
    loop {
        let limit = if writer.is_some() { quiet } else { PATIENCE };
        match timeout(limit, reader.read_buf(&mut received)).await {
            Ok(Ok(0)) => return (received, failed_writing),
            Ok(Err(_)) => return (received, true),
            Ok(Ok(_)) => {}
            Err(_) => match writer.take() {
                // Fails when the proxy has closed in the meantime, which is seen next.
                Some(mut writer) => drop(writer.shutdown().await),
                None => panic!("the proxy neither answers nor closes"),
            },
        }
    }
}

/// Plays the upstream on one connection.
async fn serve(stream: TcpStream, case: Case, record: Arc<Record>) {
    let slot = {
        let mut streams = record.streams.lock().unwrap();
        streams.push(Vec::new());
        streams.len() - 1
    };
    stream.set_nodelay(true).unwrap();
    let tap = Tap {
        stream,
        slot,
        record: Arc::clone(&record),
    };
    match case.side {
        Side::Client => answer_everything(tap, record).await,
        Side::Upstream { closes, .. } => play(tap, &case.pieces, closes, &record).await,
    }
}

/// Answers each request with its number.
async fn answer_everything(tap: Tap, record: Arc<Record>) {
    let service = service_fn(|request: Request<Incoming>| {
        let record = Arc::clone(&record);
        async move {
            let collected = request.into_body().collect().await;
            let mut response = Response::new(Empty::<Bytes>::new());
            if collected.is_ok() {
                let number = record.requests.fetch_add(1, SeqCst);
                response.headers_mut().insert("x-number", number.into());
            }
            Ok::<_, Infallible>(response)
        }
    });
    // How it ends is seen in the record.
    let _ = server::conn::http1::Builder::new()
        .max_buf_size(1024 * 1024)
        .max_headers(200)
        .serve_connection(TokioIo::new(tap), service)
        .await;
}

/// Answers the first request with the case, and any other with the marker.
async fn play(mut tap: Tap, pieces: &[Vec<u8>], closes: bool, record: &Record) {
    let mut unread = Vec::new();
    loop {
        while !has_request(&unread) {
            if tap.read_buf(&mut unread).await.unwrap_or(0) == 0 {
                return;
            }
        }
        unread.clear();
        let is_first = record.requests.fetch_add(1, SeqCst) == 0;
        if !is_first {
            let _ = tap.write_all(MARKER_ANSWER).await;
            continue;
        }
        for piece in pieces {
            // The proxy may have had enough.
            if tap.write_all(piece).await.is_err() {
                break;
            }
            if pieces.len() > 1 {
                sleep(PAUSE).await;
            }
        }
        record.answered.notify_one();
        if closes {
            let _ = tap.shutdown().await;
            let _ = tap.read_to_end(&mut unread).await;
            return;
        }
    }
}

fn has_request(unread: &[u8]) -> bool {
    let text = String::from_utf8_lossy(unread);
    text.split_once("\r\n\r\n")
        .is_some_and(|(head, body)| !head.starts_with("POST") || body.len() >= 4)
}

/// A socket whose bytes are recorded as they are read.
struct Tap {
    stream: TcpStream,
    slot: usize,
    record: Arc<Record>,
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(context, buffer);
        let read = &buffer.filled()[before..];
        self.record.streams.lock().unwrap()[self.slot].extend_from_slice(read);
        outcome
    }
}

impl AsyncWrite for Tap {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
