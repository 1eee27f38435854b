//! Following: a client is told of events or lines as they come, until it leaves or the daemon ends.
//!
//! It is told at the speed it reads. Nothing is kept for a client that is slow: it misses what is gone meanwhile, and is
//! told how much that was.

use std::time::Duration;

use serde_json::json;
use tokio::sync::broadcast::error::RecvError;

use super::request::EventsOptions;
use super::session::{Client, Left};
use super::wire;
use crate::daemon::{Engine, Followed, LogFollower};

/// How often is looked for new lines while somebody follows.
const LOOK: Duration = Duration::from_millis(25);

/// Sends the kept events, then every one that happens.
pub(super) async fn events(
    client: &mut Client,
    engine: &Engine,
    options: &EventsOptions,
) -> Result<(), Left> {
    let (kept, mut live) = engine.events().follow(options.since, options.limit);
    let missed = match (options.since, kept.first()) {
        (Some(since), Some(oldest)) if options.limit.is_none() => oldest.seq.saturating_sub(since + 1),
        _ => 0,
    };
    if missed > 0 {
        client.send(&wire::lagged(missed)).await?;
    }
    for event in kept {
        client.send(&wire::followed_event(&event)).await?;
    }
    loop {
        let next = tokio::select! {
            // In this order, so that the last events still arrive at a shutdown.
            biased;
            next = live.recv() => next,
            () = client.left() => return Err(Left),
            () = client.wait_until_socket_is_gone() => return end(client).await,
            // The next engine tells the rest to whoever asks again.
            () = engine.retiring() => return Err(Left),
        };
        match next {
            Ok(event) => client.send(&wire::followed_event(&event)).await?,
            Err(RecvError::Lagged(missed)) => client.send(&wire::lagged(missed)).await?,
            Err(RecvError::Closed) => return end(client).await,
        }
    }
}

/// Sends the kept lines, then every one that is written.
pub(super) async fn logs(
    client: &mut Client,
    engine: &Engine,
    mut follower: LogFollower,
) -> Result<(), Left> {
    loop {
        tell(client, &mut follower).await?;
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = client.left() => return Err(Left),
            () = engine.retiring() => return Err(Left),
            () = client.wait_until_socket_is_gone() => {
                tell(client, &mut follower).await?;
                return end(client).await;
            }
        }
    }
}

async fn tell(client: &mut Client, follower: &mut LogFollower) -> Result<(), Left> {
    for followed in follower.take() {
        let line = match &followed {
            Followed::Line(line) => wire::followed_line(line),
            Followed::Missed(missed) => wire::lagged(*missed),
        };
        client.send(&line).await?;
    }
    Ok(())
}

/// The final answer: there is nothing more to follow.
async fn end(client: &mut Client) -> Result<(), Left> {
    client
        .send(&wire::success(json!({ "message": "shutdown" })))
        .await
}
