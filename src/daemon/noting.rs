//! What the next engine must know of the books, should this one end at any moment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::standing::Standing;
use super::state::Record;
use super::{Book, Engine};
use crate::config::Config;
use crate::events::{Event, KEPT_EVENTS};
use crate::host::{Estate, Note, ProcessHost, Unreadable, note_of};
use crate::release::ReleaseKey;

/// The key of the note of the books.
pub(super) const BOOK_KEY: &str = "book";

/// The key of the note of the number that the next client connection gets.
pub(super) const NEXT_CONNECTION_KEY: &str = "connection";

/// What the keys of all notes of events begin with.
const EVENT_PREFIX: &str = "event/";

/// The note of the books.
#[derive(Serialize, Deserialize)]
pub(super) struct BookNote {
    pub config: Arc<Config>,
    /// All releases, oldest first.
    pub releases: Vec<ReleaseKey>,
    pub active: Option<ReleaseKey>,
    pub activations: Vec<ReleaseKey>,
    pub instances: BTreeMap<String, u64>,
    pub kept_ports: BTreeMap<String, u16>,
    /// Ids and process numbers.
    pub services: Vec<(String, u64)>,
    pub singletons: Vec<(String, u64)>,
    /// What an earlier daemon left over.
    pub orphans: Vec<Record>,
    pub closing: bool,
    /// Another daemon has taken this one's place.
    #[serde(default)]
    pub left: bool,
}

/// How long is waited for a keeper that does not take its notes.
const PATIENCE: Duration = Duration::from_secs(1);

impl Engine {
    /// Waits until everything that has happened is noted. Nothing is told to anybody before that.
    pub async fn settled(&self) {
        // A keeper that is halted holds nobody up for ever.
        let _ = tokio::time::timeout(PATIENCE, self.inner.host.settled()).await;
    }

    /// Notes how the books stand.
    pub(super) fn note_book(&self, book: &Book) {
        self.inner.host.note(vec![self.book_note(book)]);
    }

    pub(super) fn book_note(&self, book: &Book) -> Note {
        let numbers = |list: &[Standing]| -> Vec<(String, u64)> {
            let number = |one: &Standing| (one.id.clone(), one.process.number());
            list.iter().map(number).collect()
        };
        let note = BookNote {
            config: self.config(),
            releases: book
                .releases
                .iter()
                .map(|release| release.key().clone())
                .collect(),
            active: book.active.clone(),
            activations: book.activations.clone(),
            instances: book.instances.clone(),
            kept_ports: book.kept_ports.clone(),
            services: numbers(&book.services),
            singletons: numbers(&book.singletons),
            orphans: self.recorded_orphans(),
            closing: self.inner.closing.is_cancelled(),
            left: self.has_left(),
        };
        note_of(BOOK_KEY.to_owned(), &note)
    }
}

/// The config that was in force in an earlier engine, if one had come to serve.
///
/// # Errors
/// When what is noted cannot be read.
pub fn noted_config(estate: &Estate) -> Result<Option<Arc<Config>>, Unreadable> {
    let note: Option<BookNote> = estate.find(BOOK_KEY)?;
    Ok(note.map(|note| note.config))
}

/// Notes an event, and lets go of the one that is too old by now.
pub fn note_event(host: &dyn ProcessHost, event: &Event) {
    let mut notes = vec![note_of(event_key(event.seq), event)];
    if let Some(old) = event.seq.checked_sub(KEPT_EVENTS as u64) {
        notes.push((event_key(old), None));
    }
    host.note(notes);
}

/// The events that an earlier engine noted, oldest first.
///
/// # Errors
/// When one cannot be read.
pub fn noted_events(estate: &Estate) -> Result<Vec<Event>, Unreadable> {
    let keys = estate.keys(EVENT_PREFIX);
    keys.iter().map(|key| estate.get(key)).collect()
}

/// As many digits for each, so that their order is that of their keys.
fn event_key(seq: u64) -> String {
    format!("{EVENT_PREFIX}{seq:020}")
}
