//! The daemon as its users meet it: the real binary, real processes, real traffic.
//!
//! What runs is looked up in /proc.
#![cfg(target_os = "linux")]

mod booting;
mod clock;
mod crashing;
mod crossing;
mod deploying;
mod draining;
mod engine;
mod environment;
mod failing;
mod graceful_restart;
mod load;
mod log_file;
mod logging;
mod payload;
mod process_matrix;
mod protocol;
mod putting_back;
mod queueing;
mod recovering;
mod release_matrix;
mod reload_refused;
mod reloading;
mod restarting;
mod resuming;
mod retaining;
mod rolling_back;
mod service_manager;
mod services;
mod shutdown;
mod singletons;
mod starting;
mod state_file;
mod stopping;
mod strangers;
mod support;
mod taking_over;
mod unstartable;
mod upgrading;
