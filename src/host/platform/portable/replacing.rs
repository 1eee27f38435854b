//! A daemon is not replaced while it runs here: there is no way to start just the program that was tried, and no sockets
//! that keep the bounds of what is sent.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use nix::sys::socket::MsgFlags;

fn not_here() -> io::Error {
    io::Error::other("a running daemon cannot be replaced on this system; shut it down and start the new one")
}

/// There are no files in memory.
pub fn memory_file(_: &CStr) -> io::Result<File> {
    Err(not_here())
}

/// How messages are received: descriptors that come with them are marked afterwards.
pub const RECEIVE: MsgFlags = MsgFlags::empty();

/// There are no such sockets.
pub fn packet_sockets() -> io::Result<(OwnedFd, OwnedFd)> {
    Err(not_here())
}

/// Since there are no such sockets, nobody has made one.
pub fn maker(_: &OwnedFd) -> io::Result<i32> {
    Err(not_here())
}

/// An opened program has no path.
pub fn path_of(_: &OwnedFd) -> io::Result<PathBuf> {
    Err(not_here())
}

/// Another program takes over at the next start.
pub fn go_on_as(_: &OwnedFd, _: &[CString], _: &[CString]) -> io::Result<Infallible> {
    Err(not_here())
}
