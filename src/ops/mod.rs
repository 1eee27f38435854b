//! What is done beside a daemon rather than through one: cleaning up after it. Nothing here prints.

pub mod recover;
