//! An upgraded connection: bytes both ways, a half-close passed on as one, until both sides are done, one of them
//! breaks, or the release's connections are closed.

use std::io;
use std::rc::Rc;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::client::Client;
use super::route::Counted;
use super::target::Target;
use super::upstream::Upstream;

/// The two sides of an upgrade that the upstream has agreed to.
#[derive(Debug)]
pub(super) struct Tunnel {
    pub(super) counted: Counted,
    pub(super) target: Rc<Target>,
    pub(super) client: Rc<Client>,
    pub(super) client_side: OnUpgrade,
    pub(super) upstream: Upstream,
    pub(super) upstream_side: OnUpgrade,
}

impl Tunnel {
    /// Starts the tunnel; the answer that switches protocols is still to be sent to the client.
    pub(super) fn start(self) {
        tokio::task::spawn_local(self.run());
    }

    async fn run(self) {
        let Tunnel {
            counted,
            target,
            client,
            client_side,
            upstream,
            upstream_side,
        } = self;
        tokio::select! {
            // However it ended, both sides are closed now.
            _ = carry(client_side, upstream_side) => {}
            () = target.closed().cancelled() => {}
        }
        drop((counted, client, upstream));
    }
}

async fn carry(client_side: OnUpgrade, upstream_side: OnUpgrade) -> io::Result<()> {
    let (client, upstream) = tokio::try_join!(client_side, upstream_side).map_err(io::Error::other)?;
    tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(upstream)).await?;
    Ok(())
}
