//! Real programs that misbehave. Whatever they do, what was started is gone in the end.
//!
//! Most are driven through a supervised process; those whose trouble is their port through the whole daemon.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cage;
mod exits;
mod headless;
mod memory;
mod output;
mod ports;
mod stops;
