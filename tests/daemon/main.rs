//! The daemon as its users meet it: the real binary, real processes, real traffic.
//!
//! What runs is looked up in /proc.
#![cfg(target_os = "linux")]

mod crashing;
mod deploying;
mod draining;
mod environment;
mod failing;
mod load;
mod payload;
mod protocol;
mod queueing;
mod shutdown;
mod starting;
mod stopping;
mod support;
mod unstartable;
