//! The end of an engine that makes way for another program: everything but its connections is let go of, those are handed
//! over, and the requests in flight are served to their end.
//!
//! From the moment it retires nothing of the engine may run but this: its supervisors, timers and rules are another
//! engine's by then. So its runtime is left standing still, never polled again and never dropped, and this runs in one of
//! its own.

use std::os::fd::OwnedFd;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::mpsc::UnboundedReceiver;

use super::Engine;
use super::handover::{FromRetired, OpenThere, ToRetired, next_connection};
use super::noting::NEXT_CONNECTION_KEY;
use super::turn::Held;
use crate::host::note_of;
use crate::keeper::{Handover, KeeperHost};
use crate::proxy::{Handed, Stage};
use crate::release::ReleaseKey;

/// How often is looked how many requests are still in flight.
const LOOK: Duration = Duration::from_millis(50);

/// What the retirement of an engine needs.
#[derive(Debug)]
pub(super) struct Retirement {
    /// Who asked for the upgrade.
    pub client: OwnedFd,
    /// The socket for the connections, and its other end.
    pub sockets: (OwnedFd, OwnedFd),
    /// Where the rest of this engine runs.
    pub runtime: Runtime,
    /// No deploy begins any more.
    pub _turn: Held,
}

/// An engine that has let go of everything but its connections.
#[derive(Debug)]
pub struct Retired {
    engine: Engine,
    host: Arc<KeeperHost>,
    client: OwnedFd,
    socket: OwnedFd,
    theirs: OwnedFd,
    runtime: Runtime,
}

impl Engine {
    pub(super) fn retirement(&self) -> MutexGuard<'_, Option<Retirement>> {
        self.inner
            .retirement
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of everything that an engine that is killed could not. Returns none for an engine that does not retire. The
    /// caller must see to it that nothing of this engine runs afterwards but [`Retired::hand_over`].
    pub async fn retire(&self, host: &Arc<KeeperHost>) -> Option<Retired> {
        let Retirement {
            client,
            sockets: (socket, theirs),
            runtime,
            _turn,
        } = self.retirement().take()?;
        if let Some(state) = self.inner.state.get() {
            state.let_go().await;
        }
        let next = next_connection();
        self.inner
            .host
            .note(vec![note_of(NEXT_CONNECTION_KEY.to_owned(), &next)]);
        host.is_quiet().await;
        Some(Retired {
            engine: self.clone(),
            host: host.clone(),
            client,
            socket,
            theirs,
            runtime,
        })
    }

    pub(super) fn release_of_route(&self, route: u64) -> Option<ReleaseKey> {
        self.book().of_route(route).map(|release| release.key().clone())
    }

    fn open_here(&self) -> Vec<OpenThere> {
        let book = self.book();
        let open = book.releases.iter().map(|release| {
            let connections = release.route().connections();
            OpenThere {
                release: release.key().clone(),
                http: connections.own_http(),
                websocket: connections.own_websocket(),
            }
        });
        open.filter(|open| open.http + open.websocket > 0).collect()
    }
}

impl Retired {
    /// Has the successor take over and hands everything over to it; returns when no connection is left here, or nobody is
    /// left who would take one.
    ///
    /// # Errors
    /// When a socket fails.
    pub fn hand_over(self) -> std::io::Result<()> {
        self.host.retire(&self.theirs)?;
        drop(self.theirs);
        // Not before: an engine that runs takes what leaves its counts for finished.
        let connections = self.engine.inner.proxy.hand_over();
        let handing = hand_over(self.engine, connections, self.socket, self.client);
        self.runtime.block_on(handing)
    }
}

async fn hand_over(
    engine: Engine,
    mut connections: UnboundedReceiver<Handed>,
    socket: OwnedFd,
    client: OwnedFd,
) -> std::io::Result<()> {
    let way = Handover::new(socket)?;
    let previous_version = env!("CARGO_PKG_VERSION").to_owned();
    let asked = FromRetired::Asked { previous_version };
    way.send(&asked, &[client]).await?;
    let mut told = None;
    loop {
        // Counted before the connections are sent that have left the counts.
        let open = engine.open_here();
        while let Ok(handed) = connections.try_recv() {
            send(&way, &engine, handed).await?;
        }
        if told.as_ref() != Some(&open) {
            let releases = open.clone();
            way.send(&FromRetired::Open { releases }, &[]).await?;
            told = Some(open);
        }
        tokio::select! {
            handed = connections.recv() => match handed {
                Some(handed) => send(&way, &engine, handed).await?,
                None => return Ok(()),
            },
            message = way.receive() => match message? {
                Some((ToRetired::Here {}, _)) => told = None,
                Some((ToRetired::Cut { release }, _)) => {
                    if let Some(release) = engine.book().release(&release) {
                        release.route().connections().close();
                    }
                }
                Some((ToRetired::Look { question, close }, _)) => {
                    let open = engine.connections_for_another(close).await;
                    way.send(&FromRetired::Seen { question, open }, &[]).await?;
                }
                // The daemon has ended.
                None => return Ok(()),
            },
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn send(way: &Handover, engine: &Engine, handed: Handed) -> std::io::Result<()> {
    let Handed {
        state,
        client,
        upstream,
    } = handed;
    let release = match &state.stage {
        Stage::Tunnel(tunnel) => engine.release_of_route(tunnel.route),
        Stage::Resting(_) | Stage::Held(_) => None,
    };
    let descriptors: Vec<OwnedFd> = [client].into_iter().chain(upstream).collect();
    way.send(&FromRetired::Connection { state, release }, &descriptors)
        .await
}
