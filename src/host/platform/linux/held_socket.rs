//! Whether a socket that takes no clients is still somebody's: its daemon is shutting down then, and has not crashed.

use std::path::Path;

/// Whether some process holds a socket that was bound to `path`, listening or not.
pub fn is_held(path: &Path) -> bool {
    // Every name of the list stands at the end of its line.
    let sockets = std::fs::read_to_string("/proc/net/unix").unwrap_or_default();
    path.to_str().is_some_and(|path| {
        let ending = format!(" {path}");
        sockets.lines().any(|line| line.ends_with(&ending))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::time::{Duration, Instant};

    use nix::sys::socket::{Shutdown, shutdown};

    #[test]
    fn one_that_was_shut_down_is_held_until_it_is_closed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).expect("a socket");
        shutdown(listener.as_raw_fd(), Shutdown::Both).expect("it listens");
        assert!(UnixStream::connect(&path).is_err());
        assert!(is_held(&path));
        assert!(!is_held(&folder.path().join("other")));
        drop(listener);
        // A child that another test is just starting has it too, until it has become another program.
        let begun = Instant::now();
        while is_held(&path) {
            assert!(begun.elapsed() < Duration::from_secs(30), "it is held for ever");
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(path.exists());
    }
}
