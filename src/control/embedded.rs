//! A connection to an engine in this very process: the protocol without a socket file.

use std::io;

use tokio::net::UnixStream;
use tokio::sync::watch;

use super::session;
use crate::daemon::Engine;

/// A pair of connected streams. Whoever is inside the engine's runtime serves the second with [`serve`].
pub fn pair() -> io::Result<(std::os::unix::net::UnixStream, std::os::unix::net::UnixStream)> {
    let (client, served) = std::os::unix::net::UnixStream::pair()?;
    client.set_nonblocking(true)?;
    served.set_nonblocking(true)?;
    Ok((client, served))
}

/// Serves a client until it leaves or `is_over` turns true. Must be called inside the engine's runtime.
pub async fn serve(stream: std::os::unix::net::UnixStream, engine: Engine, is_over: watch::Receiver<bool>) {
    // A stream that cannot be watched is dropped, and its client sees the end of it.
    if let Ok(stream) = UnixStream::from_std(stream) {
        session::serve(stream, engine, is_over).await;
    }
}
