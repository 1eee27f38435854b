//! Speaking to a daemon: one request, its lines, its final answer.

use std::path::PathBuf;

use serde_json::{Map, Value};
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::socket::reason_to_distrust;
use crate::config::Control;
use crate::error::{ErrorCode, plain};

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no daemon answers on {}: {cause}; start one with rollbridge daemon", .path.display())]
    NoDaemon {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// The connection broke before the answer came.
    #[error(
        "the connection to the daemon broke before it answered; ask for the outcome with rollbridge status"
    )]
    ConnectionLost,
    /// What came is not our protocol, or the socket is a stranger's.
    #[error("whoever listens on {} is not this application's daemon: {cause}", .path.display())]
    Foreign {
        /// The socket.
        path: PathBuf,
        /// How it shows.
        cause: String,
    },
}

impl ClientError {
    /// The code for programs.
    pub fn code(&self) -> ErrorCode {
        match self {
            ClientError::NoDaemon { .. } => ErrorCode::NoDaemon,
            ClientError::ConnectionLost => ErrorCode::ConnectionLost,
            ClientError::Foreign { .. } => ErrorCode::ForeignDaemon,
        }
    }
}

/// A connection to a daemon.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    path: PathBuf,
}

/// A line of the protocol.
pub type Line = Map<String, Value>;

impl Client {
    /// Connects to the daemon of this config.
    pub async fn connect(control: &Control) -> Result<Client, ClientError> {
        let path = control.path.clone();
        if let Some(cause) = reason_to_distrust(control) {
            return Err(ClientError::Foreign { path, cause });
        }
        match UnixStream::connect(&path).await {
            Ok(stream) => Ok(Client {
                stream: BufReader::new(stream),
                path,
            }),
            Err(error) => Err(ClientError::NoDaemon {
                path,
                cause: plain(&error),
            }),
        }
    }

    /// Sends a request and waits for its final line; `watch` sees every line before it.
    pub async fn request(
        &mut self,
        request: &Line,
        mut watch: impl FnMut(Line),
    ) -> Result<Line, ClientError> {
        self.send(request).await?;
        loop {
            let line = self.next_line().await?.ok_or(ClientError::ConnectionLost)?;
            match line.get("status").and_then(Value::as_str) {
                Some("success" | "error") => return Ok(line),
                _ => watch(line),
            }
        }
    }

    /// Sends a request without waiting for anything.
    pub async fn send(&mut self, request: &Line) -> Result<(), ClientError> {
        let mut bytes = serde_json::to_vec(request).unwrap_or_default();
        bytes.push(b'\n');
        self.stream
            .write_all(&bytes)
            .await
            .map_err(|_| ClientError::ConnectionLost)
    }

    /// The next line; none at the end of the connection.
    pub async fn next_line(&mut self) -> Result<Option<Line>, ClientError> {
        let mut bytes = Vec::new();
        match self.stream.read_until(b'\n', &mut bytes).await {
            Ok(0) => return Ok(None),
            Ok(_) if bytes.ends_with(b"\n") => {}
            _ => return Err(ClientError::ConnectionLost),
        }
        match serde_json::from_slice(&bytes) {
            Ok(line) => Ok(Some(line)),
            Err(_) => {
                let cause = "it does not speak the control protocol".to_owned();
                Err(ClientError::Foreign {
                    path: self.path.clone(),
                    cause,
                })
            }
        }
    }
}
