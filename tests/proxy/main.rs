//! The proxy driven from both sides over plain sockets: every test plays the client, the upstream, or both.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cutting;
mod forwarding;
mod holding;
mod interim;
mod limits;
mod stage;
mod streaming;
mod strictness;
#[path = "../proxy_support/mod.rs"]
mod support;
mod switching;
mod upgrades;
