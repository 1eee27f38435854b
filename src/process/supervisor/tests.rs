//! The supervisor's loop with a made-up host and a paused clock, and with real processes whose story is replayed.

mod fake_host;
pub(super) mod recording;
mod stage;
mod timing;
