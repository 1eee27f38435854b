//! The engine's story: start, deploy, stop, shut down, and tell how things stand.
//!
//! It never parses bytes: `control` speaks to clients, `proxy` to traffic, `host` to processes.

mod bootstrap;
mod connections;
mod deploy;
mod drain;
mod elsewhere;
mod error;
mod follow_logs;
mod handover;
mod listening;
mod logs;
mod noting;
mod owner;
mod request;
mod restart;
mod resume_file;
mod resuming;
mod retiring;
mod rollback;
mod sequence;
mod settings;
mod shutdown;
mod source;
mod standing;
pub mod state;
pub mod status;
mod stop;
mod strays;
mod succeeding;
mod turn;
mod upgrade;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::events::{EventLog, Milestone};
use crate::host::{Exit, ProcessHost, ProcessIdentity, RuntimeCopy};
use crate::keeper::{Past, Upgrade};
use crate::proxy::{Accepting, Proxy};
use crate::release::ports::PortBook;
use crate::release::{Release, ReleaseKey};

pub use bootstrap::{Bootstrap, check_attestation, check_normalised, check_revision};
pub use connections::{ConnectionsRequest, ReleaseConnection};
pub use deploy::{Deployed, Outgoing};
pub use error::{DeployFailure, EngineError};
pub use follow_logs::{Followed, FollowedLine, LogFollower};
pub use listening::{ListenError, listen};
pub use logs::{LogsRequest, ProcessLogs, Since};
pub use noting::{note_event, noted_config, noted_events};
pub use owner::{Leaving, OWNER, Passed, RetireRequest, Succession, SuccessionError};
pub use request::{DeployRequest, RollbackRequest, check_id, pin};
pub use restart::RestartRequest;
pub use resume_file::{ResumeFile, ResumeFileError};
pub use resuming::{ResumeError, rehearse};
pub use retiring::Retired;
pub use source::{ConfigSource, HandedConfig};
pub use status::Status;
pub use succeeding::HandedClient;
pub use upgrade::UpgradeRequest;

use elsewhere::Elsewhere;
use owner::Onward;
use retiring::Retirement;
use standing::Standing;
use state::{Keeping, Record};
use succeeding::HandedClients;
use turn::{Held, Turn};

/// What the engine is started with.
pub struct Start {
    /// The checked config.
    pub config: Arc<Config>,
    /// The proxy's listener, bound already.
    pub listener: TcpListener,
    /// Where the config is read again.
    pub source: ConfigSource,
    /// Starts the processes.
    pub host: Arc<dyn ProcessHost>,
    /// Where milestones go.
    pub events: Arc<EventLog>,
    /// The environment processes inherit.
    pub environment: BTreeMap<OsString, OsString>,
    /// The process by which the daemon is known from outside.
    pub daemon: Option<ProcessIdentity>,
    /// What became of the engines before this one.
    pub past: Past,
    /// Sockets through which engines before this one hand over their connections, by the names they are held by.
    pub handovers: Vec<(String, OwnedFd)>,
    /// The release that this daemon was told to begin with.
    pub bootstrap: Option<Bootstrap>,
    /// The daemon whose place this one is to take. Until then it accepts no clients.
    pub succession: Option<Arc<Succession>>,
    /// The way to the daemon whose place an engine before this one took, as long as that gives clients over.
    pub owner: Option<OwnedFd>,
}

/// The running engine; clones are handles on the same one.
#[derive(Clone, Debug)]
pub struct Engine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: Mutex<Arc<Config>>,
    source: ConfigSource,
    host: Arc<dyn ProcessHost>,
    events: Arc<EventLog>,
    environment: Arc<BTreeMap<OsString, OsString>>,
    proxy: Proxy,
    turn: Turn,
    book: Mutex<Book>,
    /// Set once the state file is kept.
    state: OnceLock<Keeping>,
    /// What an earlier daemon left over, as far as the state file told.
    orphans: Mutex<Vec<Record>>,
    daemon: Option<ProcessIdentity>,
    past: Past,
    /// Cancelled when this engine makes way for another program.
    retiring: CancellationToken,
    /// How it does, from then on.
    retirement: Mutex<Option<Retirement>>,
    /// Engines that have retired and still serve something.
    elsewhere: Elsewhere,
    /// Clients of engines before this one that wait for an answer.
    handed_clients: HandedClients,
    bootstrap: Option<Bootstrap>,
    /// The daemon whose place this one takes.
    succession: Option<Arc<Succession>>,
    /// Another handle on the proxy's listener, and on that of the control socket if it is this daemon's.
    proxy_listener: OwnedFd,
    control_listener: OnceLock<OwnedFd>,
    /// Cancelled when this daemon has left its place to another.
    left: CancellationToken,
    /// Cancelled when that one has the sockets: where nobody takes the place they stay here until the end.
    succeeded: CancellationToken,
    /// Where clients go from then on that come over from elsewhere.
    onward: OnceLock<Onward>,
    /// The copy of the program that this process runs from.
    runtime: Option<RuntimeCopy>,
    /// Cancelled when the shutdown begins.
    closing: CancellationToken,
    /// True once nothing runs any more.
    closed: watch::Sender<bool>,
}

/// What the engine keeps account of. Locked for moments only, never across an await.
#[derive(Debug, Default)]
struct Book {
    releases: Vec<Arc<Release>>,
    active: Option<ReleaseKey>,
    /// Every release that became active, in that order; kept as long as the release is.
    activations: Vec<ReleaseKey>,
    services: Vec<Standing>,
    singletons: Vec<Standing>,
    ports: PortBook,
    /// The highest instance number each id has had.
    instances: BTreeMap<String, u64>,
    /// Ports of services and singletons, by id, for the daemon's life.
    kept_ports: BTreeMap<String, u16>,
}

impl Book {
    fn active(&self) -> Option<Arc<Release>> {
        self.release(self.active.as_ref()?)
    }

    fn release(&self, key: &ReleaseKey) -> Option<Arc<Release>> {
        self.releases.iter().find(|release| release.key() == key).cloned()
    }

    /// The release whose connections are counted on this route.
    fn of_route(&self, route: u64) -> Option<&Arc<Release>> {
        let is_it = |release: &&Arc<Release>| release.route().connections().id() == route;
        self.releases.iter().find(is_it)
    }

    /// What an id in a command means: its newest live instance, else its newest retained one.
    fn find(&self, id: &str) -> Option<Arc<Release>> {
        let instances = || self.releases.iter().filter(|release| release.key().id == id);
        let newest_live = instances().rfind(|release| !release.phase().is_over());
        newest_live.or_else(|| instances().next_back()).cloned()
    }

    /// The number of the next instance of an id: higher than any before, also of those that are forgotten by now.
    fn next_instance(&mut self, id: &str) -> u64 {
        const MOST_IDS: usize = 10_000;
        if self.instances.len() >= MOST_IDS {
            let releases = &self.releases;
            self.instances
                .retain(|id, _| releases.iter().any(|release| release.key().id == *id));
        }
        let newest = self.instances.entry(id.to_owned()).or_insert(0);
        *newest += 1;
        *newest
    }

    fn not_found(&self, id: &str) -> EngineError {
        let mut known: Vec<String> = self
            .releases
            .iter()
            .map(|release| release.key().id.clone())
            .collect();
        known.sort_unstable();
        known.dedup();
        EngineError::ReleaseNotFound {
            id: id.to_owned(),
            known,
        }
    }
}

impl Engine {
    /// Starts serving on the listener. No release is active yet, so requests are answered with 503.
    pub fn start(start: Start) -> std::io::Result<Engine> {
        let accepts = start.succession.is_none();
        Engine::with(start, Book::default(), accepts)
    }

    /// Starts serving by what is on the books.
    fn with(start: Start, book: Book, accepts: bool) -> std::io::Result<Engine> {
        let Start {
            config,
            source,
            listener,
            host,
            events,
            environment,
            daemon,
            past,
            handovers,
            bootstrap,
            succession,
            owner,
        } = start;
        let route = book.active().map(|release| release.route().clone());
        let proxy_listener = listener.as_fd().try_clone_to_owned()?;
        let proxy = match accepts {
            true => Proxy::start(listener, settings::of(&config), route)?,
            false => Proxy::start_without_clients(listener, settings::of(&config), route)?,
        };
        let address = proxy.local_address();
        events.record(match &past.upgrade {
            None if past.ends == 0 => Milestone::ProxyListening {
                host: address.ip().to_string(),
                port: address.port(),
            },
            Some(Upgrade::Succeeded) => Milestone::DaemonUpgraded {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                engine_pid: std::process::id(),
            },
            Some(Upgrade::Failed(reason)) => Milestone::UpgradeFailed {
                reason: reason.clone(),
            },
            None => Milestone::EngineRestarted {
                pid: std::process::id(),
                restarts: past.ends,
                exit_code: past.last.and_then(Exit::code),
                exit_signal: past.last.and_then(Exit::signal_name),
                absent_ms: past.absent_ms,
                short_lived: past.short_lived,
            },
        });
        let log = events.clone();
        proxy.watch_accepting(move |news| {
            log.record(match news {
                Accepting::Paused(reason) => Milestone::ProxyAcceptingPaused { reason },
                Accepting::Resumed => Milestone::ProxyAcceptingResumed {},
            });
        });
        let left = CancellationToken::new();
        if !accepts && succession.is_none() {
            left.cancel();
        }
        let inner = Inner {
            config: Mutex::new(config),
            source,
            host,
            events,
            environment: Arc::new(environment),
            proxy,
            turn: Turn::default(),
            book: Mutex::new(book),
            state: OnceLock::new(),
            orphans: Mutex::default(),
            daemon,
            past,
            retiring: CancellationToken::new(),
            retirement: Mutex::default(),
            elsewhere: Elsewhere::default(),
            handed_clients: HandedClients::default(),
            bootstrap,
            succession,
            proxy_listener,
            control_listener: OnceLock::new(),
            left,
            succeeded: CancellationToken::new(),
            onward: OnceLock::new(),
            runtime: RuntimeCopy::of_this_program(),
            closing: CancellationToken::new(),
            closed: watch::channel(false).0,
        };
        let engine = Engine {
            inner: Arc::new(inner),
        };
        engine.note_book(&engine.book());
        engine.watch_strays();
        engine.succeed(handovers);
        engine.go_on_with_owner(owner);
        Ok(engine)
    }

    /// The config in force.
    pub fn config(&self) -> Arc<Config> {
        self.inner
            .config
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Puts a config into force that a deploy has switched with.
    fn adopt(&self, config: &Arc<Config>) {
        *self.inner.config.lock().unwrap_or_else(PoisonError::into_inner) = config.clone();
        self.inner.proxy.configure(settings::of(config));
    }

    /// Waits for the turn; but not while this engine makes way for another one, whom the client should ask.
    async fn wait_for_turn(&self, description: &str, release_id: Option<&str>) -> Result<Held, EngineError> {
        tokio::select! {
            biased;
            () = self.retiring() => Err(EngineError::Upgrading),
            held = self.inner.turn.wait(description, release_id) => Ok(held),
        }
    }

    /// Waits until this engine makes way for another program.
    pub async fn retiring(&self) {
        self.inner.retiring.cancelled().await;
    }

    /// Whether this engine makes way for another program.
    pub fn is_retiring(&self) -> bool {
        self.inner.retiring.is_cancelled()
    }

    fn refuse_when_closing(&self, what: &'static str) -> Result<(), EngineError> {
        match self.inner.closing.is_cancelled() || self.has_left() {
            true => Err(EngineError::ShuttingDown(what)),
            false => Ok(()),
        }
    }

    /// Has the control socket's listener known, so that it can be passed to another daemon.
    pub fn control_listens(&self, listener: OwnedFd) {
        // It is set once, by the one server there is.
        let _ = self.inner.control_listener.set(listener);
    }

    /// Where the milestones go.
    pub fn events(&self) -> &Arc<EventLog> {
        &self.inner.events
    }

    /// What the daemon does at the moment, in a sentence.
    pub fn sentence(&self) -> String {
        let address = self.inner.proxy.local_address();
        if self.is_closing() {
            return "shutting down".to_owned();
        }
        if self.is_succeeded() {
            return "another daemon has taken its place; draining".to_owned();
        }
        if self.has_left() {
            return "told to leave, and nobody takes its place; draining".to_owned();
        }
        let serving = match &self.book().active {
            Some(active) => format!("release {} is active on {address}", active.id),
            None => format!("no release is active on {address}"),
        };
        match self.inner.turn.holder() {
            Some(operation) => format!("{serving}; {} is running", operation.description),
            None => serving,
        }
    }

    /// Whether a shutdown has begun.
    pub fn is_closing(&self) -> bool {
        self.inner.closing.is_cancelled()
    }

    /// Waits until a shutdown begins.
    pub async fn closing(&self) {
        self.inner.closing.cancelled().await;
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.inner.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recorded(&self) -> MutexGuard<'_, Vec<Record>> {
        self.inner.orphans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recorded_orphans(&self) -> Vec<Record> {
        self.recorded().clone()
    }

    fn record(&self, milestone: Milestone) {
        self.inner.events.record(milestone);
    }
}
