//! One client's connection: lines in, answers out, in order.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Map, Value};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::watch;

use super::request::Request;
use super::{owner, respond, wire};
use crate::daemon::{Engine, HandedClient};
use crate::error::ErrorCode;
use crate::events::Milestone;

/// A longer request is answered with an error, and the connection closed.
const LONGEST_REQUEST_BYTES: usize = 1024 * 1024;

/// How often we look whether a client that waits is still there.
const LOOK: Duration = Duration::from_millis(100);

/// The client can be written to no more.
#[derive(Debug)]
pub(super) struct Left;

impl From<io::Error> for Left {
    fn from(_: io::Error) -> Left {
        Left
    }
}

/// A client's connection.
#[derive(Debug)]
pub(super) struct Client {
    stream: BufReader<UnixStream>,
    engine: Engine,
    /// Turns true once everything is stopped and the socket's file is gone.
    socket_gone: watch::Receiver<bool>,
}

enum Received {
    Line(Vec<u8>),
    TooLong,
    End,
}

/// Serves one client until it leaves, or the daemon ends.
pub(super) async fn serve(stream: UnixStream, engine: Engine, socket_gone: watch::Receiver<bool>) {
    go_on(Client::new(stream, &engine, socket_gone), engine).await;
}

/// Answers a client that has asked an engine before this one for an upgrade, and serves it from then on.
pub(super) async fn go_on_with(handed: HandedClient, engine: Engine, socket_gone: watch::Receiver<bool>) {
    let stream = std::os::unix::net::UnixStream::from(handed.socket);
    // Whose connection cannot be used any more gets no answer.
    let Ok(stream) = stream
        .set_nonblocking(true)
        .and_then(|()| UnixStream::from_std(stream))
    else {
        return;
    };
    let mut client = Client::new(stream, &engine, socket_gone);
    if respond::upgraded(&mut client, &engine, &handed.previous_version)
        .await
        .is_ok()
    {
        go_on(client, engine).await;
    }
}

async fn go_on(mut client: Client, engine: Engine) {
    let mut ending = client.socket_gone.clone();
    loop {
        let received = tokio::select! {
            received = client.receive() => received,
            // Nothing was asked: there is no answer to wait for.
            _ = ending.wait_for(|gone| *gone) => return,
            // Whatever is asked next is for the next engine.
            () = engine.retiring() => return,
        };
        let answered = match received {
            Ok(Received::Line(line)) if line.trim_ascii().is_empty() => Ok(()),
            Ok(Received::Line(line)) => answer(&mut client, &engine, &line).await,
            Ok(Received::TooLong) => {
                let message = format!("a request must not be longer than {LONGEST_REQUEST_BYTES} bytes");
                let _ = client
                    .send(&wire::error(ErrorCode::InvalidRequest, &message))
                    .await;
                return;
            }
            Ok(Received::End) | Err(Left) => return,
        };
        if answered.is_err() {
            return;
        }
    }
}

async fn answer(client: &mut Client, engine: &Engine, line: &[u8]) -> Result<(), Left> {
    match Request::parse(line) {
        Ok(request) => respond::respond(client, engine, request).await,
        Err(error) => {
            client
                .fail(
                    engine,
                    "unreadable request",
                    wire::error(error.code(), &error.to_string()),
                )
                .await
        }
    }
}

impl Client {
    fn new(stream: UnixStream, engine: &Engine, socket_gone: watch::Receiver<bool>) -> Client {
        Client {
            stream: BufReader::new(stream),
            engine: engine.clone(),
            socket_gone,
        }
    }

    /// Another handle on its connection.
    pub fn socket(&self) -> io::Result<OwnedFd> {
        self.stream.get_ref().as_fd().try_clone_to_owned()
    }

    async fn receive(&mut self) -> Result<Received, Left> {
        let mut line = Vec::new();
        loop {
            let available = self.stream.fill_buf().await?;
            if available.is_empty() {
                // A last line without an end is a request all the same.
                return Ok(if line.is_empty() {
                    Received::End
                } else {
                    Received::Line(line)
                });
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let taken = end.unwrap_or(available.len());
            if line.len() + taken > LONGEST_REQUEST_BYTES {
                return Ok(Received::TooLong);
            }
            line.extend_from_slice(&available[..taken]);
            self.stream.consume(taken + usize::from(end.is_some()));
            if end.is_some() {
                return Ok(Received::Line(line));
            }
        }
    }

    /// Sends one line, once whatever it tells of is safe from the end of this engine.
    pub async fn send(&mut self, line: &Map<String, Value>) -> Result<(), Left> {
        let mut bytes = serde_json::to_vec(line).map_err(io::Error::from)?;
        bytes.push(b'\n');
        self.engine.settled().await;
        self.stream.write_all(&bytes).await?;
        Ok(())
    }

    /// Sends one line with descriptors, which come with its beginning.
    pub async fn send_with(
        &mut self,
        line: &Map<String, Value>,
        descriptors: &[OwnedFd],
    ) -> Result<(), Left> {
        let mut bytes = serde_json::to_vec(line).map_err(io::Error::from)?;
        bytes.push(b'\n');
        self.engine.settled().await;
        let sent = owner::send_with(self.stream.get_ref(), &bytes, descriptors).await?;
        self.stream.write_all(&bytes[sent..]).await?;
        Ok(())
    }

    /// Sends an error line and records that `command` failed.
    pub async fn fail(
        &mut self,
        engine: &Engine,
        command: &str,
        line: Map<String, Value>,
    ) -> Result<(), Left> {
        let code = line
            .get("code")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        engine.events().record(Milestone::CommandFailed {
            command: command.to_owned(),
            code,
        });
        self.send(&line).await
    }

    /// Waits until everything is stopped and the socket's file is gone.
    pub async fn wait_until_socket_is_gone(&self) {
        // The sender goes only after it has said so.
        let _ = self.socket_gone.clone().wait_for(|gone| *gone).await;
    }

    /// Resolves when the client has closed its connection. One that only ended its own sending side still waits for
    /// its answer.
    pub async fn left(&self) {
        while !self.has_hung_up() {
            tokio::time::sleep(LOOK).await;
        }
    }

    fn has_hung_up(&self) -> bool {
        let mut watched = [PollFd::new(self.stream.get_ref().as_fd(), PollFlags::empty())];
        let hung_up = PollFlags::POLLHUP | PollFlags::POLLERR;
        poll(&mut watched, PollTimeout::ZERO).is_ok()
            && watched[0]
                .revents()
                .is_some_and(|events| events.intersects(hung_up))
    }
}
