//! Rollbridge: a process supervisor and local traffic switcher for zero-downtime deploys.
//!
//! The rooms, top to bottom; a room uses only rooms below it. `docs/architecture.md` tells the story.

pub mod config;
pub mod proxy;

pub mod clock;
pub mod error;
