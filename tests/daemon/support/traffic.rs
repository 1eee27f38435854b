//! Many clients that never rest: keep-alive requests and echoing tunnels, each watching for the smallest failure.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A client's rest between two requests.
const PACE: Duration = Duration::from_millis(20);

/// Clients at work on a thread of their own.
#[derive(Debug)]
pub struct Traffic {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    /// Requests sent from now on must be answered by `v<promised>` or a later release.
    promised: AtomicUsize,
    requests: AtomicUsize,
    tunnels: AtomicUsize,
    over: AtomicBool,
    failures: Mutex<Vec<String>>,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl Traffic {
    /// Starts so many requesting clients and so many tunnels.
    pub fn start(address: SocketAddr, requesters: usize, tunnels: usize) -> Traffic {
        let shared = Arc::new(Shared {
            address,
            promised: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            tunnels: AtomicUsize::new(0),
            over: AtomicBool::new(false),
            failures: Mutex::default(),
        });
        let clients = shared.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a runtime");
            runtime.block_on(async {
                let mut running = tokio::task::JoinSet::new();
                for _ in 0..requesters {
                    running.spawn(watched(clients.clone(), requests(clients.clone())));
                }
                // One that never keeps a connection, for whom a refusal would show.
                running.spawn(watched(clients.clone(), newcomers(clients.clone())));
                for _ in 0..tunnels {
                    running.spawn(watched(clients.clone(), tunnel(clients.clone())));
                }
                while running.join_next().await.is_some() {}
            });
        });
        Traffic {
            shared,
            thread: Some(thread),
        }
    }

    /// From now on only release `v<number>` and later ones may answer.
    pub fn promise(&self, number: usize) {
        self.shared.promised.store(number, SeqCst);
    }

    /// Requests answered so far.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(SeqCst)
    }

    /// Tunnels opened so far.
    pub fn tunnels(&self) -> usize {
        self.shared.tunnels.load(SeqCst)
    }

    /// Ends all clients and asserts that nothing ever failed.
    pub fn ends_without_a_failure(mut self) {
        self.shared.over.store(true, SeqCst);
        let ended = self.thread.take().expect("it runs until now").join();
        ended.expect("the clients come to an end");
        let failures = self.shared.failures.lock().expect("no client panicked");
        assert!(
            failures.is_empty(),
            "{} failures, such as {:?}",
            failures.len(),
            failures[0]
        );
        assert!(self.requests() > 0);
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.shared.over.store(true, SeqCst);
    }
}

async fn watched(shared: Arc<Shared>, client: impl Future<Output = Result<(), Failure>>) {
    if let Err(failure) = client.await {
        let mut failures = shared.failures.lock().expect("no client panicked");
        failures.push(failure.to_string());
    }
}

impl Shared {
    fn is_over(&self) -> bool {
        self.over.load(SeqCst)
    }

    /// Checks who answered a request that was sent when `promised` was promised.
    fn check(&self, answered_by: &str, promised: usize) -> Result<usize, Failure> {
        let number = answered_by
            .strip_prefix('v')
            .and_then(|number| number.parse().ok());
        match number {
            Some(number) if number >= promised => Ok(number),
            _ => Err(format!("{answered_by:?} answered when v{promised} was promised").into()),
        }
    }
}

async fn requests(shared: Arc<Shared>) -> Result<(), Failure> {
    let stream = TcpStream::connect(shared.address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    while !shared.is_over() {
        let promised = shared.promised.load(SeqCst);
        let answer = request(&mut sender).await?;
        shared.check(&answer, promised)?;
        shared.requests.fetch_add(1, SeqCst);
        tokio::time::sleep(PACE).await;
    }
    connection.abort();
    Ok(())
}

async fn newcomers(shared: Arc<Shared>) -> Result<(), Failure> {
    while !shared.is_over() {
        let mut stream = TcpStream::connect(shared.address).await?;
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n")
            .await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        if !answer.starts_with("HTTP/1.1 200") {
            return Err(format!("a newcomer got {answer:?}").into());
        }
        tokio::time::sleep(PACE).await;
    }
    Ok(())
}

async fn request(sender: &mut SendRequest<Empty<Bytes>>) -> Result<String, Failure> {
    sender.ready().await?;
    let request = Request::get("/")
        .header(header::HOST, "shop")
        .body(Empty::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    let body = String::from_utf8(body.to_vec())?;
    match status.as_u16() {
        200 => Ok(body),
        _ => Err(format!("{status}: {body}").into()),
    }
}

/// One tunnel after the other: each stays until a newer release is promised, then ends as a polite client does.
async fn tunnel(shared: Arc<Shared>) -> Result<(), Failure> {
    const UPGRADE: &[u8] =
        b"GET /echo HTTP/1.1\r\nhost: shop\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    while !shared.is_over() {
        let promised = shared.promised.load(SeqCst);
        let mut stream = TcpStream::connect(shared.address).await?;
        stream.write_all(UPGRADE).await?;
        let head = read_head(&mut stream).await?;
        let release = head.lines().find_map(|line| line.strip_prefix("x-release: "));
        let release = release.ok_or_else(|| format!("no tunnel: {head}"))?;
        let number = shared.check(release, promised)?;
        shared.tunnels.fetch_add(1, SeqCst);
        let mut message: u32 = 0;
        while !shared.is_over() && shared.promised.load(SeqCst) <= number {
            message += 1;
            let (sent, mut back) = (format!("{message:08}"), [0; 8]);
            let cut = |error| format!("a tunnel to v{number} was cut at message {message}: {error}");
            stream.write_all(sent.as_bytes()).await.map_err(cut)?;
            stream.read_exact(&mut back).await.map_err(cut)?;
            if back != sent.as_bytes() {
                return Err(format!("{} came back for {sent}", String::from_utf8_lossy(&back)).into());
            }
            tokio::time::sleep(PACE).await;
        }
        stream.shutdown().await?;
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await?;
    }
    Ok(())
}

async fn read_head(stream: &mut TcpStream) -> Result<String, Failure> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8(head)?)
}
