//! What an engine left to the next one: its notes, and the children that are still there.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::{Child, Note, Role};

/// A child that is still there, and whose it is.
#[derive(Debug)]
pub struct Heir {
    /// The child.
    pub child: Child,
    /// The log of the managed process it belongs to, by which that is known.
    pub log: u64,
    /// What it is for.
    pub role: Role,
}

/// What an engine left.
#[derive(Debug, Default)]
pub struct Estate {
    /// Its notes, by key.
    pub notes: BTreeMap<String, String>,
    /// Its children.
    pub children: Vec<Heir>,
}

/// A note that cannot be used: another version of this program wrote it.
#[derive(Debug, Error)]
#[error("the note {key:?} of the engine before cannot be read: {reason}")]
pub struct Unreadable {
    /// Its key.
    key: String,
    /// What is wrong with it.
    reason: String,
}

impl Estate {
    /// The note under `key`, if there is one.
    pub fn find<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Unreadable> {
        let Some(text) = self.notes.get(key) else {
            return Ok(None);
        };
        serde_json::from_str(text).map(Some).map_err(|error| Unreadable {
            key: key.to_owned(),
            reason: error.to_string(),
        })
    }

    /// The note under `key`, which another note speaks of.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<T, Unreadable> {
        self.find(key)?.ok_or_else(|| Unreadable {
            key: key.to_owned(),
            reason: "it is not there".to_owned(),
        })
    }

    /// The keys that begin with `prefix`.
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        let keys = self.notes.keys().filter(|key| key.starts_with(prefix));
        keys.cloned().collect()
    }

    /// The children of one managed process; they are taken over only once.
    pub fn take_children(&mut self, log: u64) -> Vec<Heir> {
        let of_it = |heir: &mut Heir| heir.log == log;
        self.children.extract_if(.., of_it).collect()
    }
}

/// A note of something, as it stands now.
pub fn note_of(key: String, value: &impl Serialize) -> Note {
    let text = serde_json::to_string(value).expect("notes are made of what JSON can say");
    (key, Some(text))
}
