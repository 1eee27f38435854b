//! Every other Unix: processes are known from `ps`, signals come through a pipe, and what has no equal is left out.

mod processes;
mod replacing;
mod signals;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, socket};

use super::Listener;

pub(in crate::host) use processes::{
    birth, command_line, everything_running, is_same, owner, proves_itself, survey,
};
pub use replacing::{RECEIVE, go_on_as, maker, memory_file, packet_sockets, path_of};
pub use signals::Signals;

/// There are no such sockets here.
pub fn abstract_address(_: &[u8]) -> Option<std::os::unix::net::SocketAddr> {
    None
}

/// Nobody but the system adopts orphans here, so a grandchild that leaves session and group is lost from sight.
pub fn adopt_orphans() -> io::Result<()> {
    Ok(())
}

/// A process keeps the name of its program here.
pub fn name_process(_: &std::ffi::CStr) {}

/// What the system keeps in memory of the program is its own affair.
pub fn let_go_of_code() {}

/// The path of the program that runs. Whatever is there when it is started again is what runs then.
pub fn own_program() -> io::Result<PathBuf> {
    std::env::current_exe()
}

/// The arguments as the system has them are not to be had.
pub fn command_of_this_process() -> Vec<u8> {
    Vec::new()
}

/// Nothing becomes readable when a child ends; it must be looked for.
pub fn ends_readable(_: i32) -> io::Result<OwnedFd> {
    Err(io::ErrorKind::Unsupported.into())
}

/// There is no one call for all descriptors.
pub fn close_on_exec(_: u32) -> bool {
    false
}

/// A Unix socket that no started program inherits and that never blocks, a moment after it was made.
pub fn unbound_unix_socket() -> io::Result<OwnedFd> {
    let made = socket(AddressFamily::Unix, SockType::Stream, SockFlag::empty(), None)?;
    never_inherited(&made)?;
    Ok(made)
}

/// As many waiting clients as the headers say that a listener may have.
pub fn backlog() -> Backlog {
    Backlog::MAXCONN
}

/// Whether a socket that takes no clients is still somebody's cannot be seen.
pub fn is_held(_: &Path) -> bool {
    false
}

/// It is found out when the program is started.
pub fn forbids_programs(_: &Path) -> bool {
    false
}

/// There are no real-time signals to rely on.
pub fn real_time(_: i32) -> Option<i32> {
    None
}

/// Who listens where is not told.
pub fn listens(_: &[i32], _: SocketAddr) -> bool {
    false
}

/// Who listens where is not told.
pub fn listeners(_: SocketAddr) -> Vec<Listener> {
    Vec::new()
}

/// Since orphans are not adopted, no process has children that it has not started itself.
pub(in crate::host) fn children(_: i32) -> Vec<i32> {
    Vec::new()
}

/// What a process carries in its environment is not told.
pub(in crate::host) fn token(_: i32) -> Option<String> {
    None
}

/// A process is named by pid and by the time of day of its start, which no two boots share: all boots are one.
pub(in crate::host) fn boot_id() -> Option<&'static str> {
    Some("any")
}

/// Marks a descriptor as close-on-exec and non-blocking.
fn never_inherited(descriptor: &impl AsFd) -> io::Result<()> {
    fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    let flags = OFlag::from_bits_retain(fcntl(descriptor, FcntlArg::F_GETFL)?);
    fcntl(descriptor, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}
