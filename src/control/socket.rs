//! The control socket's file: made so that nobody connects too early, replaced only when stale, removed when ours.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::sys::socket::{UnixAddr, bind, listen};
use nix::unistd::{Group, Uid, User};
use thiserror::Error;

use crate::config::{Control, Principal};
use crate::error::plain;
use crate::host::platform::{backlog, unbound_unix_socket};

/// Why there is no control socket.
#[derive(Debug, Error)]
pub enum SocketError {
    /// A daemon listens there already.
    #[error("a daemon already listens on {}{}", .path.display(), .who)]
    Live {
        /// The socket.
        path: PathBuf,
        /// Which one, and what to do.
        who: String,
    },
    /// There is no folder to put it into.
    #[error("the folder of the control socket {} does not exist; create it, or set control.path", .path.display())]
    NoFolder {
        /// The socket.
        path: PathBuf,
    },
    /// Something else than a socket is in the way.
    #[error("{} exists and is not a socket; remove it or set control.path", .path.display())]
    NotASocket {
        /// The file.
        path: PathBuf,
    },
    /// No user or group has this name.
    #[error("control.{field} names {name:?}, but this system has no such {kind}")]
    UnknownPrincipal {
        /// `owner` or `group`.
        field: &'static str,
        /// The name.
        name: String,
        /// `user` or `group`.
        kind: &'static str,
    },
    /// The system said no.
    #[error("cannot {what} the control socket {}: {}", .path.display(), plain(.source))]
    Io {
        /// What was tried.
        what: &'static str,
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A listening control socket. Its file is removed with [`ControlSocket::remove`].
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    /// So that only our own file is ever removed.
    identity: FileIdentity,
}

/// Device, inode and time of creation (an inode number alone is soon given to the next file).
type FileIdentity = (u64, u64, i64, i64);

fn identity(file: &std::fs::Metadata) -> FileIdentity {
    (file.dev(), file.ino(), file.mtime(), file.mtime_nsec())
}

/// Whether somebody accepts connections on the socket at `path`.
pub fn is_live(path: &Path) -> bool {
    UnixStream::connect(path).is_ok()
}

impl ControlSocket {
    /// Binds, sets mode and owner, and only then listens. A stale socket is replaced.
    pub fn bind(control: &Control) -> Result<(ControlSocket, UnixListener), SocketError> {
        let path = &control.path;
        let failed = |what: &'static str| {
            move |source: io::Error| SocketError::Io {
                what,
                path: path.clone(),
                source,
            }
        };
        let owner = control.owner.as_ref().map(resolve_user).transpose()?;
        let group = control.group.as_ref().map(resolve_group).transpose()?;
        if path.parent().is_some_and(|folder| !folder.is_dir()) {
            return Err(SocketError::NoFolder { path: path.clone() });
        }
        clear_stale(path)?;
        let descriptor = unbound_unix_socket().map_err(failed("create"))?;
        let address = UnixAddr::new(path.as_path()).map_err(|errno| failed("name")(errno.into()))?;
        bind(descriptor.as_raw_fd(), &address).map_err(|errno| failed("bind")(errno.into()))?;
        let made = std::fs::symlink_metadata(path).map_err(failed("inspect"))?;
        let socket = ControlSocket {
            path: path.clone(),
            identity: identity(&made),
        };
        let prepared = || -> Result<(), SocketError> {
            if owner.is_some() || group.is_some() {
                lchown(path, owner, group).map_err(failed("change the owner of"))?;
            }
            if let Some(mode) = control.mode {
                let permissions = std::fs::Permissions::from_mode(mode);
                std::fs::set_permissions(path, permissions).map_err(failed("change the mode of"))?;
            }
            listen(&descriptor, backlog()).map_err(|errno| failed("listen on")(errno.into()))
        };
        match prepared() {
            Ok(()) => Ok((socket, UnixListener::from(descriptor))),
            Err(error) => {
                socket.remove();
                Err(error)
            }
        }
    }

    /// The socket that an engine before this one made and listened on. Where its file has gone, so has the way to it, but
    /// not the daemon.
    pub fn of(control: &Control) -> ControlSocket {
        let path = control.path.clone();
        let identity = std::fs::symlink_metadata(&path).map_or((0, 0, 0, 0), |file| identity(&file));
        ControlSocket { path, identity }
    }

    /// One that somebody else has made, whose file is theirs.
    pub fn of_another(control: &Control) -> ControlSocket {
        ControlSocket {
            path: control.path.clone(),
            identity: (0, 0, 0, 0),
        }
    }

    /// Removes the file, if it is still the one that was made here.
    pub fn remove(&self) {
        let ours = std::fs::symlink_metadata(&self.path).is_ok_and(|found| identity(&found) == self.identity);
        if ours {
            // Whoever removed it first did what we wanted.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Makes way: a stale socket is removed, anything else is an error.
fn clear_stale(path: &Path) -> Result<(), SocketError> {
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            return Err(SocketError::Io {
                what: "inspect",
                path: path.to_owned(),
                source,
            });
        }
    };
    if !found.file_type().is_socket() {
        return Err(SocketError::NotASocket {
            path: path.to_owned(),
        });
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(|source| SocketError::Io {
                what: "replace",
                path: path.to_owned(),
                source,
            })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // Whoever holds it is alive, even where we are not let in.
        _ => Err(SocketError::Live {
            path: path.to_owned(),
            who: String::new(),
        }),
    }
}

fn resolve_user(principal: &Principal) -> Result<u32, SocketError> {
    let unknown = |name: &String| SocketError::UnknownPrincipal {
        field: "owner",
        name: name.clone(),
        kind: "user",
    };
    match principal {
        Principal::Id(id) => Ok(*id),
        Principal::Name(name) => User::from_name(name)
            .ok()
            .flatten()
            .map(|user| user.uid.as_raw())
            .ok_or_else(|| unknown(name)),
    }
}

fn resolve_group(principal: &Principal) -> Result<u32, SocketError> {
    let unknown = |name: &String| SocketError::UnknownPrincipal {
        field: "group",
        name: name.clone(),
        kind: "group",
    };
    match principal {
        Principal::Id(id) => Ok(*id),
        Principal::Name(name) => Group::from_name(name)
            .ok()
            .flatten()
            .map(|group| group.gid.as_raw())
            .ok_or_else(|| unknown(name)),
    }
}

/// Says why a client must not speak to the socket at `path`: in a folder that others may write to, it has to belong
/// to the caller, to root, or to the configured owner or group.
pub fn reason_to_distrust(control: &Control) -> Option<String> {
    let path = &control.path;
    let socket = match std::fs::symlink_metadata(path) {
        Ok(socket) => socket,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Some("it has just gone".to_owned()),
        // What cannot be looked at cannot be connected to either.
        Err(_) => return None,
    };
    let folder = std::fs::metadata(path.parent()?).ok()?;
    let me = Uid::effective().as_raw();
    let shared = folder.mode() & 0o022 != 0 || (folder.uid() != me && folder.uid() != 0);
    let by_owner = control.owner.as_ref().and_then(|owner| resolve_user(owner).ok()) == Some(socket.uid());
    let by_group = control.group.as_ref().and_then(|group| resolve_group(group).ok()) == Some(socket.gid());
    let trusted = socket.uid() == me || socket.uid() == 0 || by_owner || by_group;
    match () {
        () if !shared => None,
        () if !socket.file_type().is_socket() => Some("it is not a socket".to_owned()),
        () if trusted => None,
        () => Some(format!(
            "it belongs to user {}, and its folder is open to others; set control.owner or control.group if that is \
             intended",
            socket.uid()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(folder: &tempfile::TempDir) -> Control {
        Control {
            path: folder.path().join("control.sock"),
            mode: Some(0o640),
            owner: None,
            group: None,
        }
    }

    #[test]
    fn binds_with_its_mode_and_removes_only_its_own_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let control = control(&folder);
        let (socket, listener) = ControlSocket::bind(&control).expect("the path is free");
        let mode = std::fs::metadata(&control.path).expect("it is there").mode();
        assert_eq!(mode & 0o777, 0o640);
        assert!(is_live(&control.path));
        assert!(matches!(
            ControlSocket::bind(&control),
            Err(SocketError::Live { .. })
        ));
        drop(listener);
        // A child that another test is just starting has it too, until it has become another program.
        let begun = std::time::Instant::now();
        while is_live(&control.path) {
            assert!(begun.elapsed().as_secs() < 30, "somebody listens for ever");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let (second, _listener) = ControlSocket::bind(&control).expect("a stale socket is replaced");
        socket.remove();
        assert!(control.path.exists(), "the second daemon's socket stays");
        second.remove();
        assert!(!control.path.exists());
    }

    #[test]
    fn a_file_or_a_link_in_the_way_is_left_alone() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let control = control(&folder);
        std::os::unix::fs::symlink("/etc/passwd", &control.path).expect("a link");
        assert!(matches!(
            ControlSocket::bind(&control),
            Err(SocketError::NotASocket { .. })
        ));
        assert!(control.path.is_symlink());
    }

    #[test]
    fn what_is_not_there_is_not_trusted() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let control = control(&folder);
        assert!(
            reason_to_distrust(&control).is_some(),
            "it could be put there now"
        );
        let _socket = ControlSocket::bind(&control).expect("the path is free");
        assert_eq!(reason_to_distrust(&control), None);
    }

    #[test]
    fn an_unknown_owner_is_named_before_anything_is_made() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut control = control(&folder);
        control.group = Some(Principal::Name("no-such-group".to_owned()));
        let error = ControlSocket::bind(&control)
            .expect_err("there is no such group")
            .to_string();
        assert_eq!(
            error,
            "control.group names \"no-such-group\", but this system has no such group"
        );
        assert!(!control.path.exists());
    }
}
