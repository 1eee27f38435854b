//! The daemon as its users meet it: the real binary, real processes, real traffic.
//!
//! What runs is looked up in /proc.
#![cfg(target_os = "linux")]

mod deploying;
mod draining;
mod environment;
mod failing;
mod load;
mod putting_back;
mod reload_refused;
mod reloading;
mod rolling_back;
mod stopping;
mod support;
mod unstartable;
