//! Rollbridge: a process supervisor and local traffic switcher for zero-downtime deploys.
//!
//! The rooms, top to bottom; a room uses only rooms below it. `docs/architecture.md` tells the story.

#[cfg(not(unix))]
compile_error!("Rollbridge runs on Linux and macOS only: it is built on Unix processes, signals and sockets");

pub mod cli;
// napi leaves its entry points out of test builds, where this room would be dead code.
#[cfg(all(feature = "node", not(test)))]
mod node;

pub mod ops;

pub mod control;

pub mod daemon;

pub mod release;

pub mod process;
pub mod proxy;

pub mod keeper;

pub mod host;

pub mod config;

pub mod clock;
pub mod error;
pub mod events;
mod fail_point;
