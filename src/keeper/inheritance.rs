//! What a new engine finds at its keeper: all that the engines before it left.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use super::descriptors;
use super::message::{Inbox, Malformed, Past, ToEngine, VERSION};
use crate::host::Estate;

/// Everything that outlived the engine before.
#[derive(Debug, Default)]
pub struct Inheritance {
    /// Its notes and its children.
    pub estate: Estate,
    /// The listeners, by what they listen for.
    pub listeners: BTreeMap<String, OwnedFd>,
    /// What became of the engines.
    pub past: Past,
}

/// Reads messages until all that is left has been told. `other` sees those that tell of children and lines.
pub(super) fn receive(
    socket: &UnixStream,
    inbox: &mut Inbox,
    mut other: impl FnMut(ToEngine),
) -> io::Result<Inheritance> {
    let mut found = Inheritance::default();
    let mut descriptors = VecDeque::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = match descriptors::receive(socket.as_fd(), &mut buffer, &mut descriptors) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            count => count?,
        };
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        inbox.push(&buffer[..count]);
        while let Some(message) = inbox.take() {
            match message.map_err(|error: Malformed| io::Error::new(io::ErrorKind::InvalidData, error))? {
                ToEngine::Hello { version } if version != VERSION => {
                    return Err(io::Error::other(format!(
                        "it speaks version {version} of the messages, this program version {VERSION}"
                    )));
                }
                ToEngine::Noted { key, text } => drop(found.estate.notes.insert(key, text)),
                ToEngine::Listener { name } => {
                    if let Some(listener) = descriptors.pop_front() {
                        found.listeners.insert(name, listener);
                    }
                }
                ToEngine::Restored { past } => {
                    found.past = past;
                    return Ok(found);
                }
                message => other(message),
            }
        }
    }
}
