//! What the proxy owes its clients and its upstreams, row by row, over plain sockets on both sides.
//!
//! The same rows can be put to nginx and HAProxy: `ROLLBRIDGE_ROWS_AGAINST=nginx cargo test --test proxy_rows`.
//! `scripts/score-card.mjs` does that and writes the table in `docs/proxy.md`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod answers;
mod contender;
mod departures;
mod framing;
mod headers;
mod limits;
mod retries;
mod stage;
mod streaming;
#[path = "../proxy_support/mod.rs"]
mod support;
mod upgrades;
