//! A daemon that answers, started if there is none: detached, from a copy of this program outside every release, and only
//! once, however many want it at the same time.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use serde_json::Value;
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio::time::{Instant, sleep};

use super::introduction::{Daemon, Listener, ask, introduce};
use crate::config::Config;
use crate::control::client::{ClientError, Line};
use crate::error::{ErrorCode, plain};
use crate::host::{
    Detached, Exit, LogFile, OwnFileError, RuntimeCopy, RuntimeError, is_held, runtime_folders,
};

/// How often is looked whether something has changed.
const LOOK: Duration = Duration::from_millis(20);

/// How long a daemon that shuts down is waited for: its processes may take long to end in good order.
const LONGEST_SHUTDOWN: Duration = Duration::from_secs(15 * 60);

/// How many lines of the log an error shows, and how many bytes are looked at for them.
const SHOWN_LINES: usize = 20;
const SHOWN_BYTES: u64 = 16 * 1024;

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The config file, absolute; the daemon reads it again before each deploy.
    pub config_file: PathBuf,
    /// The log of a daemon that is started.
    pub log: PathBuf,
    /// Its pid file.
    pub pid: PathBuf,
    /// The folder for the copy of the program; the usual ones without it.
    pub runtime: Option<PathBuf>,
    /// How long it may take until it answers.
    pub start_timeout: Duration,
}

/// A daemon that answers.
#[derive(Debug)]
pub struct Ensured {
    /// What it says of itself.
    pub status: Line,
    /// What the operator should know about it.
    pub warning: Option<String>,
}

/// Why none answers.
#[derive(Debug, Error)]
pub enum EnsureError {
    /// Somebody else listens.
    #[error("{0}; no daemon was started: set another control.path, or end what listens there")]
    Foreign(String),
    /// It left in the middle of the answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A daemon that is to end does not.
    #[error(
        "the daemon that was told to shut down still holds {} after {} s; look at what does not end with ps, and end it",
        .path.display(), LONGEST_SHUTDOWN.as_secs()
    )]
    StillThere {
        /// The control socket.
        path: PathBuf,
    },
    /// There is nothing to start it from.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// Its log cannot be written.
    #[error(transparent)]
    Log(#[from] OwnFileError),
    /// The one place where those meet who start the same daemon.
    #[error("cannot lock {} while the daemon is started: {}", .path.display(), plain(.source))]
    Lock {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The program cannot be run.
    #[error("cannot start {}: {}; set --daemon-runtime-path to a folder that programs may be started from", .program.display(), plain(.source))]
    Spawn {
        /// The copy of the program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It ended too early.
    #[error("the daemon {exit} before it was ready{}", shown(.log, .lines))]
    Died {
        /// How it ended.
        exit: Exit,
        /// Its log.
        log: PathBuf,
        /// The last lines of that.
        lines: Vec<String>,
    },
    /// It took too long, and was ended.
    #[error(
        "the daemon did not answer within {} ms and was ended; raise --daemon-start-timeout-ms if it needs longer{}",
        .timeout.as_millis(), shown(.log, .lines)
    )]
    TooSlow {
        /// How long it had.
        timeout: Duration,
        /// Its log.
        log: PathBuf,
        /// The last lines of that.
        lines: Vec<String>,
    },
    /// Somebody else is starting it, and does not come to an end.
    #[error("somebody else has been starting the daemon for {} ms; wait, and try again", .0.as_millis())]
    Busy(Duration),
}

fn shown(log: &Path, lines: &[String]) -> String {
    match lines {
        [] => format!("; it wrote nothing to {}", log.display()),
        lines => format!("; the end of {}:\n  {}", log.display(), lines.join("\n  ")),
    }
}

impl EnsureError {
    /// The code for programs.
    pub fn code(&self) -> ErrorCode {
        match self {
            EnsureError::Foreign(_) => ErrorCode::ForeignDaemon,
            EnsureError::Client(error) => error.code(),
            EnsureError::Runtime(_) | EnsureError::Log(_) | EnsureError::Lock { .. } => ErrorCode::Internal,
            _ => ErrorCode::NoDaemon,
        }
    }
}

/// Finds or starts a daemon. `tell` hears what is waited for.
pub async fn ensure_daemon(
    config: &Config,
    wanted: &Wanted,
    mut tell: impl FnMut(&str),
) -> Result<Ensured, EnsureError> {
    if let Some(daemon) = find(config).await? {
        return used(daemon).await;
    }
    let copy = RuntimeCopy::make(&runtime_folders(wanted.runtime.as_deref()))?;
    let lock = match lock_or_find(config, wanted, &copy).await? {
        Found::Daemon(daemon) => return used(*daemon).await,
        Found::Turn(lock) => lock,
    };
    wait_for_the_end_of_another(config, &mut tell).await?;
    let started = match find(config).await? {
        Some(daemon) => used(daemon).await,
        None => start(config, wanted, &copy).await,
    };
    drop(lock);
    started
}

/// What came first.
enum Found {
    Daemon(Box<Daemon>),
    Turn(Flock<File>),
}

/// The daemon of this config, if one answers.
async fn find(config: &Config) -> Result<Option<Daemon>, EnsureError> {
    match introduce(&config.control).await {
        Listener::Nobody => Ok(None),
        Listener::Stranger(reason) => Err(EnsureError::Foreign(reason)),
        Listener::Daemon(daemon) if daemon.application != config.application => {
            let path = config.control.path.display();
            Err(EnsureError::Foreign(format!(
                "{} listens on {path}",
                daemon.describe()
            )))
        }
        Listener::Daemon(daemon) => Ok(Some(*daemon)),
    }
}

/// The first who wants it starts it; the others use it as soon as it answers.
async fn lock_or_find(config: &Config, wanted: &Wanted, copy: &RuntimeCopy) -> Result<Found, EnsureError> {
    let path = lock_path(config, copy);
    let failed = |source: io::Error| EnsureError::Lock {
        path: path.clone(),
        source,
    };
    let deadline = Instant::now() + wanted.start_timeout;
    loop {
        let opened = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(&path);
        match Flock::lock(opened.map_err(failed)?, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(Found::Turn(lock)),
            Err((_, Errno::EWOULDBLOCK | Errno::EINTR)) => {}
            Err((_, errno)) => return Err(failed(errno.into())),
        }
        if let Some(daemon) = find(config).await? {
            return Ok(Found::Daemon(Box::new(daemon)));
        }
        // A shutdown that the other waits for takes as long as it takes.
        if Instant::now() >= deadline && !is_held(&config.control.path) {
            return Err(EnsureError::Busy(wanted.start_timeout));
        }
        sleep(LOOK).await;
    }
}

/// Beside the copies, where only this user can put anything; named after the control socket it is about.
fn lock_path(config: &Config, copy: &RuntimeCopy) -> PathBuf {
    const DIGITS: usize = 8;
    let digest = Sha256::digest(config.control.path.as_os_str().as_encoded_bytes());
    let name: String = digest
        .iter()
        .take(DIGITS)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let folder = copy.path.ancestors().nth(2).unwrap_or(Path::new("/"));
    folder.join(format!("{name}.lock"))
}

/// Nobody answers, and still somebody may have the socket: a daemon that is shutting down.
async fn wait_for_the_end_of_another(
    config: &Config,
    tell: &mut impl FnMut(&str),
) -> Result<(), EnsureError> {
    let path = &config.control.path;
    let begun = Instant::now();
    let mut told = false;
    while is_held(path) && matches!(introduce(&config.control).await, Listener::Nobody) {
        if begun.elapsed() >= LONGEST_SHUTDOWN {
            return Err(EnsureError::StillThere { path: path.clone() });
        }
        if !std::mem::replace(&mut told, true) {
            tell("waiting for the daemon that is shutting down");
        }
        sleep(LOOK).await;
    }
    Ok(())
}

async fn start(config: &Config, wanted: &Wanted, copy: &RuntimeCopy) -> Result<Ensured, EnsureError> {
    let log = LogFile::at(&wanted.log);
    let output = log.open()?;
    let begin = output.metadata().map_or(0, |found| found.len());
    let arguments: [(&str, &Path); 3] = [
        ("--config", &wanted.config_file),
        ("--daemon-log-path", &wanted.log),
        ("--daemon-pid-path", &wanted.pid),
    ];
    let mut words: Vec<OsString> = vec!["daemon".into()];
    for (name, value) in arguments {
        words.extend([name.into(), value.into()]);
    }
    let mut daemon = Detached::start(&copy.path, &words, output).map_err(|source| EnsureError::Spawn {
        program: copy.path.clone(),
        source,
    })?;
    let deadline = Instant::now() + wanted.start_timeout;
    loop {
        let end = daemon.end();
        // Also after its end: what was in its way may be a daemon that somebody else has started.
        if let Ok(Some(found)) = find(config).await {
            return used(found).await;
        }
        if let Some(exit) = end {
            return Err(EnsureError::Died {
                exit,
                lines: end_of(log.path(), begin),
                log: wanted.log.clone(),
            });
        }
        if Instant::now() >= deadline {
            daemon.stop();
            return Err(EnsureError::TooSlow {
                timeout: wanted.start_timeout,
                lines: end_of(log.path(), begin),
                log: wanted.log.clone(),
            });
        }
        sleep(LOOK).await;
    }
}

async fn used(mut daemon: Daemon) -> Result<Ensured, EnsureError> {
    let own = env!("CARGO_PKG_VERSION");
    let warning = (daemon.version != own).then(|| {
        format!(
            "the daemon runs version {}, and this is version {own}; rollbridge upgrade replaces it",
            daemon.version
        )
    });
    let status = ask(&mut daemon.client, "status").await?;
    match status.get("status").and_then(Value::as_str) {
        Some("success") => Ok(Ensured { status, warning }),
        _ => Err(EnsureError::Client(ClientError::ConnectionLost)),
    }
}

/// The last lines of a log, of those behind `begin`.
fn end_of(log: &Path, begin: u64) -> Vec<String> {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(begin.max(length.saturating_sub(SHOWN_BYTES))))?;
        let mut bytes = Vec::new();
        file.take(SHOWN_BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let skipped = lines.len().saturating_sub(SHOWN_LINES);
    lines[skipped..].iter().map(|line| (*line).to_owned()).collect()
}
