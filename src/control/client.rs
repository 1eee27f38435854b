//! Speaking to a daemon: one request, its lines, its final answer.

use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

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
    /// Somebody may listen, but not to this user.
    #[error(
        "this user may not use the control socket {}; run the command as the daemon's user, or let others in with \
         control.mode, control.owner or control.group", .path.display()
    )]
    Forbidden {
        /// The socket.
        path: PathBuf,
    },
    /// There is a file of another kind.
    #[error("{} exists and is not a socket; remove it or set control.path", .path.display())]
    NotASocket {
        /// The file.
        path: PathBuf,
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
            ClientError::NoDaemon { .. } | ClientError::Forbidden { .. } | ClientError::NotASocket { .. } => {
                ErrorCode::NoDaemon
            }
            ClientError::ConnectionLost => ErrorCode::ConnectionLost,
            ClientError::Foreign { .. } => ErrorCode::ForeignDaemon,
        }
    }
}

/// A connection to a daemon.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    /// Where it can be connected again.
    control: Option<Control>,
}

/// A connection to the daemon of this config, if it is to be trusted.
pub(super) async fn trusted(control: &Control) -> Result<UnixStream, ClientError> {
    let path = control.path.clone();
    // Nothing is there to be judged. Whoever puts a socket there from now on is not spoken to.
    if let Err(error) = std::fs::symlink_metadata(&path)
        && error.kind() == ErrorKind::NotFound
    {
        let cause = plain(&error);
        return Err(ClientError::NoDaemon { path, cause });
    }
    if let Some(cause) = reason_to_distrust(control) {
        return Err(ClientError::Foreign { path, cause });
    }
    match UnixStream::connect(&path).await {
        Ok(stream) => Ok(stream),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(ClientError::Forbidden { path }),
        Err(_) if is_other_file(&path) => Err(ClientError::NotASocket { path }),
        Err(error) => Err(ClientError::NoDaemon {
            path,
            cause: plain(&error),
        }),
    }
}

/// A line of the protocol.
pub type Line = Map<String, Value>;

impl Client {
    /// Connects to the daemon of this config.
    pub async fn connect(control: &Control) -> Result<Client, ClientError> {
        Ok(Client {
            stream: BufReader::new(trusted(control).await?),
            control: Some(control.clone()),
        })
    }

    /// Speaks over a connection that is there already, to an engine in this process.
    pub fn over(stream: UnixStream) -> Client {
        Client {
            stream: BufReader::new(stream),
            control: None,
        }
    }

    /// Sends a request and waits for its final line; `watch` sees every line before it. If the daemon makes way for another
    /// program before it has begun, that one is asked.
    pub async fn request(
        &mut self,
        request: &Line,
        mut watch: impl FnMut(Line),
    ) -> Result<Line, ClientError> {
        loop {
            self.send(request).await?;
            let answer = self.answer(&mut watch).await?;
            match &self.control {
                Some(control) if answer.get("retry").is_some_and(|retry| retry == true) => {
                    *self = Client::connect(control).await?;
                }
                _ => return Ok(answer),
            }
        }
    }

    async fn answer(&mut self, watch: &mut impl FnMut(Line)) -> Result<Line, ClientError> {
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
            Ok(line) if is_protocol(&line) => Ok(Some(line)),
            _ => {
                let cause = "it does not speak the control protocol".to_owned();
                let control = self.control.as_ref();
                Err(ClientError::Foreign {
                    path: control.map(|control| control.path.clone()).unwrap_or_default(),
                    cause,
                })
            }
        }
    }
}

/// An error says what is wrong; one that does not is somebody else's.
fn is_protocol(line: &Line) -> bool {
    line.get("status").is_none_or(|status| status != "error")
        || line.get("error").is_some_and(Value::is_string)
}

fn is_other_file(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| !found.file_type().is_socket())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::UnixListener;

    fn control(path: PathBuf) -> Control {
        Control {
            path,
            mode: None,
            owner: None,
            group: None,
        }
    }

    #[tokio::test]
    async fn a_file_in_the_way_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("control.sock");
        std::fs::write(&path, "").expect("a file");
        let error = Client::connect(&control(path)).await.expect_err("no socket");
        assert!(
            error.to_string().contains("exists and is not a socket"),
            "{error}"
        );
        assert_eq!(error.code(), ErrorCode::NoDaemon);
    }

    #[test]
    fn who_may_not_enter_is_not_told_to_start_a_daemon() {
        let error = ClientError::Forbidden {
            path: "/run/x.sock".into(),
        };
        let text = error.to_string();
        assert!(
            text.contains("control.mode") && !text.contains("start one"),
            "{text}"
        );
        assert_eq!(error.code(), ErrorCode::NoDaemon);
    }

    #[tokio::test]
    async fn an_error_without_words_is_not_our_protocol() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("control.sock");
        let listener = UnixListener::bind(&path).expect("a socket");
        let mut client = Client::connect(&control(path)).await.expect("a connection");
        let (mut stranger, _) = listener.accept().await.expect("a connection");
        stranger
            .write_all(b"{\"status\":\"error\"}\n")
            .await
            .expect("it is read");
        let error = client.next_line().await.expect_err("it says nothing");
        assert_eq!(error.code(), ErrorCode::ForeignDaemon);
    }
}
