//! Who listens on the control socket: this application's daemon, another's, a stranger, or nobody.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::config::Control;
use crate::control::client::{Client, ClientError, Line};

/// How long whoever listens may take to say who it is.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who listens.
#[derive(Debug)]
pub enum Listener {
    /// Nobody.
    Nobody,
    /// A daemon, with what it says of itself.
    Daemon(Box<Daemon>),
    /// Somebody who is no daemon, or is not to be spoken to.
    Stranger(String),
}

/// A daemon that has introduced itself.
#[derive(Debug)]
pub struct Daemon {
    /// The connection to it.
    pub client: Client,
    /// Its application.
    pub application: String,
    /// Its version.
    pub version: String,
    /// Its active release.
    pub active_release_id: Option<String>,
    /// Where its proxy listens.
    pub proxy: (String, u16),
    /// How many processes an earlier daemon has left over.
    pub orphans: usize,
}

/// Asks whoever listens.
pub async fn introduce(control: &Control) -> Listener {
    let mut client = match Client::connect(control).await {
        Ok(client) => client,
        Err(ClientError::NoDaemon { .. }) => return Listener::Nobody,
        Err(error) => return Listener::Stranger(error.to_string()),
    };
    let status = ask(&mut client, "status");
    match tokio::time::timeout(PATIENCE, status).await {
        Ok(Ok(status)) => match read(client, &status) {
            Some(daemon) => Listener::Daemon(Box::new(daemon)),
            None => Listener::Stranger(format!(
                "whoever listens on {} does not answer as a daemon does",
                control.path.display()
            )),
        },
        Ok(Err(error)) => Listener::Stranger(error.to_string()),
        Err(_) => Listener::Stranger(format!(
            "whoever listens on {} does not answer",
            control.path.display()
        )),
    }
}

/// Asks one thing that has no parameters.
pub async fn ask(client: &mut Client, command: &str) -> Result<Line, ClientError> {
    let request = Map::from_iter([("command".to_owned(), Value::from(command))]);
    client.request(&request, |_| ()).await
}

fn read(client: Client, status: &Line) -> Option<Daemon> {
    let text = |field: &str| status.get(field).and_then(Value::as_str).map(str::to_owned);
    let proxy = status.get("proxy")?;
    Some(Daemon {
        client,
        application: text("application")?,
        version: text("version")?,
        active_release_id: text("activeReleaseId"),
        proxy: (
            proxy["host"].as_str()?.to_owned(),
            u16::try_from(proxy["port"].as_u64()?).ok()?,
        ),
        orphans: status
            .get("orphans")
            .and_then(Value::as_array)
            .map_or(0, Vec::len),
    })
}

impl Daemon {
    /// `the daemon of shop (active release v1)`
    pub fn describe(&self) -> String {
        match &self.active_release_id {
            Some(id) => format!("the daemon of {} (active release {id})", self.application),
            None => format!("the daemon of {} (no active release)", self.application),
        }
    }

    /// Whether its proxy listens where this config wants it. The daemon tells addresses, the config may have a name.
    pub fn serves_at(&self, host: &str, port: u16) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let resolved = || {
            std::net::ToSocketAddrs::to_socket_addrs(&(host, port))
                .is_ok_and(|mut found| found.any(|address| address.ip().to_string() == self.proxy.0))
        };
        (port == 0 || port == self.proxy.1) && (host == self.proxy.0 || resolved())
    }
}
