//! An upgrade, seen by the engine that makes way: another program proves itself, then this engine retires.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};
use tokio::runtime::{Builder, Runtime};

use super::retiring::Retirement;
use super::{Engine, EngineError};
use crate::error::plain;
use crate::events::Milestone;
use crate::host::platform::packet_sockets;

/// An upgrade as asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpgradeRequest {
    /// The program that is to take over, absolute; the file this daemon was started from without it.
    pub binary: Option<PathBuf>,
}

impl Engine {
    /// Has another program take over. On success this engine is retiring: the `client` is answered by its successor, and
    /// nothing is to be asked of this one any more.
    ///
    /// # Errors
    /// When it does not come to that. All stays as it is then.
    pub async fn upgrade(&self, request: UpgradeRequest, client: OwnedFd) -> Result<(), EngineError> {
        self.refuse_when_closing("upgrade")?;
        let turn = self.inner.turn.take("an upgrade", None);
        let turn = turn.map_err(|running| EngineError::DeployInProgress { running })?;
        let prepared = self.prepare(request).await;
        // It may have begun meanwhile, and waits for the turn.
        self.refuse_when_closing("upgrade")?;
        let runtime = prepared.and_then(|prepared| Ok((prepared, standstill_runtime()?)));
        let ((version, sockets), runtime) = match runtime {
            Ok(prepared) => prepared,
            Err(reason) => {
                self.record(Milestone::UpgradeFailed {
                    reason: reason.clone(),
                });
                return Err(EngineError::Upgrade(reason));
            }
        };
        // From here on there is no way back; a shutdown that begins now goes on in the successor.
        self.record(Milestone::UpgradeStarting {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            to: version,
        });
        let retirement = Retirement {
            client,
            sockets,
            runtime,
            _turn: turn,
        };
        *self.retirement() = Some(retirement);
        self.inner.retiring.cancel();
        Ok(())
    }

    async fn prepare(&self, request: UpgradeRequest) -> Result<(String, (OwnedFd, OwnedFd)), String> {
        // Another engine may find that it has too few descriptors; this one must not when it is too late.
        let sockets = packet_sockets().map_err(|error| format!("no socket for it: {}", plain(&error)))?;
        let path = match request.binary {
            Some(path) if !path.is_absolute() => {
                return Err(format!("binary must be an absolute path, not {}", path.display()));
            }
            Some(path) => path,
            None => own_program()?,
        };
        let program = tokio::task::spawn_blocking(move || open_program(&path));
        let program = program.await.map_err(|failed| failed.to_string())??;
        let version = self.inner.host.prepare_successor(program).await?;
        Ok((version, sockets))
    }
}

/// What runs while everything else of the engine stands still. Made before there is no way back.
fn standstill_runtime() -> Result<Runtime, String> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| format!("no runtime for the rest of this engine: {}", plain(&error)))
}

/// Where this program was started from; what is there by now may be another one.
fn own_program() -> Result<PathBuf, String> {
    let path = std::env::current_exe().map_err(|error| plain(&error))?;
    let text = path.to_string_lossy();
    match text.strip_suffix(" (deleted)") {
        Some(path) => Ok(PathBuf::from(path)),
        None => Ok(path),
    }
}

fn open_program(path: &Path) -> Result<OwnedFd, String> {
    let named = |reason: String| format!("{}: {reason}", path.display());
    let file = File::open(path).map_err(|error| named(plain(&error)))?;
    let metadata = file.metadata().map_err(|error| named(plain(&error)))?;
    if !metadata.is_file() {
        return Err(named("it is no file".to_owned()));
    }
    access(path, AccessFlags::X_OK).map_err(|_| named("it may not be executed (chmod +x)".to_owned()))?;
    Ok(file.into())
}
