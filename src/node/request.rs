//! One control request from JavaScript.

use std::sync::Mutex;

use napi::Env;
use napi::bindgen_prelude::{Object, Promise};
use napi::threadsafe_function::ThreadsafeFunction;
use napi_derive::napi;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::config::{control_of, parse};
use super::daemon::Inside;
use super::guard::promise;
use crate::config::Control;
use crate::control::client::{Client, ClientError, Line};
use crate::control::wire;

/// Sees each line before the final one. Always an async function: one that throws into native code would end Node.
type OnLine = ThreadsafeFunction<String, Promise<()>, String, napi::Status, false>;

/// How a daemon is reached.
pub(super) enum Road {
    /// Over its control socket.
    Socket(Control),
    /// It runs in this process.
    Inside(Inside),
}

impl Road {
    async fn connect(&self) -> Result<Client, ClientError> {
        match self {
            Road::Socket(control) => Client::connect(control).await,
            Road::Inside(inside) => inside.connect(),
        }
    }
}

/// A request to a daemon.
#[napi]
pub struct Request {
    /// Taken when it is sent.
    unsent: Mutex<Option<(Road, Line)>>,
    abandoned: CancellationToken,
}

#[napi]
impl Request {
    /// A request that is not sent yet. `control_json` is the `control` of a checked config.
    #[napi(constructor, catch_unwind)]
    pub fn new(control_json: String, request_json: String) -> napi::Result<Request> {
        Request::over(Road::Socket(control_of(&control_json)?), &request_json)
    }

    /// Sends it and resolves to the final line as JSON, also where that is an error.
    #[napi(catch_unwind)]
    pub fn answer<'env>(&self, env: &'env Env, on_line: Option<OnLine>) -> napi::Result<Object<'env>> {
        let unsent = self.unsent.lock().ok().and_then(|mut unsent| unsent.take());
        let (road, line) = unsent.ok_or_else(|| napi::Error::from_reason("a request is sent only once"))?;
        let abandoned = self.abandoned.clone();
        promise(env, async move {
            let answer = tokio::select! {
                answer = ask(&road, line, on_line.as_ref()) => answer?,
                () = abandoned.cancelled() => Err(ClientError::ConnectionLost),
            };
            let line = answer.unwrap_or_else(|error| wire::error(error.code(), &error.to_string()));
            Ok(Value::Object(line).to_string())
        })
    }

    /// Stops waiting for the answer. What was asked for goes on.
    #[napi]
    pub fn abandon(&self) {
        self.abandoned.cancel();
    }
}

impl Request {
    pub(super) fn over(road: Road, request_json: &str) -> napi::Result<Request> {
        let Value::Object(line) = parse(request_json)? else {
            return Err(napi::Error::from_reason("a request is a JSON object"));
        };
        Ok(Request {
            unsent: Mutex::new(Some((road, line))),
            abandoned: CancellationToken::new(),
        })
    }
}

async fn ask(
    road: &Road,
    request: Line,
    on_line: Option<&OnLine>,
) -> napi::Result<Result<Line, ClientError>> {
    let mut client = match road.connect().await {
        Ok(client) => client,
        Err(error) => return Ok(Err(error)),
    };
    if let Err(error) = client.send(&request).await {
        return Ok(Err(error));
    }
    loop {
        let line = match client.next_line().await {
            Ok(Some(line)) => line,
            Ok(None) => return Ok(Err(ClientError::ConnectionLost)),
            Err(error) => return Ok(Err(error)),
        };
        match line.get("status").and_then(Value::as_str) {
            Some("success" | "error") => return Ok(Ok(line)),
            // Awaited, so that every line is seen before the answer.
            _ => {
                if let Some(on_line) = on_line {
                    on_line.call_async(Value::Object(line).to_string()).await?.await?;
                }
            }
        }
    }
}
