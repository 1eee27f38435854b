//! The sockets that a service manager has made for the daemon, matched with what the config wants. They stay the service
//! manager's: they are never shut down, and their files never removed.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;

use nix::sys::socket::{
    AddressFamily, SockType, SockaddrLike, SockaddrStorage, getsockname, getsockopt, sockopt,
};

use super::failure::Failure;
use crate::config::Config;
use crate::keeper::is_passed;

/// Those that were passed, by what they are.
#[derive(Debug, Default)]
pub(super) struct PassedSockets {
    tcp: Vec<TcpListener>,
    unix: Vec<UnixListener>,
    /// What cannot be used, in words.
    odd: Vec<String>,
}

impl PassedSockets {
    /// Takes them from what the keeper holds.
    pub fn among(listeners: &mut BTreeMap<String, OwnedFd>) -> PassedSockets {
        let mut found = PassedSockets::default();
        let names: Vec<String> = listeners.keys().filter(|name| is_passed(name)).cloned().collect();
        for name in names {
            let Some(socket) = listeners.remove(&name) else {
                continue;
            };
            match kind_of(&socket) {
                Some(AddressFamily::Inet | AddressFamily::Inet6) => found.tcp.push(socket.into()),
                Some(AddressFamily::Unix) => found.unix.push(socket.into()),
                _ => found.odd.push(name),
            }
        }
        found
    }

    /// Whether the control socket is among them.
    pub fn has_control(&self, config: &Config) -> bool {
        self.unix.iter().any(|socket| is_control(socket, config))
    }

    /// The one for the control socket, if there is one.
    pub fn control(&mut self, config: &Config) -> Option<UnixListener> {
        self.unix
            .extract_if(.., |socket| is_control(socket, config))
            .next()
    }

    /// The one for the proxy, if there is one.
    pub fn proxy(&mut self, config: &Config) -> Option<TcpListener> {
        let wanted = wanted_addresses(config);
        let is_it = |socket: &mut TcpListener| {
            let address = socket.local_addr().ok();
            address.is_some_and(|address| wanted.iter().any(|wanted| is_same(*wanted, address)))
        };
        self.tcp.extract_if(.., is_it).next()
    }

    /// Fails if one is of no use: its clients would wait for ever.
    pub fn refuse_the_rest(&self, config: &Config) -> Result<(), Failure> {
        let tcp = self.tcp.iter().map(|socket| match socket.local_addr() {
            Ok(address) => address.to_string(),
            Err(_) => "a socket without address".to_owned(),
        });
        let unix = self
            .unix
            .iter()
            .filter(|socket| !is_control(socket, config))
            .map(|socket| match socket.local_addr() {
                Ok(address) => format!("{address:?}"),
                Err(_) => "a socket without address".to_owned(),
            });
        let all: Vec<String> = tcp.chain(unix).chain(self.odd.iter().cloned()).collect();
        match all.is_empty() {
            true => Ok(()),
            false => Err(Failure::internal(format!(
                "the service manager passes sockets that the config has no use for: {}; let ListenStream= name proxy.host \
                 and proxy.port ({}:{}) and, if it is to, control.path ({})",
                all.join(", "),
                config.proxy.host,
                config.proxy.port,
                config.control.path.display()
            ))),
        }
    }
}

fn is_control(socket: &UnixListener, config: &Config) -> bool {
    let address = socket.local_addr().ok();
    address.is_some_and(|address| address.as_pathname() == Some(&config.control.path))
}

/// The family of a socket that takes connections.
fn kind_of(socket: &OwnedFd) -> Option<AddressFamily> {
    let is_stream = getsockopt(&socket.as_fd(), sockopt::SockType).ok()? == SockType::Stream;
    let takes_clients = getsockopt(&socket.as_fd(), sockopt::AcceptConn).ok()?;
    let address: SockaddrStorage = getsockname(socket.as_raw_fd()).ok()?;
    address.family().filter(|_| is_stream && takes_clients)
}

fn wanted_addresses(config: &Config) -> Vec<SocketAddr> {
    let host = config.proxy.host.trim_start_matches('[').trim_end_matches(']');
    let found = (host, config.proxy.port).to_socket_addrs();
    found.map(Iterator::collect).unwrap_or_default()
}

/// Port 0 means any.
fn is_same(wanted: SocketAddr, found: SocketAddr) -> bool {
    wanted.ip() == found.ip() && (wanted.port() == 0 || wanted.port() == found.port())
}
