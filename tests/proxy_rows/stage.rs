//! The stage of a row: the proxy under test between plain sockets.

use std::net::SocketAddr;
use std::time::Duration;

use rollbridge::proxy::{Proxy, Route, Settings};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::sleep;

use crate::contender::{Contender, Foreigner};
use crate::wire::{Head, Wire, within};

/// A running proxy in front of one upstream.
pub struct Stage {
    address: SocketAddr,
    /// The proxy when it runs inside the test.
    pub proxy: Option<Proxy>,
    _foreigner: Option<Foreigner>,
}

/// An upstream whose connections the row accepts by hand.
pub struct Upstream {
    listener: TcpListener,
}

/// An upstream that owns its port and refuses connections until told to listen.
pub struct Dormant {
    socket: TcpSocket,
    pub address: SocketAddr,
}

impl Stage {
    /// The proxy with a listening upstream behind it.
    pub async fn start() -> (Stage, Upstream) {
        Stage::with(true, |_| ()).await
    }

    /// The same, with other settings; `trusted` tells whether the test's address is a trusted proxy.
    pub async fn with(trusted: bool, change: impl FnOnce(&mut Settings)) -> (Stage, Upstream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (
            Stage::before(address, trusted, change).await,
            Upstream { listener },
        )
    }

    /// The proxy in front of `upstream`, whatever is there.
    pub async fn before(upstream: SocketAddr, trusted: bool, change: impl FnOnce(&mut Settings)) -> Stage {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let contender = Contender::chosen();
        if contender != Contender::Rollbridge {
            drop(listener);
            let foreigner = Foreigner::start(contender, address, upstream, trusted);
            let listens = async {
                while TcpStream::connect(address).await.is_err() {
                    sleep(Duration::from_millis(5)).await;
                }
            };
            within(listens).await;
            return Stage {
                address,
                proxy: None,
                _foreigner: Some(foreigner),
            };
        }
        let trusted_proxies = if trusted {
            vec!["127.0.0.0/8".parse().unwrap()]
        } else {
            Vec::new()
        };
        let mut settings = Settings {
            workers: 2,
            trusted_proxies,
            max_connections: 1000,
            client_idle_timeout: Duration::from_secs(75),
            hold_timeout: Duration::from_secs(60),
            max_held_requests: 100,
        };
        change(&mut settings);
        let proxy = Proxy::start(listener, settings, None).unwrap();
        proxy.switch(Some(Route::new(upstream))).await;
        Stage {
            address,
            proxy: Some(proxy),
            _foreigner: None,
        }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn own(&self) -> &Proxy {
        self.proxy.as_ref().unwrap()
    }

    pub async fn client(&self) -> Wire {
        Wire::new(self.stream().await)
    }

    pub async fn stream(&self) -> TcpStream {
        within(TcpStream::connect(self.address)).await.unwrap()
    }

    /// A client that has sent something.
    pub async fn client_sending(&self, bytes: impl AsRef<[u8]>) -> Wire {
        let mut client = self.client().await;
        client.send(bytes).await;
        client
    }
}

impl Upstream {
    pub async fn accept(&self) -> Wire {
        Wire::new(within(self.listener.accept()).await.unwrap().0)
    }

    /// The next connection, however long it takes.
    pub async fn accept_some_time(&self) -> Wire {
        Wire::new(self.listener.accept().await.unwrap().0)
    }

    /// Accepts a connection and reads a request head from it.
    pub async fn request(&self) -> (Wire, Head) {
        let mut wire = self.accept().await;
        let head = wire.head().await;
        (wire, head)
    }
}

impl Dormant {
    pub fn new() -> Dormant {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = socket.local_addr().unwrap();
        Dormant { socket, address }
    }

    pub fn wake(self) -> Upstream {
        Upstream {
            listener: self.socket.listen(64).unwrap(),
        }
    }
}
