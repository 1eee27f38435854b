//! Taking the proxy's address.

use std::io::ErrorKind;
use std::net::TcpListener;

use thiserror::Error;

use crate::config::Config;
use crate::error::plain;

/// Why the proxy cannot listen.
#[derive(Debug, Error)]
#[error("cannot listen on {host}:{port} (proxy.host, proxy.port): {}; {advice}", plain(.source))]
pub struct ListenError {
    host: String,
    port: u16,
    advice: &'static str,
    source: std::io::Error,
}

/// Listens where the config says.
pub fn listen(config: &Config) -> Result<TcpListener, ListenError> {
    let (host, port) = (config.proxy.host.as_str(), config.proxy.port);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    TcpListener::bind((host, port)).map_err(|source| ListenError {
        host: host.to_owned(),
        port,
        // Only the system's own refusals carry a number; a name without an address does not.
        advice: match source.raw_os_error() {
            None => "correct proxy.host; this machine finds no address for it",
            _ if source.kind() == ErrorKind::AddrNotAvailable => {
                "set proxy.host to an address of this machine"
            }
            _ => "free the port, or set another proxy.port",
        },
        source,
    })
}
