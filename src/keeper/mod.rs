//! The keeper: the small process that starts the managed processes and is their parent.
//!
//! `rollbridge daemon` is a keeper. It is made of one thread and a poll loop, and starts the *engine*, the same program
//! with everything else in it, as a child of its own. Both speak [`message`]s over a pair of sockets. The keeper holds what
//! must not be lost with an engine: the listeners, the processes with their pipes and last lines, and notes of whatever
//! else the next engine must know. When an engine goes away in the middle of its work, the keeper starts another one and
//! hands it all of that. When the keeper goes away, the engine stops its processes and ends.
//!
//! It never knows what a process is for: no release, no policy, no restart.

mod attached;
mod book;
mod child;
mod client;
mod descriptors;
mod engine;
mod handover;
mod holdings;
mod inheritance;
mod keeping;
mod link;
pub mod message;
mod patience;
mod replacement;
mod running;
mod service_manager;
mod succession;

pub use attached::{hire_keeper, keep_attached};
pub use client::KeeperHost;
pub(crate) use descriptors::{receive as receive_descriptors, send_all as send_descriptors};
pub use engine::{EngineEnd, inherited_socket, keep_engine};
pub use handover::Handover;
pub use inheritance::Inheritance;
pub use message::{Past, Upgrade};
pub use replacement::left_by_the_program_before;
pub use service_manager::is_passed;
