//! Which program takes over a running daemon, and asking for it.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use thiserror::Error;

use crate::control::client::{Client, ClientError, Line};
use crate::error::plain;
use crate::host::{RuntimeCopy, RuntimeError};

/// Why it is not known which program is to take over.
#[derive(Debug, Error)]
pub enum ProgramError {
    /// The daemon does not say what it runs from.
    #[error(transparent)]
    Daemon(#[from] ClientError),
    /// The daemon runs from a copy, and no other one can be made beside it.
    #[error(transparent)]
    Copy(#[from] RuntimeError),
    /// This program does not know where it is.
    #[error("cannot tell which program is to take over: {}; name it with rollbridge upgrade --binary", plain(.0))]
    Unknown(io::Error),
}

/// This program, or a copy of it beside the one that the daemon runs from, if it runs from a copy.
///
/// # Errors
/// When that is not known, or cannot be made.
pub async fn this_program(client: &mut Client) -> Result<PathBuf, ProgramError> {
    let status = client.request(&command("status"), |_| ()).await?;
    match folder_of_copies(&status) {
        Some(folder) => Ok(RuntimeCopy::make(&[folder])?.path),
        None => std::env::current_exe().map_err(ProgramError::Unknown),
    }
}

/// Asks the daemon to be replaced by this program; its answer.
///
/// # Errors
/// When the connection breaks.
pub async fn request(client: &mut Client, binary: &Path) -> Result<Line, ClientError> {
    let mut request = command("upgrade");
    // A path that is no text cannot be sent, and the daemon says that it is not there.
    let binary = binary.to_string_lossy().into_owned();
    request.insert("binary".to_owned(), Value::from(binary));
    client.request(&request, |_| ()).await
}

fn command(name: &str) -> Line {
    Map::from_iter([("command".to_owned(), Value::from(name))])
}

fn folder_of_copies(status: &Line) -> Option<PathBuf> {
    let copy = status.get("daemonRuntime")?.get("path").and_then(Value::as_str)?;
    Path::new(copy).ancestors().nth(2).map(Path::to_owned)
}
