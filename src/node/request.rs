//! One control request from JavaScript.

use std::sync::Mutex;

use napi::bindgen_prelude::Promise;
use napi::threadsafe_function::ThreadsafeFunction;
use napi_derive::napi;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::config::{control_of, parse};
use crate::config::Control;
use crate::control::client::{Client, ClientError, Line};
use crate::control::wire;

/// Sees each line before the final one. Always an async function: one that throws into native code would end Node.
type OnLine = ThreadsafeFunction<String, Promise<()>, String, napi::Status, false>;

/// A request to the daemon behind a control socket.
#[napi]
pub struct Request {
    control: Control,
    line: Mutex<Option<Line>>,
    abandoned: CancellationToken,
}

#[napi]
impl Request {
    /// A request that is not sent yet. `control_json` is the `control` of a checked config.
    #[napi(constructor)]
    pub fn new(control_json: String, request_json: String) -> napi::Result<Request> {
        let line = match parse(&request_json)? {
            Value::Object(line) => line,
            _ => return Err(napi::Error::from_reason("a request is a JSON object")),
        };
        let control = control_of(&control_json)?;
        Ok(Request {
            control,
            line: Mutex::new(Some(line)),
            abandoned: CancellationToken::new(),
        })
    }

    /// Sends it and resolves to the final line as JSON, also where that is an error.
    #[napi]
    pub async fn answer(&self, on_line: Option<OnLine>) -> napi::Result<String> {
        let line = self.line.lock().ok().and_then(|mut line| line.take());
        let line = line.ok_or_else(|| napi::Error::from_reason("a request is sent only once"))?;
        let answer = tokio::select! {
            answer = ask(&self.control, line, on_line.as_ref()) => answer?,
            () = self.abandoned.cancelled() => Err(ClientError::ConnectionLost),
        };
        let line = answer.unwrap_or_else(|error| wire::error(error.code(), &error.to_string()));
        Ok(Value::Object(line).to_string())
    }

    /// Stops waiting for the answer. What was asked for goes on.
    #[napi]
    pub fn abandon(&self) {
        self.abandoned.cancel();
    }
}

async fn ask(
    control: &Control,
    request: Line,
    on_line: Option<&OnLine>,
) -> napi::Result<Result<Line, ClientError>> {
    let mut client = match Client::connect(control).await {
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
