//! Accepting clients, and the order in which things end at a shutdown.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{Shutdown, shutdown};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::session;
use super::socket::{ControlSocket, SocketError};
use crate::daemon::Engine;
use crate::events::Milestone;

/// How long clients may take to read their last answer once everything is stopped.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// How long an engine that makes way for another program waits for commands that are under way.
const LAST_COMMANDS: Duration = Duration::from_secs(5);

/// How long accepting pauses when the system has no descriptor to give.
const BREATH: Duration = Duration::from_millis(100);

/// A control socket that listens and is not served yet.
#[derive(Debug)]
pub struct Server {
    socket: ControlSocket,
    listener: UnixListener,
    /// It belongs to a service manager, which goes on listening on it.
    is_passed: bool,
}

/// A control socket that was there before this engine.
#[derive(Debug)]
pub enum Existing {
    /// An engine before this one has made it.
    Held(std::os::unix::net::UnixListener),
    /// A service manager has made it, and keeps it; told once, by the first engine.
    Passed {
        /// What it listens on.
        listener: std::os::unix::net::UnixListener,
        /// Whether an engine before this one has used it.
        was_used: bool,
    },
}

impl Server {
    /// Makes the control socket of the engine's config, or goes on with the one that an engine before this one has made.
    /// Must be called inside a tokio runtime.
    pub fn bind(engine: &Engine, existing: Option<Existing>) -> Result<Server, SocketError> {
        let control = &engine.config().control;
        let is_passed = matches!(existing, Some(Existing::Passed { .. }));
        let is_new = matches!(existing, None | Some(Existing::Passed { was_used: false, .. }));
        let (socket, listener) = match existing {
            Some(Existing::Held(listener)) => (ControlSocket::of(control), listener),
            Some(Existing::Passed { listener, .. }) => {
                listener.set_nonblocking(true).map_err(|source| SocketError::Io {
                    what: "use",
                    path: control.path.clone(),
                    source,
                })?;
                (ControlSocket::of_another(control), listener)
            }
            None => ControlSocket::bind(control)?,
        };
        let failed = |source: io::Error| {
            socket.remove();
            SocketError::Io {
                what: "listen on",
                path: control.path.clone(),
                source,
            }
        };
        let listener = UnixListener::from_std(listener).map_err(failed)?;
        if is_new {
            engine.events().record(Milestone::ControlSocketListening {
                path: control.path.display().to_string(),
            });
        }
        if !is_passed {
            let handle = listener.as_fd().try_clone_to_owned().map_err(failed)?;
            engine.control_listens(handle);
        }
        // Not before: who does not get the socket must leave the state of who has it alone.
        engine.keep_state();
        Ok(Server {
            socket,
            listener,
            is_passed,
        })
    }

    /// Another handle on the socket it listens on.
    pub fn listener(&self) -> io::Result<OwnedFd> {
        self.listener.as_fd().try_clone_to_owned()
    }

    /// Serves until the engine is shut down; returns when the socket is gone and clients have their last answers. Of an
    /// engine that makes way for another program only the clients are let go of; the socket is that one's then.
    pub async fn serve(self, engine: Engine) {
        let (socket_gone, _) = watch::channel(false);
        let mut sessions = JoinSet::new();
        // Another daemon has the socket then; those who are connected may watch the drain.
        let mut is_succeeded = false;
        loop {
            tokio::select! {
                // In this order: a socket that an engine before this one has shut down must not be asked for clients.
                biased;
                () = engine.retiring() => return take_leave(sessions).await,
                () = engine.closing() => break,
                () = engine.succeeded(), if !is_succeeded => is_succeeded = true,
                accepted = self.listener.accept(), if !is_succeeded => match accepted {
                    Ok((stream, _)) => {
                        sessions.spawn(session::serve(stream, engine.clone(), socket_gone.subscribe()));
                    }
                    Err(_) => tokio::time::sleep(BREATH).await,
                },
                Some(_) = sessions.join_next() => {}
                handed = engine.next_handed_client() => {
                    sessions.spawn(session::go_on_with(handed, engine.clone(), socket_gone.subscribe()));
                }
            }
        }
        // Nobody new from here on, also not in the queue of the handle that the keeper holds; those who are connected may
        // watch the end.
        // Asked for once more: the engine after one that has left may never have come to hear of it.
        if !self.is_passed && !engine.is_succeeded() {
            let _ = shutdown(self.listener.as_raw_fd(), Shutdown::Both);
        }
        drop(self.listener);
        engine.shutdown().await;
        if !engine.is_succeeded() {
            self.socket.remove();
        }
        socket_gone.send_replace(true);
        let last_answers = async { while sessions.join_next().await.is_some() {} };
        // A client that reads nothing must not keep the daemon from ending.
        let _ = tokio::time::timeout(LAST_ANSWERS, last_answers).await;
    }
}

/// Lets clients that wait for a short command have their answers.
async fn take_leave(mut sessions: JoinSet<()>) {
    let answers = async { while sessions.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(LAST_COMMANDS, answers).await;
    // Dropping the rest closes their connections.
}
