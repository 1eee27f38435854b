//! The stage of a row: the proxy under test between plain sockets.

use std::net::SocketAddr;
use std::time::Duration;

use rollbridge::proxy::{Proxy, Route, Settings};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::contender::{Contender, Foreigner};
use crate::support::{Upstream, Wire, within};

/// A running proxy in front of one upstream.
pub struct Stage {
    address: SocketAddr,
    /// The proxy when it runs inside the test.
    pub proxy: Option<Proxy>,
    _foreigner: Option<Foreigner>,
}

impl Stage {
    /// The proxy with a listening upstream behind it.
    pub async fn start() -> (Stage, Upstream) {
        Stage::with(true, |_| ()).await
    }

    /// The same, with other settings; `trusted` tells whether the test's address is a trusted proxy.
    pub async fn with(trusted: bool, change: impl FnOnce(&mut Settings)) -> (Stage, Upstream) {
        let upstream = Upstream::listen().await;
        let stage = Stage::before(upstream.address(), trusted, change).await;
        (stage, upstream)
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
            head_timeout: Duration::from_secs(30),
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
