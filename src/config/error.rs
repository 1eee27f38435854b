//! Why a config cannot be used.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::locate::FILE_NAMES;
use super::report::Report;
use crate::error::{ErrorCode, plain};

/// Why a config cannot be used. `file` is the path as the user gave it.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It was read and breaks rules; the message is the whole report.
    #[error("{}", .0.text())]
    Invalid(Box<Report>),
    /// No file was named, and the folder holds none of the usual names.
    #[error(
        "no config found in {}: looked for {}; name one with --config <path>",
        .folder.display(), FILE_NAMES.join(", ")
    )]
    NotLocated {
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// The file cannot be read.
    #[error("cannot read the config {file}: {}", plain(.source))]
    Read {
        /// The config file.
        file: String,
        /// The cause.
        source: io::Error,
    },
    /// The file is not JSON.
    #[error("cannot read the config {file}: {source}")]
    Json {
        /// The config file.
        file: String,
        /// What is wrong, with line and column.
        source: serde_json::Error,
    },
    /// The file is neither JSON nor a module.
    #[error("cannot read the config {file}: a config is a .js, .mjs, .cjs, .ts, .mts, .cts or .json file")]
    UnknownKind {
        /// The config file.
        file: String,
    },
    /// There is no Node to evaluate a module with.
    #[error(
        "cannot evaluate the config {file}: no node found in PATH; install Node, set ROLLBRIDGE_NODE to the path of its \
         binary, or write the config as rollbridge.json, which needs no Node"
    )]
    NodeMissing {
        /// The config file.
        file: String,
    },
    /// Node could not be started.
    #[error("cannot evaluate the config {file}: starting {} failed: {}", .node.display(), plain(.source))]
    NodeFailed {
        /// The config file.
        file: String,
        /// The Node that was tried.
        node: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The module has a syntax error, threw, or ended Node.
    #[error("cannot evaluate the config {file}: {cause}")]
    Evaluation {
        /// The config file.
        file: String,
        /// The module's own message, and where it comes from.
        cause: String,
    },
    /// The module did not deliver in time.
    #[error("cannot evaluate the config {file}: it took longer than {} s", .limit.as_secs_f64())]
    TimedOut {
        /// The config file.
        file: String,
        /// The time it had.
        limit: Duration,
    },
}

impl ConfigError {
    /// The code for programs.
    pub fn code(&self) -> ErrorCode {
        match self {
            ConfigError::Invalid(_) => ErrorCode::InvalidConfig,
            _ => ErrorCode::ConfigUnreadable,
        }
    }
}
