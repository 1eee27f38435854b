//! What differs between systems, and nothing else: there is one half for Linux, and one that needs no more than what every
//! Unix has. macOS gets the second one. So does Linux with the Cargo feature `portable`, which is how tests run it.
//!
//! What the second half cannot do is said in `docs/architecture.md`, under macOS.

#[cfg(all(target_os = "linux", not(feature = "portable")))]
mod linux;
#[cfg(all(target_os = "linux", not(feature = "portable")))]
use linux as system;

#[cfg(not(all(target_os = "linux", not(feature = "portable"))))]
mod portable;
#[cfg(not(all(target_os = "linux", not(feature = "portable"))))]
use portable as system;

// Both halves have all of these, or the program does not compile.
pub use system::{
    RECEIVE, Signals, abstract_address, adopt_orphans, backlog, close_on_exec, command_of_this_process,
    ends_readable, forbids_programs, go_on_as, is_held, let_go_of_code, listeners, listens, maker,
    memory_file, name_process, own_program, packet_sockets, path_of, real_time, unbound_unix_socket,
};
pub(super) use system::{
    birth, boot_id, children, command_line, everything_running, is_same, owner, proves_itself, survey, token,
};

/// A process that listens on a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its process id.
    pub pid: i32,
    /// Its command name, without arguments.
    pub command: String,
}

/// A live process of anybody's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Running {
    pub pid: i32,
    pub parent: i32,
    /// Its arguments with spaces between them, as `ps` shows them.
    pub command: String,
}
