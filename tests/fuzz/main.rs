//! Fuzzing of what comes from outside: config values, templates, lines of the control socket, messages between keeper
//! and engine, of a handover, and state files. Each target takes the texts of its folder in `corpus/`, damages them, and
//! says what must hold all the same.
//!
//! `ROLLBRIDGE_FUZZ_SECONDS` makes the run longer, `ROLLBRIDGE_FUZZ_SEED` repeats one, and `ROLLBRIDGE_FUZZ_CASE` only
//! one case of it. `npm run fuzz -- --target config --seconds 600` does the first.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod config;
mod control;
mod corpus;
mod damage;
mod handover;
mod messages;
#[path = "../proxy_fuzz/random.rs"]
mod random;
mod run;
mod state;
mod template;
