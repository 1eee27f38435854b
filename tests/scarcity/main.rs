//! What happens when the machine has no more descriptors, processes, memory or disk for the daemon: it says so, what
//! runs goes on, and it recovers by itself when there is some again.
//!
//! Limits of processes are changed while they run, and some do not bind root: the daemon runs as another user, so these
//! tests are run as root, and skipped otherwise.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod engine;
mod keeper;
mod limits;
#[allow(dead_code, reason = "shared with the tests of security")]
#[path = "../security/place.rs"]
mod place;
