//! What each request leads to.

use serde_json::json;
use tokio::sync::mpsc;

use super::request::Request;
use super::session::{Client, Left};
use super::{follow, owner, wire};
use crate::daemon::{Engine, EngineError, Outgoing};
use crate::error::plain;
use crate::release::{Progress, Step};

/// Carries out one request and answers it.
pub(super) async fn respond(client: &mut Client, engine: &Engine, request: Request) -> Result<(), Left> {
    let command = request.command();
    match request {
        Request::Deploy(options) => {
            let (progress, steps) = progress(options.progress());
            let deploying = engine.deploy(options.to_engine(), progress);
            let wait = options.wait_drained().then_some(WaitDrained {
                told: options.progress(),
            });
            switch_over(client, engine, command, deploying, steps, wait).await
        }
        Request::Rollback(options) => {
            let (progress, steps) = progress(options.progress());
            let rolling_back = engine.rollback(options.to_engine(), progress);
            switch_over(client, engine, command, rolling_back, steps, None).await
        }
        Request::Restart(request) => match unless_left(client, engine.restart(request)).await? {
            Ok(restarted) => {
                client
                    .send(&wire::success(json!({ "restarted": restarted })))
                    .await
            }
            Err(error) => client.fail(engine, command, wire::engine_error(&error)).await,
        },
        Request::Status => status(client, engine).await,
        Request::Stop(options) => {
            match unless_left(client, engine.stop(options.release_id.as_deref())).await? {
                Ok(()) => status(client, engine).await,
                Err(error) => client.fail(engine, command, wire::engine_error(&error)).await,
            }
        }
        Request::Events(options) if options.follow == Some(true) => {
            follow::events(client, engine, &options).await
        }
        Request::Events(options) => {
            let events = engine.events().recent(options.since, options.limit);
            let events: Vec<_> = events.iter().map(|event| wire::event(event)).collect();
            client.send(&wire::success(json!({ "events": events }))).await
        }
        Request::Logs(options) if options.follow() => match engine.follow_logs(options.to_engine()) {
            Ok(follower) => follow::logs(client, engine, follower).await,
            Err(error) => client.fail(engine, command, wire::engine_error(&error)).await,
        },
        Request::Logs(options) => match engine.logs(&options.to_engine()) {
            Ok(logs) => {
                let logs: Vec<_> = logs.iter().map(wire::process_logs).collect();
                client.send(&wire::success(json!({ "logs": logs }))).await
            }
            Err(error) => client.fail(engine, command, wire::engine_error(&error)).await,
        },
        Request::Connections(options) => match engine.connections(&options.to_engine()).await {
            Ok(open) => {
                let connections: Vec<_> = open.iter().map(wire::connection).collect();
                client
                    .send(&wire::success(json!({ "connections": connections })))
                    .await
            }
            Err(error) => client.fail(engine, command, wire::engine_error(&error)).await,
        },
        Request::Upgrade(options) => {
            let upgraded = match client.socket() {
                Ok(socket) => engine.upgrade(options.to_engine(), socket).await,
                Err(error) => Err(EngineError::Upgrade(plain(&error))),
            };
            match upgraded {
                // The next engine answers.
                Ok(()) => Err(Left),
                Err(error) => client.fail(engine, command, wire::engine_error(&error)).await,
            }
        }
        Request::RetireOwner(request) => owner::retire(client, engine, request).await,
        Request::Shutdown => {
            engine.shutdown().await;
            client.wait_until_socket_is_gone().await;
            client
                .send(&wire::success(json!({ "message": "shutdown" })))
                .await
        }
    }
}

/// Answers a client that has asked an engine before this one for an upgrade, once it is known what came of it.
pub(super) async fn upgraded(
    client: &mut Client,
    engine: &Engine,
    previous_version: &str,
) -> Result<(), Left> {
    match engine.upgraded().await {
        Ok(()) => {
            let versions =
                json!({ "previousVersion": previous_version, "version": env!("CARGO_PKG_VERSION") });
            client.send(&wire::success(versions)).await
        }
        Err(error) => client.fail(engine, "upgrade", wire::engine_error(&error)).await,
    }
}

/// Waits as long as the client does. Leaving drops what still stands in the queue; what has begun goes on without us.
async fn unless_left<T>(client: &Client, outcome: impl Future<Output = T>) -> Result<T, Left> {
    tokio::select! {
        biased;
        outcome = outcome => Ok(outcome),
        () = client.left() => Err(Left),
    }
}

async fn status(client: &mut Client, engine: &Engine) -> Result<(), Left> {
    let status = engine.status_with_memory().await;
    client.send(&wire::success(wire::status(&status))).await
}

/// The answer waits until the previous release has drained.
#[derive(Clone, Copy, Debug)]
struct WaitDrained {
    /// With a step that says so.
    told: bool,
}

type Steps = mpsc::UnboundedReceiver<Step>;

fn progress(wanted: bool) -> (Progress, Steps) {
    let (sender, steps) = mpsc::unbounded_channel();
    (
        if wanted {
            Progress::to(sender)
        } else {
            Progress::default()
        },
        steps,
    )
}

/// Waits for a deploy or rollback, passing its steps on as they come.
async fn switch_over(
    client: &mut Client,
    engine: &Engine,
    command: &str,
    switching: impl Future<Output = Result<Outgoing, EngineError>>,
    mut steps: Steps,
    wait_drained: Option<WaitDrained>,
) -> Result<(), Left> {
    let mut switching = std::pin::pin!(switching);
    let outcome = loop {
        tokio::select! {
            biased;
            Some(step) = steps.recv() => client.send(&wire::progress(&step)).await?,
            outcome = &mut switching => break outcome,
            // Leaving drops an operation that still stands in the queue; one that has begun goes on without us.
            () = client.left() => return Err(Left),
        }
    };
    while let Ok(step) = steps.try_recv() {
        client.send(&wire::progress(&step)).await?;
    }
    match outcome {
        Ok(outgoing) => {
            if let Some((previous, wait)) = outgoing.previous.zip(wait_drained) {
                if wait.told {
                    client.send(&wire::draining(&previous.key().id)).await?;
                }
                tokio::select! {
                    () = previous.wait_until_drained() => {}
                    () = client.left() => return Err(Left),
                    () = engine.retiring() => return client.fail(engine, command, wire::not_waited(&previous.key().id)).await,
                }
            }
            client
                .send(&wire::success(wire::deployed(&outgoing.deployed)))
                .await
        }
        Err(error) => client.fail(engine, command, wire::engine_error(&error)).await,
    }
}
