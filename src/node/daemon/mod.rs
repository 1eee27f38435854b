//! A daemon inside the Node process: `class Daemon` of the package.
//!
//! It is the same engine as in the binary, on a runtime of its own. Its processes belong to a keeper, which is a child of
//! Node and stops them when Node goes away. JavaScript speaks to it in the control protocol, without a socket file.

mod beginning;

use std::process::Child;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use napi::Env;
use napi::bindgen_prelude::Object;
use napi_derive::napi;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::config::config_of;
use super::guard::promise;
use super::request::{Request, Road};
use crate::control::client::{Client, ClientError};
use crate::control::embedded;
use crate::daemon::{Engine, HandedConfig};

use beginning::{Beginning, begin};

/// How long clients may take to read their last answer once everything is stopped.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// How long a daemon whose JavaScript side is gone may take to stop in good order; the keeper ends what is left.
const LAST_WORK: Duration = Duration::from_secs(30);

/// A daemon of this process.
#[napi]
pub struct NativeDaemon {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
enum State {
    /// Not started, or it could not be.
    #[default]
    Idle,
    Starting,
    Running(Running),
    Over,
}

/// What a running daemon is made of.
struct Running {
    engine: Engine,
    runtime: Runtime,
    keeper: Child,
    config: Arc<HandedConfig>,
    /// Turns true once everything is stopped.
    over: watch::Receiver<bool>,
    sessions: TaskTracker,
}

/// The way to an engine of this process.
pub(super) struct Inside {
    engine: Engine,
    runtime: Handle,
    over: watch::Receiver<bool>,
    sessions: TaskTracker,
}

impl Inside {
    /// A connection that the engine serves from now on.
    pub fn connect(&self) -> Result<Client, ClientError> {
        let (ours, theirs) = embedded::pair().map_err(|_| ClientError::ConnectionLost)?;
        let stream = tokio::net::UnixStream::from_std(ours).map_err(|_| ClientError::ConnectionLost)?;
        let session = embedded::serve(theirs, self.engine.clone(), self.over.clone());
        self.sessions.spawn_on(session, &self.runtime);
        Ok(Client::over(stream))
    }
}

#[napi]
impl NativeDaemon {
    /// A daemon that is not started yet.
    #[napi(constructor)]
    pub fn new() -> NativeDaemon {
        NativeDaemon {
            state: Arc::default(),
        }
    }

    /// Starts it; resolves to the port of the proxy. `binary` becomes the keeper;
    /// `listens` says whether there is to be a control socket too.
    #[napi(catch_unwind)]
    pub fn start<'env>(
        &self,
        env: &'env Env,
        value_json: String,
        file: Option<String>,
        folder: String,
        binary: String,
        listens: bool,
    ) -> napi::Result<Object<'env>> {
        let config = config_of(&value_json, file, folder)?;
        match &mut *locked(&self.state) {
            state @ State::Idle => *state = State::Starting,
            State::Starting | State::Running(_) => return Err(refused("the daemon is started already")),
            State::Over => return Err(refused("the daemon was shut down; make a new one")),
        }
        let state = self.state.clone();
        promise(env, async move {
            let begun = begin(Beginning {
                config,
                binary: binary.into(),
                listens,
            })
            .await;
            let (next, outcome) = match begun {
                Ok((running, port)) => (State::Running(running), Ok(u32::from(port))),
                Err(error) => (State::Idle, Err(refused(&error.to_string()))),
            };
            *locked(&state) = next;
            outcome
        })
    }

    /// Hands over the config as it is now, for the next deploy or rollback.
    #[napi(catch_unwind)]
    pub fn hand_over(&self, value_json: String, file: Option<String>, folder: String) -> napi::Result<()> {
        let config = config_of(&value_json, file, folder)?;
        if let State::Running(running) = &*locked(&self.state) {
            running.config.put(config);
        }
        Ok(())
    }

    /// A request to it that is not sent yet; none while it does not run.
    #[napi(catch_unwind)]
    pub fn request(&self, request_json: String) -> napi::Result<Option<Request>> {
        let state = locked(&self.state);
        let State::Running(running) = &*state else {
            return Ok(None);
        };
        let inside = Inside {
            engine: running.engine.clone(),
            runtime: running.runtime.handle().clone(),
            over: running.over.clone(),
            sessions: running.sessions.clone(),
        };
        Request::over(Road::Inside(inside), &request_json).map(Some)
    }

    /// Resolves when it has ended, and nothing of it is left. Until then it keeps Node alive, as a server does.
    #[napi(catch_unwind)]
    pub fn ended<'env>(&self, env: &'env Env) -> napi::Result<Object<'env>> {
        let state = self.state.clone();
        promise(env, async move {
            let over = match &*locked(&state) {
                State::Running(running) => Some((running.over.clone(), running.sessions.clone())),
                _ => None,
            };
            let Some((mut over, sessions)) = over else {
                return Ok(());
            };
            // The sender ends only with the runtime, and then it is over too.
            let _ = over.wait_for(|over| *over).await;
            sessions.close();
            // A client that reads nothing must not keep the daemon from ending.
            let _ = tokio::time::timeout(LAST_ANSWERS, sessions.wait()).await;
            let ended = std::mem::replace(&mut *locked(&state), State::Over);
            let cleaned = tokio::task::spawn_blocking(move || {
                if let State::Running(running) = ended {
                    running.clean_up();
                }
            });
            // It fails only while the runtime goes down.
            let _ = cleaned.await;
            Ok(())
        })
    }
}

impl Running {
    /// Lets go of the keeper, which ends then, and waits for it. Blocks.
    fn clean_up(mut self) {
        drop(self.engine);
        self.runtime.shutdown_timeout(LAST_ANSWERS);
        // A keeper that somebody else has reaped is gone as well.
        let _ = self.keeper.wait();
    }
}

impl Drop for NativeDaemon {
    /// JavaScript has let go of a daemon that still runs, as when its worker thread is ended. It is stopped in good
    /// order, by a thread that nobody waits for; if the process ends first, the keeper stops what is left.
    fn drop(&mut self) {
        let State::Running(running) = std::mem::replace(&mut *locked(&self.state), State::Over) else {
            return;
        };
        let stop = move || {
            let engine = running.engine.clone();
            let shutdown = async { tokio::time::timeout(LAST_WORK, engine.shutdown()).await };
            let _ = running.runtime.block_on(shutdown);
            drop(engine);
            running.clean_up();
        };
        // Without a thread the parts are dropped, which closes the keeper's socket.
        let _ = std::thread::Builder::new()
            .name("daemon-end".to_owned())
            .spawn(stop);
    }
}

fn refused(why: &str) -> napi::Error {
    napi::Error::from_reason(why)
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
