//! The daemon's own places: its control socket, the folder of it, and the proxy port.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::Path;

use nix::unistd::{AccessFlags, access};

use super::Check;
use crate::config::Config;
use crate::error::plain;
use crate::host::listeners;
use crate::ops::introduction::{Daemon, Listener, introduce};

/// What was found.
pub(super) struct Look {
    pub checks: Vec<Check>,
    /// How many processes of an earlier daemon the running one knows; none if none runs.
    pub orphans: Option<usize>,
}

/// With `deploying`, a running daemon of this application is what is wanted.
pub(super) async fn look(config: &Config, deploying: bool) -> Look {
    let listener = introduce(&config.control).await;
    let daemon = match &listener {
        Listener::Daemon(daemon) => Some(daemon.as_ref()),
        _ => None,
    };
    let fits = daemon.is_some_and(|daemon| {
        deploying
            && daemon.application == config.application
            && daemon.serves_at(&config.proxy.host, config.proxy.port)
    });
    let orphans = daemon.map(|daemon| daemon.orphans);
    let checks = vec![
        Check::new("control socket", socket(config, &listener, deploying, fits)),
        Check::new("control socket directory", folder_of(&config.control.path)),
        Check::new("proxy port", port(config, daemon, fits)),
    ];
    Look { checks, orphans }
}

fn socket(config: &Config, listener: &Listener, deploying: bool, fits: bool) -> Result<String, String> {
    let path = config.control.path.display();
    match listener {
        Listener::Daemon(daemon) if fits => Ok(format!("{} answers on {path}", daemon.describe())),
        Listener::Daemon(daemon) if daemon.application != config.application => Err(format!(
            "{} listens on {path}; set another control.path",
            daemon.describe()
        )),
        Listener::Daemon(daemon) if deploying => {
            let (host, port) = &daemon.proxy;
            Err(format!(
                "{} listens on {path}, but its proxy is on {host}:{port}; end it with rollbridge shutdown, or correct \
                 proxy.host and proxy.port",
                daemon.describe()
            ))
        }
        Listener::Daemon(daemon) => Err(format!(
            "{} already listens on {path}; use it with rollbridge deploy, or end it with rollbridge shutdown",
            daemon.describe()
        )),
        Listener::Stranger(reason) => Err(reason.clone()),
        Listener::Nobody => match std::fs::symlink_metadata(&config.control.path) {
            Ok(_) => Ok(format!(
                "no daemon running; {path} is a leftover and will be replaced"
            )),
            Err(_) => Ok(format!("no daemon running; {path} is free to bind")),
        },
    }
}

/// Whether a file can be made in the folder of `path`.
pub(super) fn folder_of(path: &Path) -> Result<String, String> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    if !folder.is_dir() {
        return Err(format!(
            "{} is not there; create it, or choose another folder",
            folder.display()
        ));
    }
    let wanted = AccessFlags::W_OK | AccessFlags::X_OK;
    match access(folder, wanted) {
        Ok(()) => Ok(format!("{} is writable", folder.display())),
        Err(errno) => Err(format!(
            "{} is not writable for this user: {}; change its mode or owner, or choose another folder",
            folder.display(),
            plain(&errno.into())
        )),
    }
}

fn port(config: &Config, daemon: Option<&Daemon>, fits: bool) -> Result<String, String> {
    let (host, port) = (config.proxy.host.as_str(), config.proxy.port);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if fits {
        return Ok(format!("{host}:{port} is held by the running daemon"));
    }
    let error = match TcpListener::bind((host, port)) {
        Ok(_) if port == 0 => return Ok(format!("any free port on {host} will be taken")),
        Ok(_) => return Ok(format!("{host}:{port} is available")),
        Err(error) => error,
    };
    let is_daemon = daemon.is_some_and(|daemon| daemon.serves_at(&config.proxy.host, port));
    let advice = match error.kind() {
        ErrorKind::AddrInUse if is_daemon => "the running daemon has it".to_owned(),
        ErrorKind::AddrInUse => format!("{}free the port, or set another proxy.port", holders(host, port)),
        ErrorKind::AddrNotAvailable => "set proxy.host to an address of this machine".to_owned(),
        ErrorKind::PermissionDenied => {
            "set a proxy.port of 1024 or above, or let this user bind lower ones".to_owned()
        }
        _ => "correct proxy.host".to_owned(),
    };
    Err(format!(
        "cannot listen on {host}:{port}: {}; {advice}",
        plain(&error)
    ))
}

/// `node (pid 7) has it; `, as far as it can be seen.
fn holders(host: &str, port: u16) -> String {
    let address: Option<SocketAddr> = (host, port)
        .to_socket_addrs()
        .ok()
        .and_then(|mut addresses| addresses.next());
    let holders: Vec<String> = address
        .map(listeners)
        .unwrap_or_default()
        .iter()
        .map(|holder| format!("{} (pid {})", holder.command, holder.pid))
        .collect();
    match holders.is_empty() {
        true => String::new(),
        false => format!("held by {}; ", holders.join(", ")),
    }
}
