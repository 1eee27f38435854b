//! Two proxies with the same listening socket, of which one hands over to the other.

use std::net::SocketAddr;

use rollbridge::proxy::{Handed, HandedState, Proxy, Route, Settings, Stage as Reached};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::stage::{Stage, Wire, within};

/// The pair, each with a route of its own to the same upstream. Both have one worker, so that what one connection sees
/// others see too.
pub struct Pair {
    pub old: Stage,
    pub new: Stage,
    pub old_route: Route,
    pub new_route: Route,
    /// A client of the old proxy that never says anything.
    quiet: Wire,
}

impl Pair {
    pub async fn to(upstream: SocketAddr) -> Pair {
        Pair::with(upstream, |_| ()).await
    }

    pub async fn with(upstream: SocketAddr, change: impl Fn(&mut Settings)) -> Pair {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (old_route, new_route) = (Route::new(upstream), Route::new(upstream));
        let start = |listener, route: &Route| {
            Stage::on(listener, Some(route.clone()), |settings| {
                settings.workers = 1;
                change(settings);
            })
        };
        let new = start(listener.try_clone().unwrap(), &new_route);
        // It does not accept.
        assert!(within(new.proxy.hand_over().recv()).await.is_none());
        let old = start(listener, &old_route);
        let quiet = accepted(&old).await;
        Pair {
            old,
            new,
            old_route,
            new_route,
            quiet,
        }
    }

    /// A client of the old proxy.
    pub async fn client(&self) -> Wire {
        accepted(&self.old).await
    }

    /// A client of the old proxy that has sent something.
    pub async fn client_sending(&self, bytes: impl AsRef<[u8]>) -> Wire {
        let mut client = self.client().await;
        client.send(bytes).await;
        client
    }

    /// Hands over to the new proxy, and says what was handed over.
    pub async fn hand_over(&self) -> Vec<HandedState> {
        let mut handed = self.old.proxy.hand_over();
        self.pass_on(&mut handed).await
    }

    /// Begins to hand over, while every client has a request. Returns when the old proxy begins no other request.
    pub async fn begin(&self) -> UnboundedReceiver<Handed> {
        let mut handed = self.old.proxy.hand_over();
        let first = within(handed.recv()).await.unwrap();
        assert!(self.is_quiet(&first.state), "{:?}", first.state);
        self.adopt(first);
        handed
    }

    /// The other way round.
    pub async fn hand_back(&self) {
        let mut handed = self.new.proxy.hand_over();
        while let Some(handed) = within(handed.recv()).await {
            adopt(&self.old.proxy, handed, &self.old_route);
        }
    }

    /// Passes on what is handed over up to the end.
    pub async fn pass_on(&self, handed: &mut UnboundedReceiver<Handed>) -> Vec<HandedState> {
        let mut states = Vec::new();
        while let Some(handed) = within(handed.recv()).await {
            if !self.is_quiet(&handed.state) {
                states.push(handed.state.clone());
            }
            self.adopt(handed);
        }
        states
    }

    /// Has the new proxy go on with a connection.
    pub fn adopt(&self, handed: Handed) {
        adopt(&self.new.proxy, handed, &self.new_route);
    }

    fn is_quiet(&self, state: &HandedState) -> bool {
        state.peer == self.quiet.stream().local_addr().unwrap()
    }
}

/// A client that the proxy has certainly accepted: one that came later has had its answer.
async fn accepted(stage: &Stage) -> Wire {
    let client = stage.client().await;
    let mut later = stage.client_sending("no request\r\n\r\n").await;
    assert_eq!(later.message().await.0.status(), 400);
    later.end().await;
    client
}

/// Has a proxy go on with a connection of which it was told as text, as another process would be.
pub fn adopt(proxy: &Proxy, handed: Handed, route: &Route) {
    let text = serde_json::to_string(&handed.state).unwrap();
    let state: HandedState = serde_json::from_str(&text).unwrap();
    assert_eq!(state, handed.state);
    let route = matches!(state.stage, Reached::Tunnel(_)).then(|| route.clone());
    proxy.adopt(Handed { state, ..handed }, route);
}
