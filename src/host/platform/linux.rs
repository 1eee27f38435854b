//! Linux: /proc, pidfds, signalfd, and a keeper that adopts orphaned grandchildren.
#![allow(unsafe_code, reason = "these calls of the system have no safe wrapper")]

mod everything;
mod held_socket;
mod listeners;
mod members;
mod replacing;
mod stat;
mod thrift;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nix::libc;
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, socket};
use nix::sys::statvfs::{FsFlags, statvfs};

pub(in crate::host) use everything::everything_running;
pub use held_socket::is_held;
pub use listeners::{listeners, listens};
pub(in crate::host) use members::{birth, command_line, is_same, proves_itself, survey, token};
pub use replacing::{RECEIVE, go_on_as, maker, memory_file, packet_sockets, path_of};
pub use thrift::let_go_of_code;

/// The address of a socket that has a name and no file.
pub fn abstract_address(name: &[u8]) -> Option<std::os::unix::net::SocketAddr> {
    use std::os::linux::net::SocketAddrExt;
    std::os::unix::net::SocketAddr::from_abstract_name(name).ok()
}

/// Signals that are read from a descriptor instead of ending the process. They stay blocked, and so they are in whatever
/// this process starts, unless that takes on [`Signals::mask_before`].
#[derive(Debug)]
pub struct Signals {
    arrived: SignalFd,
    before: SigSet,
}

impl Signals {
    /// From now on. This thread must be the only one of the process.
    pub fn catch(caught: &[Signal]) -> io::Result<Signals> {
        let mut signals = SigSet::empty();
        caught.iter().for_each(|signal| signals.add(*signal));
        let before = SigSet::thread_get_mask()?;
        signals.thread_block()?;
        if caught.contains(&Signal::SIGHUP) {
            // Whoever started it with SIGHUP ignored, as nohup does, meant a terminal that goes away; an ignored signal would
            // never arrive here.
            // SAFETY: the default is no handler, and the signal is blocked.
            unsafe { signal(Signal::SIGHUP, SigHandler::SigDfl) }?;
        }
        let arrived = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Signals { arrived, before })
    }

    /// The next one that has arrived; never waits.
    pub fn take(&mut self) -> Option<Signal> {
        let arrived = self.arrived.read_signal().ok()??;
        Signal::try_from(i32::try_from(arrived.ssi_signo).ok()?).ok()
    }

    /// The signals that were blocked before.
    pub fn mask_before(&self) -> SigSet {
        self.before
    }
}

impl AsFd for Signals {
    /// Readable when one has arrived.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.arrived.as_fd()
    }
}

/// Makes this process the parent of its descendants whose own parents have ended.
pub fn adopt_orphans() -> io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}

/// The name of this process in lists of processes.
pub fn name_process(name: &std::ffi::CStr) {
    // A wrong name does no harm.
    let _ = nix::sys::prctl::set_name(name);
}

/// The program that runs, also where its file was replaced or deleted.
pub fn own_program() -> io::Result<PathBuf> {
    Ok("/proc/self/exe".into())
}

/// The arguments of this process byte for byte, each with a NUL behind it; empty where they are not known.
pub fn command_of_this_process() -> Vec<u8> {
    std::fs::read("/proc/self/cmdline").unwrap_or_default()
}

/// A descriptor that becomes readable when the child `pid` of this process ends, whoever reaps it. From Linux 5.3 on.
pub fn ends_readable(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: a system call without pointers.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let descriptor = i32::try_from(descriptor).unwrap_or(-1);
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the system just gave us this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Marks every descriptor from `first` on as close-on-exec. Returns whether the system could do that in one go; it can
/// from Linux 5.11 on. May be called between fork and exec.
pub fn close_on_exec(first: u32) -> bool {
    // SAFETY: a system call without pointers.
    let marked = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first as libc::c_uint,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    marked == 0
}

/// Whether no program may be started from this folder (its file system is mounted noexec).
pub fn forbids_programs(folder: &Path) -> bool {
    statvfs(folder).is_ok_and(|found| found.flags().contains(FsFlags::ST_NOEXEC))
}

/// A Unix socket that no started program inherits and that never blocks.
pub fn unbound_unix_socket() -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socket(AddressFamily::Unix, SockType::Stream, flags, None)?)
}

/// As many waiting clients as the system lets a listener have.
pub fn backlog() -> Backlog {
    Backlog::MAXALLOWABLE
}

/// Which real-time signal this is, counted from SIGRTMIN.
pub fn real_time(signal: i32) -> Option<i32> {
    Some(signal - libc::SIGRTMIN()).filter(|above| *above >= 0)
}

/// The children of the process `parent`, zombies included: of its first thread, which is the only one of a keeper.
pub(in crate::host) fn children(parent: i32) -> Vec<i32> {
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    let children = children.unwrap_or_default();
    children
        .split_ascii_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

/// The user a process runs as.
pub(in crate::host) fn owner(pid: i32) -> Option<u32> {
    let folder = std::fs::metadata(format!("/proc/{pid}")).ok()?;
    Some(folder.uid())
}

/// The name the kernel gave to this boot.
pub(in crate::host) fn boot_id() -> Option<&'static str> {
    static BOOT_ID: OnceLock<Option<String>> = OnceLock::new();
    let read = || {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    BOOT_ID.get_or_init(read).as_deref()
}
