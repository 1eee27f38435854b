//! The stage of a test: a proxy, upstreams that do what the test says, and wires that speak bytes.

use std::time::Duration;

use rollbridge::proxy::{Connections, Proxy, Route, Settings};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::support::patience;
pub use crate::support::{Dormant, End, Head, Upstream, Wire, within};

/// A running proxy.
pub struct Stage {
    pub proxy: Proxy,
}

impl Stage {
    pub fn start() -> Stage {
        Stage::with(|_| ())
    }

    pub fn with(change: impl FnOnce(&mut Settings)) -> Stage {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        Stage::on(listener, None, change)
    }

    /// A stage of which others may have the listener too.
    pub fn on(
        listener: std::net::TcpListener,
        route: Option<Route>,
        change: impl FnOnce(&mut Settings),
    ) -> Stage {
        let mut settings = settings();
        change(&mut settings);
        Stage {
            proxy: Proxy::start(listener, settings, route).unwrap(),
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

/// How a stage treats its clients, unless it is told otherwise.
pub fn settings() -> Settings {
    Settings {
        workers: 2,
        trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
        max_connections: 1000,
        head_timeout: Duration::from_secs(30),
        client_idle_timeout: Duration::from_secs(75),
        hold_timeout: patience() * 3,
        max_held_requests: 100,
    }
}

/// Returns when the condition holds.
pub async fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(
        timeout(patience(), waiting).await.is_ok(),
        "never happened: {what}"
    );
}

/// Returns when no request and no upgraded connection is counted.
pub async fn idle(connections: &Connections) {
    within(connections.wait_idle()).await;
    assert_eq!((connections.http(), connections.websocket()), (0, 0));
}
