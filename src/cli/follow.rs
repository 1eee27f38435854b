//! Following a daemon across its restarts: when the connection breaks, it is asked again to go on where it was.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::failure::Failure;
use super::output;
use crate::config::{self, ConfigFile, Control, Loaded};
use crate::control::client::{Client, ClientError, Line};

/// How long a daemon may be away. An engine comes back at once, a service manager takes its time.
const AWAY: Duration = Duration::from_secs(10);

/// How often is looked whether it is back.
const LOOK: Duration = Duration::from_millis(100);

/// What is followed.
pub(super) trait Followed {
    /// The request that goes on after what has been taken.
    fn request(&self) -> Value;

    /// Prints one line.
    fn take(&mut self, line: Line) -> Result<(), Failure>;

    /// What is counted when some was missed: `events`, `lines`.
    fn things(&self) -> &'static str;
}

/// Follows until Ctrl-C, or until the daemon has shut down.
pub(super) async fn follow(file: &ConfigFile, followed: &mut impl Followed) -> Result<(), Failure> {
    tokio::select! {
        outcome = follow_on(file, followed) => outcome,
        // Ctrl-C is how following ends.
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

async fn follow_on(file: &ConfigFile, followed: &mut impl Followed) -> Result<(), Failure> {
    let Loaded { config, .. } = config::load(file).await?;
    let mut client = Client::connect(&config.control).await?;
    loop {
        match follow_once(&mut client, followed).await {
            Err(End::Broken) => client = come_back(&config.control).await?,
            Err(End::Failed(failure)) => return Err(failure),
            Ok(()) => return Ok(()),
        }
    }
}

enum End {
    /// The connection broke.
    Broken,
    Failed(Failure),
}

impl From<ClientError> for End {
    fn from(error: ClientError) -> End {
        match error {
            ClientError::ConnectionLost => End::Broken,
            other => End::Failed(other.into()),
        }
    }
}

/// Follows until the daemon says that there is nothing more.
async fn follow_once(client: &mut Client, followed: &mut impl Followed) -> Result<(), End> {
    let request = followed.request();
    client
        .send(&request.as_object().cloned().unwrap_or_default())
        .await?;
    loop {
        let line = client.next_line().await?.ok_or(End::Broken)?;
        match line.get("status").and_then(Value::as_str) {
            Some("success") => return Ok(()),
            Some("lagged") => output::tell(&format!(
                "missed {} {}",
                line.get("missed").unwrap_or(&Value::Null),
                followed.things()
            )),
            Some("event" | "log") => followed.take(line).map_err(End::Failed)?,
            _ => return Err(End::Failed(Failure::from_daemon(&line))),
        }
    }
}

async fn come_back(control: &Control) -> Result<Client, Failure> {
    output::tell("the connection to the daemon broke; waiting for the daemon to come back");
    let deadline = Instant::now() + AWAY;
    loop {
        match Client::connect(control).await {
            Ok(client) => {
                output::tell("the daemon is back");
                return Ok(client);
            }
            Err(ClientError::NoDaemon { .. }) if Instant::now() < deadline => tokio::time::sleep(LOOK).await,
            Err(ClientError::NoDaemon { .. }) => {
                return Err(Failure::new(
                    ClientError::ConnectionLost.code(),
                    format!(
                        "the connection to the daemon broke, and no daemon came back within {} s; look for the reason where \
                         the daemon's output goes, and start it again with rollbridge daemon",
                        AWAY.as_secs()
                    ),
                ));
            }
            Err(error) => return Err(error.into()),
        }
    }
}
