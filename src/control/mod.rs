//! The control protocol: one JSON object a line over a Unix socket.
//!
//! Only this room knows the wire JSON. It knows nothing of what a command does: it reads a typed request, asks the
//! engine, and writes down the answer.

pub mod client;
pub mod embedded;
mod follow;
pub mod owner;
pub mod request;
mod respond;
pub mod server;
mod session;
pub mod socket;
pub mod wire;
