//! Upstreams that a test plays by hand.

use std::net::SocketAddr;
use std::sync::Arc;

use rollbridge::proxy::{Connections, Route};
use tokio::net::{TcpListener, TcpSocket};

use super::patience::within;
use super::wire::{Head, Wire};

/// An upstream whose connections the test accepts.
pub struct Upstream {
    listener: TcpListener,
    pub route: Route,
}

/// An upstream that owns its port and refuses connections until told to listen.
pub struct Dormant {
    socket: TcpSocket,
    pub route: Route,
    pub address: SocketAddr,
}

impl Upstream {
    pub async fn listen() -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let route = Route::new(listener.local_addr().unwrap());
        Upstream { listener, route }
    }

    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    pub async fn accept(&self) -> Wire {
        within(self.accept_some_time()).await
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
        let address = socket.local_addr().unwrap();
        Dormant {
            socket,
            route: Route::new(address),
            address,
        }
    }

    pub fn wake(self) -> Upstream {
        Upstream {
            listener: self.socket.listen(64).unwrap(),
            route: self.route,
        }
    }
}
