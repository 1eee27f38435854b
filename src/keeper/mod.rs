//! The keeper: the small process that starts the managed processes and is their parent.
//!
//! `rollbridge daemon` is a keeper. It is made of one thread and a poll loop, and starts the *engine*, the same program
//! with everything else in it, as a child of its own. Both speak [`message`]s over a pair of sockets. When the engine
//! goes away without having stopped its processes, the keeper stops them; when the keeper goes away, the engine does.
//!
//! It never knows what a process is for: no release, no policy, no restart.

mod attached;
mod child;
mod client;
mod engine;
mod keeping;
pub mod message;

pub use attached::{hire_keeper, keep_attached};
pub use client::KeeperHost;
pub use engine::{EngineEnd, inherited_socket, keep_engine};
