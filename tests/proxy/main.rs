//! The proxy driven from both sides over plain sockets: every test plays the client, the upstream, or both.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cutting;
mod forwarding;
mod handover;
mod handover_tunnels;
mod holding;
mod interim;
mod limits;
mod pair;
mod stage;
mod streaming;
mod strictness;
#[path = "../proxy_support/mod.rs"]
mod support;
mod switching;
mod upgrades;
