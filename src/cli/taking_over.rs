//! `rollbridge daemon --takeover-owner`: the beginning of taking another daemon's place.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use serde_json::Value;
use tokio::net::UnixStream;

use super::failure::Failure;
use crate::config::Config;
use crate::control::client::Line;
use crate::control::owner::{Reply, ask_owner};
use crate::daemon::{Passed, Succession};
use crate::error::ErrorCode;
use crate::ops::introduction::{Listener, introduce};

/// What the owner has passed.
pub(super) struct TakingOver {
    pub proxy: TcpListener,
    pub control: UnixListener,
    pub succession: Arc<Succession>,
    /// Open as long as the owner is to wait.
    pub asked: UnixStream,
}

/// Asks the daemon of this config for its place; none if there is no such daemon, whose place is free then.
pub(super) async fn ask(
    config: &Config,
    attestation: &str,
    keeper: i32,
) -> Result<Option<TakingOver>, Failure> {
    match introduce(&config.control).await {
        Listener::Nobody => return Ok(None),
        Listener::Daemon(owner) if owner.application == config.application => {
            if !owner.serves_at(&config.proxy.host, config.proxy.port) {
                let (host, port) = &owner.proxy;
                return Err(Failure::internal(format!(
                    "{} has its proxy on {host}:{port}, not where this config wants it; correct proxy.host and proxy.port, \
                     or end it with rollbridge shutdown",
                    owner.describe()
                )));
            }
        }
        Listener::Daemon(other) => {
            return Err(Failure::new(
                ErrorCode::ForeignDaemon,
                format!(
                    "{} listens on {}; set another control.path",
                    other.describe(),
                    config.control.path.display()
                ),
            ));
        }
        Listener::Stranger(reason) => return Err(Failure::new(ErrorCode::ForeignDaemon, reason)),
    }
    let successor = u32::try_from(keeper).unwrap_or_default();
    match ask_owner(&config.control, attestation, successor).await? {
        Reply::Passed(Passed { proxy, control, way }, asked) => Ok(Some(TakingOver {
            proxy: TcpListener::from(proxy),
            control: UnixListener::from(control),
            succession: Succession::new(way).map_err(|error| Failure::internal(error.to_string()))?,
            asked,
        })),
        Reply::Refused(line) if knows_the_command(&line) => Err(Failure::from_daemon(&line)),
        Reply::Refused(_) => Err(Failure::new(
            ErrorCode::UpgradeFailed,
            "the daemon that runs cannot pass its sockets; deploy to it instead, or replace it with rollbridge upgrade",
        )),
    }
}

fn knows_the_command(line: &Line) -> bool {
    let text = |field: &str| line.get(field).and_then(Value::as_str);
    text("status") == Some("error") && text("code") != Some(ErrorCode::UnknownCommand.as_str())
}
