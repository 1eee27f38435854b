//! The Node addon: the only room that names napi. It converts, and hands over; it decides nothing and prints nothing.
//!
//! All data crosses as JSON text. `lib/addon.js` describes each function from the JavaScript side.

mod become_binary;
mod config;
mod daemon;
mod guard;
mod request;

use napi_derive::napi;

/// The version of the native side.
#[napi]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}
