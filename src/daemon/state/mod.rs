//! What a daemon leaves on disk, so that after a crash of everything somebody knows which processes are left over.
//!
//! The file is written for a later daemon and for `rollbridge recover`. Nothing is ever restored from it, and a process
//! it names is believed to be ours only if pid, start time and boot are those of the record.

mod file;
mod keeping;
mod record;

pub use file::{Reading, StateError, StateFile};
pub use record::{Record, Remains};

pub(super) use keeping::Keeping;
