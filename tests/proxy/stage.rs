//! The stage of a test: a proxy, upstreams that do what the test says, and wires that speak bytes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rollbridge::proxy::{Connections, Proxy, Route, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

/// Nothing on a working machine takes this long; a test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running proxy.
pub struct Stage {
    pub proxy: Proxy,
}

/// An upstream whose connections the test accepts by hand.
pub struct Upstream {
    listener: TcpListener,
    pub route: Route,
}

/// An upstream that owns its port and refuses connections until told to listen.
pub struct Dormant {
    socket: TcpSocket,
    pub route: Route,
}

/// One connection, seen from either end.
pub struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// A parsed message head.
#[derive(Debug)]
pub struct Head {
    pub start: String,
    pub fields: Vec<(String, String)>,
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    Fin,
    Reset,
}

impl Stage {
    pub fn start() -> Stage {
        Stage::with(|_| ())
    }

    pub fn with(change: impl FnOnce(&mut Settings)) -> Stage {
        let mut settings = Settings {
            workers: 2,
            trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
            max_connections: 1000,
            client_idle_timeout: Duration::from_secs(75),
            hold_timeout: PATIENCE * 3,
            max_held_requests: 100,
        };
        change(&mut settings);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        Stage {
            proxy: Proxy::start(listener, settings, None).unwrap(),
        }
    }

    /// A stage whose traffic goes to a new upstream.
    pub async fn with_upstream() -> (Stage, Upstream) {
        let stage = Stage::start();
        let upstream = Upstream::listen().await;
        stage.proxy.switch(Some(upstream.route.clone())).await;
        (stage, upstream)
    }

    pub async fn client(&self) -> Wire {
        Wire::new(
            within(TcpStream::connect(self.proxy.local_address()))
                .await
                .unwrap(),
        )
    }

    /// A client that has sent something.
    pub async fn client_sending(&self, bytes: impl AsRef<[u8]>) -> Wire {
        let mut client = self.client().await;
        client.send(bytes).await;
        client
    }
}

impl Upstream {
    pub async fn listen() -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let route = Route::new(listener.local_addr().unwrap());
        Upstream { listener, route }
    }

    pub async fn accept(&self) -> Wire {
        Wire::new(within(self.listener.accept()).await.unwrap().0)
    }

    /// Accepts a connection and reads a request head from it.
    pub async fn request(&self) -> (Wire, Head) {
        let mut wire = self.accept().await;
        let head = wire.head().await;
        (wire, head)
    }

    pub fn connections(&self) -> &Arc<Connections> {
        self.route.connections()
    }

    pub fn into_listener(self) -> TcpListener {
        self.listener
    }
}

impl Dormant {
    pub fn new() -> Dormant {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let route = Route::new(socket.local_addr().unwrap());
        Dormant { socket, route }
    }

    pub fn wake(self) -> Upstream {
        Upstream {
            listener: self.socket.listen(64).unwrap(),
            route: self.route,
        }
    }
}

impl Wire {
    pub fn new(stream: TcpStream) -> Wire {
        stream.set_nodelay(true).unwrap();
        Wire {
            stream,
            unread: Vec::new(),
        }
    }

    pub fn into_stream(self) -> TcpStream {
        assert!(self.unread.is_empty(), "bytes would be lost");
        self.stream
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        within(self.stream.write_all(bytes.as_ref())).await.unwrap();
    }

    /// Sends a FIN and keeps reading.
    pub async fn half_close(&mut self) {
        within(self.stream.shutdown()).await.unwrap();
    }

    /// Closes with a reset.
    pub fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }

    /// Reads up to and including `mark`.
    pub async fn until(&mut self, mark: &str) -> String {
        loop {
            let found = self
                .unread
                .windows(mark.len())
                .position(|window| window == mark.as_bytes());
            if let Some(start) = found {
                let rest = self.unread.split_off(start + mark.len());
                return String::from_utf8(std::mem::replace(&mut self.unread, rest)).unwrap();
            }
            let before = self.unread.len();
            within(self.stream.read_buf(&mut self.unread)).await.unwrap();
            let so_far = String::from_utf8_lossy(&self.unread);
            assert!(
                self.unread.len() > before,
                "the end instead of {mark:?}, after {so_far:?}"
            );
        }
    }

    pub async fn exactly(&mut self, length: usize) -> String {
        while self.unread.len() < length {
            let read = within(self.stream.read_buf(&mut self.unread)).await.unwrap();
            assert!(read > 0, "the end after {} of {length} bytes", self.unread.len());
        }
        let rest = self.unread.split_off(length);
        String::from_utf8(std::mem::replace(&mut self.unread, rest)).unwrap()
    }

    pub async fn head(&mut self) -> Head {
        let text = self.until("\r\n\r\n").await;
        let mut lines = text.trim_end().lines();
        let start = lines.next().unwrap().to_owned();
        let fields = lines
            .map(|line| line.split_once(':').unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Head { start, fields }
    }

    /// Reads over a head; false when the connection ended instead.
    pub async fn skip_head(&mut self) -> bool {
        loop {
            if let Some(start) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") {
                self.unread.drain(..start + 4);
                return true;
            }
            if self.stream.read_buf(&mut self.unread).await.unwrap_or(0) == 0 {
                return false;
            }
        }
    }

    /// Reads a head and the body its Content-Length announces.
    pub async fn message(&mut self) -> (Head, String) {
        let head = self.head().await;
        let length = head
            .get("content-length")
            .map_or(0, |length| length.parse().unwrap());
        let body = self.exactly(length).await;
        (head, body)
    }

    /// Reads to the end of the connection.
    pub async fn end(&mut self) -> (String, End) {
        let outcome = within(self.stream.read_to_end(&mut self.unread)).await;
        let end = if outcome.is_ok() { End::Fin } else { End::Reset };
        (
            String::from_utf8_lossy(&std::mem::take(&mut self.unread)).into_owned(),
            end,
        )
    }

    /// Asserts that the other end is gone, in whichever way.
    pub async fn is_cut(&mut self) {
        let (rest, _) = self.end().await;
        assert_eq!(rest, "");
    }
}

impl Head {
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut values = self
            .fields
            .iter()
            .filter(|field| field.0 == name)
            .map(|field| field.1.as_str());
        let first = values.next();
        assert_eq!(values.next(), None, "several {name} in {self:?}");
        first
    }

    pub fn status(&self) -> u16 {
        self.start.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

/// The result of `future`, which must not take for ever.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future)
        .await
        .expect("this should have happened long ago")
}

/// Returns when the condition holds.
pub async fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(timeout(PATIENCE, waiting).await.is_ok(), "never happened: {what}");
}

/// Returns when no request and no upgraded connection is counted.
pub async fn idle(connections: &Connections) {
    within(connections.wait_idle()).await;
    assert_eq!((connections.http(), connections.websocket()), (0, 0));
}
