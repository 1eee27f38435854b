//! What it takes to go on as another program, and to pass connections on to it.

use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, getsockopt, socketpair, sockopt};

/// A file that is nowhere but in memory, for as long as somebody has it open.
pub fn memory_file(name: &CStr) -> io::Result<File> {
    Ok(memfd_create(name, MFdFlags::MFD_CLOEXEC)?.into())
}

/// How messages are received: descriptors that come with them are never inherited, whatever is started meanwhile.
pub const RECEIVE: MsgFlags = MsgFlags::MSG_CMSG_CLOEXEC;

/// Two sockets that keep the bounds of what is sent.
pub fn packet_sockets() -> io::Result<(OwnedFd, OwnedFd)> {
    let (family, kind) = (AddressFamily::Unix, SockType::SeqPacket);
    Ok(socketpair(family, kind, None, SockFlag::SOCK_CLOEXEC)?)
}

/// The process that made these sockets, or that had made the other end of this one.
pub fn maker(socket: &OwnedFd) -> io::Result<i32> {
    Ok(getsockopt(socket, sockopt::PeerCredentials)?.pid())
}

/// Where an opened program can be started from, whatever has become of its file.
pub fn path_of(program: &OwnedFd) -> io::Result<std::path::PathBuf> {
    use std::os::fd::AsRawFd;
    Ok(format!("/proc/self/fd/{}", program.as_raw_fd()).into())
}

/// Goes on as another program. What was blocked stays blocked, so that no signal is lost on the way.
pub fn go_on_as(program: &OwnedFd, arguments: &[CString], environment: &[CString]) -> io::Result<Infallible> {
    Ok(nix::unistd::fexecve(program, arguments, environment)?)
}
