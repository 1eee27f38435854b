//! From a config file to a JSON value: `.json` is read here, everything else is evaluated by a short-lived Node.
//!
//! The child gets one end of a socket pair as its stdin, which reads as empty, and sends its answer back through it. So its
//! stdout is free for whatever the module prints, and no descriptor beyond the standard three is needed.

use std::ffi::OsString;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use super::check::Problem;
use super::error::ConfigError;
use super::locate::ConfigFile;

/// The program of the child: the loader, which the Node API uses as well, and the part that sends the answer.
const PROGRAM: &str = concat!(
    include_str!("../../config-loader.mjs"),
    include_str!("evaluate_child.mjs")
);

/// How long a config module may take.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// The largest answer; a config is a few kilobytes.
const MAX_ANSWER_BYTES: u64 = 16 << 20;

/// What a config file says, before any check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluated {
    /// The config as JSON, `null` where a problem is.
    pub value: Value,
    /// What JSON could not hold.
    pub problems: Vec<Problem>,
}

/// Which Node evaluates modules, and for how long.
#[derive(Clone, Debug)]
pub struct Evaluator {
    /// The Node to prefer if it still exists: `ROLLBRIDGE_NODE`.
    pub preferred_node: Option<OsString>,
    /// Where to look for `node` otherwise: `PATH`.
    pub search_path: Option<OsString>,
    /// How long a module may take.
    pub time_limit: Duration,
}

/// The child's one line.
#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Failed {
        error: String,
    },
    Done {
        value: Value,
        problems: Vec<FoundProblem>,
    },
}

#[derive(Deserialize)]
struct FoundProblem {
    path: Vec<Value>,
    kind: String,
}

impl Evaluator {
    /// As the environment of this process says.
    pub fn from_environment() -> Evaluator {
        Evaluator {
            preferred_node: std::env::var_os("ROLLBRIDGE_NODE"),
            search_path: std::env::var_os("PATH"),
            time_limit: TIME_LIMIT,
        }
    }

    /// Reads or evaluates the config file. Needs a tokio runtime with I/O and time enabled.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is not JSON, or the module failed; never [`ConfigError::Invalid`].
    pub async fn evaluate(&self, file: &ConfigFile) -> Result<Evaluated, ConfigError> {
        let shown = || file.shown.clone();
        if let Content::Json(value) = read(file)? {
            return Ok(Evaluated {
                value,
                problems: Vec::new(),
            });
        }
        let node = self
            .find_node()
            .ok_or_else(|| ConfigError::NodeMissing { file: shown() })?;
        let failed = |source| ConfigError::NodeFailed {
            file: shown(),
            node: node.clone(),
            source,
        };
        let (mut child, answer) = start(&node, file).map_err(failed)?;
        // Declared after the child, so dropped before it: the group is ended while its leader still holds the number.
        let group = Group::of(&child);
        let line = tokio::time::timeout(self.time_limit, read_line(answer)).await;
        drop(group);
        let status = child.wait().await.map_err(failed)?;

        let Ok(line) = line else {
            return Err(ConfigError::TimedOut {
                file: shown(),
                limit: self.time_limit,
            });
        };
        let broken = |cause: String| ConfigError::Evaluation { file: shown(), cause };
        let line = line.map_err(|error| broken(format!("its answer could not be read: {error}")))?;
        if line.is_empty() {
            return Err(broken(format!(
                "{} ended without an answer ({status})",
                node.display()
            )));
        }
        match serde_json::from_slice(&line)
            .map_err(|error| broken(format!("its answer is malformed: {error}")))?
        {
            Answer::Failed { error } => Err(broken(error)),
            Answer::Done { value, problems } => {
                let found = |problem: &FoundProblem| Problem::at(&problem.path, &problem.kind, &value);
                Ok(Evaluated {
                    problems: problems.iter().map(found).collect(),
                    value,
                })
            }
        }
    }

    /// The Node that would evaluate a module.
    pub fn find_node(&self) -> Option<PathBuf> {
        // Made absolute, because the child starts in another folder.
        let preferred = self
            .preferred_node
            .as_deref()
            .and_then(|node| std::path::absolute(node).ok());
        preferred.filter(|node| is_executable(node)).or_else(|| {
            let folders = std::env::split_paths(self.search_path.as_deref()?);
            let mut candidates = folders
                .filter(|folder| folder.is_absolute())
                .map(|folder| folder.join("node"));
            candidates.find(|node| is_executable(node))
        })
    }
}

/// Ends a whole process group when dropped, also when the wait for the answer is given up.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Group {
        Group(
            child
                .id()
                .and_then(|id| i32::try_from(id).ok())
                .map(Pid::from_raw),
        )
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // The only failure is a group that has ended by itself.
            killpg(group, Signal::SIGKILL).ok();
        }
    }
}

fn start(node: &Path, file: &ConfigFile) -> io::Result<(Child, UnixStream)> {
    let (ours, childs) = BlockingStream::pair()?;
    ours.shutdown(Shutdown::Write)?;
    ours.set_nonblocking(true)?;
    let child = Command::new(node)
        .args(["--input-type=module", "--eval", PROGRAM, "--"])
        .arg(&file.path)
        .current_dir(file.folder())
        .stdin(OwnedFd::from(childs))
        .stdout(Stdio::from(io::stderr().as_fd().try_clone_to_owned()?))
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    Ok((child, UnixStream::from_std(ours)?))
}

async fn read_line(answer: UnixStream) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    BufReader::new(answer)
        .take(MAX_ANSWER_BYTES)
        .read_until(b'\n', &mut line)
        .await?;
    Ok(line)
}

/// What a config file is, before anything of it was run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// JSON: its value.
    Json(Value),
    /// A module, to be evaluated by Node.
    Module,
}

/// Reads a config file as far as that needs no Node.
///
/// # Errors
///
/// The file cannot be read, is not JSON though it is named so, or is neither JSON nor a module.
pub fn read(file: &ConfigFile) -> Result<Content, ConfigError> {
    let shown = || file.shown.clone();
    let text = std::fs::read_to_string(&file.path).map_err(|source| ConfigError::Read {
        file: shown(),
        source,
    })?;
    if file.path.extension().is_some_and(|extension| extension == "json") {
        let value = serde_json::from_str(text.trim_start_matches('\u{feff}'));
        return value.map(Content::Json).map_err(|source| ConfigError::Json {
            file: shown(),
            source,
        });
    }
    match is_module(&file.path) {
        true => Ok(Content::Module),
        false => Err(ConfigError::UnknownKind { file: shown() }),
    }
}

/// Whether Node would take the file for a module.
fn is_module(path: &Path) -> bool {
    const ENDINGS: [&str; 6] = ["js", "mjs", "cjs", "ts", "mts", "cts"];
    let ending = path.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| ENDINGS.contains(&ending))
}

fn is_executable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}
