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
mod putting_back;
mod queueing;
mod reload_refused;
mod reloading;
mod rolling_back;
mod shutdown;
mod starting;
mod stopping;
mod support;
mod unstartable;
