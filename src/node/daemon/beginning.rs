//! Starting a daemon inside Node: its runtime, its keeper, its engine.

use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Child;
use std::sync::Arc;

use thiserror::Error;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::Running;
use crate::config::Config;
use crate::control::server::Server;
use crate::control::socket::SocketError;
use crate::daemon::{ConfigSource, Engine, HandedConfig, ListenError, Start, listen};
use crate::error::plain;
use crate::events::EventLog;
use crate::host::ProcessIdentity;
use crate::keeper::{KeeperHost, Past, hire_keeper};

/// What a daemon is started with.
pub(super) struct Beginning {
    pub config: Config,
    /// The binary of this package.
    pub binary: PathBuf,
    /// Whether there is a control socket besides.
    pub listens: bool,
}

/// Why it does not run.
#[derive(Debug, Error)]
pub(super) enum BeginError {
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error("cannot start the keeper of the processes with {}: {}; install the package again", .binary.display(), plain(.source))]
    Keeper { binary: PathBuf, source: io::Error },
    #[error("cannot start the threads of the daemon: {}; raise the limit of processes or of open files", plain(.0))]
    Threads(#[source] io::Error),
    #[error(transparent)]
    Socket(#[from] SocketError),
    #[error("the daemon has a fault of its own and could not start; please report it")]
    Fault,
}

/// Starts it, and says which port its proxy listens on.
pub(super) async fn begin(beginning: Beginning) -> Result<(Running, u16), BeginError> {
    let Beginning {
        config,
        binary,
        listens,
    } = beginning;
    // A runtime of its own: what runs in it ends with it, whatever else Node does.
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("rollbridge")
        .enable_all()
        .build()
        .map_err(BeginError::Threads)?;
    let begun = begin_inside(&runtime, config, &binary, listens).await;
    match begun {
        Ok((parts, port)) => Ok((parts.with(runtime), port)),
        Err(error) => {
            runtime.shutdown_background();
            Err(error)
        }
    }
}

struct Parts {
    engine: Engine,
    keeper: Child,
    config: Arc<HandedConfig>,
    over: watch::Receiver<bool>,
}

impl Parts {
    fn with(self, runtime: Runtime) -> Running {
        Running {
            engine: self.engine,
            runtime,
            keeper: self.keeper,
            config: self.config,
            over: self.over,
            sessions: TaskTracker::new(),
        }
    }
}

async fn begin_inside(
    runtime: &Runtime,
    config: Config,
    binary: &std::path::Path,
    listens: bool,
) -> Result<(Parts, u16), BeginError> {
    let listener = listen(&config)?;
    let port = listener.local_addr().map_err(BeginError::Threads)?.port();
    let (socket, mut keeper) = hire_keeper(binary).map_err(|source| BeginError::Keeper {
        binary: binary.to_owned(),
        source,
    })?;
    let handed = Arc::new(HandedConfig::default());
    let source = ConfigSource::Handed(handed.clone());
    let way = (socket, keeper.id().cast_signed());
    let started = runtime.spawn(start(config, source, listener, way, listens));
    match started.await.unwrap_or(Err(BeginError::Fault)) {
        Ok((engine, over)) => {
            let parts = Parts {
                engine,
                keeper,
                config: handed,
                over,
            };
            Ok((parts, port))
        }
        Err(error) => {
            // Its socket is closed by now, so it ends.
            let _ = keeper.kill();
            let _ = keeper.wait();
            Err(error)
        }
    }
}

async fn start(
    config: Config,
    source: ConfigSource,
    listener: TcpListener,
    (socket, keeper): (std::os::unix::net::UnixStream, i32),
    listens: bool,
) -> Result<(Engine, watch::Receiver<bool>), BeginError> {
    let (host, _) = KeeperHost::connect(socket, Some(keeper), |_| Ok(())).map_err(BeginError::Threads)?;
    let host = Arc::new(host);
    host.ready();
    let engine = Engine::start(Start {
        config: Arc::new(config),
        source,
        listener,
        host: host.clone(),
        events: Arc::new(EventLog::new(|_| ())),
        environment: std::env::vars_os().collect(),
        daemon: ProcessIdentity::of(std::process::id().cast_signed()),
        past: Past::default(),
        handovers: Vec::new(),
        bootstrap: None,
        succession: None,
        owner: None,
    })
    .map_err(BeginError::Threads)?;
    let server = match listens.then(|| Server::bind(&engine, None)) {
        None => {
            // What a control socket decides otherwise: this daemon is the one that keeps the state file.
            engine.keep_state();
            None
        }
        Some(Ok(server)) => Some(server),
        Some(Err(error)) => {
            engine.shutdown().await;
            return Err(error.into());
        }
    };
    let (tell, over) = watch::channel(false);
    tokio::spawn(live(engine.clone(), server, host, tell));
    Ok((engine, over))
}

/// Its whole life. Without a keeper there is none.
async fn live(engine: Engine, server: Option<Server>, host: Arc<KeeperHost>, over: watch::Sender<bool>) {
    let until_lost = {
        let engine = engine.clone();
        tokio::spawn(async move {
            host.lost().await;
            engine.shutdown().await;
        })
    };
    match server {
        Some(server) => server.serve(engine).await,
        None => {
            engine.closing().await;
            engine.shutdown().await;
        }
    }
    until_lost.abort();
    over.send_replace(true);
}
