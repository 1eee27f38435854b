//! A keeper for an engine inside another program, such as Node: the engine starts the keeper, not the other way round.
//!
//! When its socket closes, however that program ended, the keeper stops every process and ends. There is no next engine.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;

use super::keeping::{Attendance, Departure, Keeper, Next};
use super::message::Past;
use crate::host::kin;
use crate::host::platform::{Signals, adopt_orphans, let_go_of_code};

/// The ends of children, and what may reach the keeper along with the program it serves. That program decides what follows,
/// not the keeper.
const CAUGHT: [Signal; 5] = [
    Signal::SIGCHLD,
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
];

/// Starts `program` as the keeper of this process: it must be the binary of this package. The socket leads to it.
pub fn hire_keeper(program: &Path) -> io::Result<(UnixStream, Child)> {
    let (ours, theirs) = UnixStream::pair()?;
    let keeper = Command::new(program)
        .args(["keeper", "--socket", "0"])
        // Its standard input is the socket: nothing else has to be passed on by number.
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Out of reach of a Ctrl-C in the terminal.
        .process_group(0)
        .spawn()?;
    Ok((ours, keeper))
}

/// Keeps processes for the engine at the other end of `socket` until that closes. This thread must be the only one of
/// the process.
pub fn keep_attached(socket: UnixStream) -> io::Result<()> {
    let signals = Signals::catch(&CAUGHT)?;
    adopt_orphans()?;
    Keeper::new().run(&mut Attached {
        signals,
        socket: Some(socket),
    });
    Ok(())
}

struct Attached {
    signals: Signals,
    /// The way to the one engine, until it is taken.
    socket: Option<UnixStream>,
}

impl Attendance for Attached {
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.signals.as_fd())
    }

    fn attend(&mut self, known: &[i32]) {
        while self.signals.take().is_some() {}
        // Whatever was left to the keeper because its own parent had ended; its own children it reaps elsewhere.
        kin::reap_strays(known);
    }

    fn rest(&mut self) {
        let_go_of_code();
    }

    fn engine_is_gone(&mut self, _: Departure, _: &[i32]) -> Next {
        Next::End
    }

    fn start_engine(&mut self) -> io::Result<(UnixStream, Past)> {
        let socket = self.socket.take().ok_or(io::ErrorKind::NotConnected)?;
        Ok((socket, Past::default()))
    }

    fn engine_is_refused(&mut self, _: io::Error) -> Next {
        Next::End
    }
}
