//! The command line as people and scripts meet it: the real binary, with a daemon, pipes and terminals of its own.
//!
//! What runs is looked up in /proc.
#![cfg(target_os = "linux")]

#[path = "../daemon/support/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "the stage is shared with the tests of the daemon, which use all of it"
)]
mod stage;

mod beginning;
mod cleanup;
mod connections;
mod deploying;
mod doctor;
mod ensuring;
mod exit_codes;
mod following;
mod ps;
mod running;
mod state_file;
mod terminal;
