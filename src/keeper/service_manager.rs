//! The service manager that has started this daemon, as systemd is one: the sockets it passes, and what it wants to hear.
//! The keeper is the process it knows, so the keeper speaks for the engines.
#![allow(unsafe_code, reason = "the environment is changed while there is one thread")]

use std::env;
use std::io::{self, ErrorKind};
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use super::descriptors::inherited;
use crate::host::platform::abstract_address;

/// The first of the descriptors that are passed.
const FIRST: RawFd = 3;

/// More than this no unit passes.
const MOST_SOCKETS: RawFd = 64;

/// How long the service manager may take to take a message.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the names of passed sockets begin with, as listeners that the keeper holds.
const PASSED: &str = "passed/";

/// Whether the keeper holds a listener of this name because the service manager has passed it.
pub fn is_passed(name: &str) -> bool {
    name.starts_with(PASSED)
}

/// The sockets that were passed to this very process, with their names; to be taken before anything else is opened. The
/// variables that tell of them go, so that no later program takes other descriptors for them.
pub(super) fn take_passed_sockets() -> io::Result<Vec<(String, OwnedFd)>> {
    let told = |name: &str| env::var(name).ok();
    let is_for_us = told("LISTEN_PID").is_some_and(|pid| pid == std::process::id().to_string());
    let count = told("LISTEN_FDS").and_then(|count| count.parse::<RawFd>().ok());
    let names = told("LISTEN_FDNAMES").unwrap_or_default();
    for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
        // SAFETY: this process has one thread so far.
        unsafe { env::remove_var(name) };
    }
    let Some(count) = count.filter(|_| is_for_us) else {
        return Ok(Vec::new());
    };
    if !(0..=MOST_SOCKETS).contains(&count) {
        return Err(io::Error::new(
            ErrorKind::InvalidInput,
            format!("LISTEN_FDS tells of {count} sockets"),
        ));
    }
    let mut names = names.split(':');
    let mut sockets = Vec::new();
    for number in FIRST..FIRST + count {
        let socket = inherited(number)?;
        let name = names.next().unwrap_or_default();
        sockets.push((format!("{PASSED}{number}/{name}"), socket));
    }
    Ok(sockets)
}

/// Where messages go.
#[derive(Debug)]
pub(super) struct ServiceManager {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl ServiceManager {
    /// The one of this process, if it wants to hear anything.
    pub fn of_this_process() -> Option<ServiceManager> {
        let name = env::var_os("NOTIFY_SOCKET")?;
        let name = name.as_encoded_bytes();
        let address = match name {
            [b'@', name @ ..] => abstract_address(name)?,
            [b'/', ..] => {
                use std::os::unix::ffi::OsStrExt;
                SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name)).ok()?
            }
            _ => return None,
        };
        let socket = UnixDatagram::unbound().ok()?;
        socket.set_write_timeout(Some(PATIENCE)).ok()?;
        Some(ServiceManager { socket, address })
    }

    /// Tells it something. A service manager that has gone hears nothing, and nothing follows from that.
    pub fn tell(&self, state: &str) {
        let _ = self.socket.send_to_addr(state.as_bytes(), &self.address);
    }
}
