//! The stage of a test: a daemon in a folder of its own, its clients, and a look at what runs.

#[allow(dead_code, reason = "for the tests of upgrades")]
mod before;
mod client;
mod copying;
mod daemon;
#[allow(dead_code, reason = "for the tests of the command line")]
mod detached;
mod living;
mod operations;
mod patience;
mod ports;
mod process;
mod requirement;
mod setup;
mod story;
mod traffic;
mod wire;

#[allow(unused_imports, reason = "for the tests of upgrades")]
pub use before::{VERSION_BEFORE, program_before};
pub use client::Client;
pub use copying::copy_program;
pub use daemon::Daemon;
#[allow(unused_imports, reason = "for the tests of the command line")]
pub use detached::Detached;
pub use living::{is_alive, send};
pub use operations::{has_said, pid};
pub use patience::{PATIENCE, wait_for, wait_until};
pub use process::Process;
pub use requirement::can_mount;
#[allow(unused_imports, reason = "for the tests of the command line")]
pub use setup::{Setup, rollbridge};
pub use story::{position, told};
pub use traffic::Traffic;
pub use wire::{Reply, Wire};
