//! `retire-owner` with a successor: listeners travel beside a line of the protocol.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::io::Interest;
use tokio::net::UnixStream;

use super::client::{ClientError, Line, trusted};
use super::session::{Client, Left};
use super::wire;
use crate::clock::Timestamp;
use crate::config::Control;
use crate::daemon::{Engine, Passed, RetireRequest};
use crate::keeper::{receive_descriptors, send_descriptors};

/// How long a daemon may take to pass its listeners; it has nothing to wait for.
const PATIENCE: Duration = Duration::from_secs(10);

/// No line is that long.
const MOST_BYTES: usize = 1024 * 1024;

/// Carries the request out and answers it.
pub(super) async fn retire(client: &mut Client, engine: &Engine, request: RetireRequest) -> Result<(), Left> {
    const COMMAND: &str = "retire-owner";
    let (leaving, passed) = match engine.begin_to_leave(request) {
        Ok(begun) => begun,
        Err(error) => return client.fail(engine, COMMAND, wire::engine_error(&error)).await,
    };
    if let Some(Passed { proxy, control, way }) = passed {
        let line = json!({
            "status": "progress",
            "at": Timestamp::now().to_rfc3339(),
            "phase": "listeners",
            "message": "the listeners come with this line",
        });
        let line = line.as_object().cloned().unwrap_or_default();
        client.send_with(&line, &[proxy, control, way]).await?;
    }
    // Once begun it goes on to its end, whoever has asked.
    let left = tokio::spawn(leaving.carry_out()).await;
    match left {
        Ok(Ok(())) => {
            client
                .send(&wire::success(json!({ "message": "owner retired" })))
                .await
        }
        Ok(Err(error)) => client.fail(engine, COMMAND, wire::engine_error(&error)).await,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// Sends a line with descriptors.
pub(super) async fn send_with(
    stream: &UnixStream,
    bytes: &[u8],
    descriptors: &[OwnedFd],
) -> io::Result<usize> {
    let descriptors: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
    let send = || send_descriptors(stream.as_fd(), bytes, &descriptors);
    stream.async_io(Interest::WRITABLE, send).await
}

/// What a daemon says that was asked to leave its place.
#[derive(Debug)]
pub enum Reply {
    /// It passes its listeners. The connection must stay open until all is over.
    Passed(Passed, UnixStream),
    /// It says no, or does not know the command.
    Refused(Line),
}

/// Asks the daemon of this config to leave its place to the daemon `successor`.
///
/// # Errors
///
/// It cannot be reached, or does not speak the protocol.
pub async fn ask_owner(control: &Control, attestation: &str, successor: u32) -> Result<Reply, ClientError> {
    let stream = trusted(control).await?;
    let request = json!({ "command": "retire-owner", "attestation": attestation, "successor": successor });
    let mut bytes = serde_json::to_vec(&request).unwrap_or_default();
    bytes.push(b'\n');
    let mut descriptors = VecDeque::new();
    let exchange = async {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            stream.writable().await?;
            match stream.try_write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        read_line(&stream, &mut descriptors).await
    };
    let line = tokio::time::timeout(PATIENCE, exchange).await;
    let line = line
        .ok()
        .and_then(Result::ok)
        .ok_or(ClientError::ConnectionLost)?;
    let line: Map<String, Value> = serde_json::from_slice(&line).map_err(|_| ClientError::ConnectionLost)?;
    let mut next = || descriptors.pop_front();
    match (line.get("status").and_then(Value::as_str), next(), next(), next()) {
        (Some("progress"), Some(proxy), Some(control), Some(way)) => {
            Ok(Reply::Passed(Passed { proxy, control, way }, stream))
        }
        _ => Ok(Reply::Refused(line)),
    }
}

async fn read_line(stream: &UnixStream, descriptors: &mut VecDeque<OwnedFd>) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut buffer = vec![0; 4096];
    while !line.ends_with(b"\n") {
        let receive = || receive_descriptors(stream.as_fd(), &mut buffer, descriptors);
        let count = stream.async_io(Interest::READABLE, receive).await?;
        if count == 0 || line.len() > MOST_BYTES {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.extend_from_slice(&buffer[..count]);
    }
    Ok(line)
}
