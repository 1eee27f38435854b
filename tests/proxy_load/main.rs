//! The proxy under load, at its limits, and with peers that misbehave: nothing fails, nothing is done twice, nothing
//! grows without bound, and everything recovers.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod handovers;
mod keep_alive_race;
#[path = "../proxy_support/mod.rs"]
mod support;
