//! The first thing a daemon does that was told which release to begin with: it brings that up before anybody can reach it.

use super::failure::Failure;
use crate::control::wire;
use crate::daemon::{Bootstrap, Engine, ResumeFile};

/// What to do, instead of what the failure of a deploy advises.
const NEXT_STEP: &str = "put it right, and start the daemon again";

/// Brings the release up, which `file` has named unless the command line did. When it does not come up, everything that was started is stopped before this returns.
pub(super) async fn boot(
    engine: &Engine,
    release: &Bootstrap,
    file: Option<&ResumeFile>,
) -> Result<Booted, Failure> {
    let error = match engine.boot(release).await {
        Ok(_) => return Ok(Booted::Serves),
        Err(error) => error,
    };
    let was_to_end = engine.is_closing();
    engine.shutdown().await;
    match was_to_end {
        // Whoever ends a daemon that is still starting gets what was asked for.
        true => Ok(Booted::WasEnded),
        false => {
            let otherwise = match file {
                Some(file) => format!(", or remove {} to start without a release", file.path().display()),
                None => String::new(),
            };
            let failure = Failure::from_daemon(&wire::engine_error(&error));
            Err(failure.with_next_step(&format!("{NEXT_STEP}{otherwise}")))
        }
    }
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Booted {
    /// The release is active.
    Serves,
    /// Somebody ended the daemon meanwhile.
    WasEnded,
}
