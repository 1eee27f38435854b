//! The daemon as its users meet it: the real binary, real processes, real traffic.
//!
//! What runs is looked up in /proc.
#![cfg(target_os = "linux")]

mod deploying;
mod draining;
mod environment;
mod failing;
mod load;
mod process_matrix;
mod putting_back;
mod release_matrix;
mod reload_refused;
mod reloading;
mod restarting;
mod retaining;
mod rolling_back;
mod services;
mod singletons;
mod stopping;
mod strangers;
mod support;
mod unstartable;
