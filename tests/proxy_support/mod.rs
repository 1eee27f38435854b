//! What the tests of the proxy share: connections that speak bytes, and upstreams played by hand.
#![allow(
    dead_code,
    unused_imports,
    reason = "several test programs share this, and none of them uses all of it"
)]

mod patience;
mod upstream;
mod wire;

pub use patience::{patience, within};
pub use upstream::{Dormant, Upstream};
pub use wire::{Body, End, Head, Wire};
