//! What other users of the machine can do to a daemon and its clients, and where secrets and odd texts end up.
//!
//! The other users are real ones: the tests that need them are run as root, and skipped otherwise.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod files;
mod injection;
mod intruder;
mod place;
mod secrets;
mod socket;
