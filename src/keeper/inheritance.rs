//! What a new engine finds at its keeper: all that the engines before it left.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use super::descriptors;
use super::holdings::{HANDOVER_PREFIX, STDERR};
use super::message::{Inbox, Malformed, Past, ToEngine, ToKeeper, VERSION, append};
use super::replacement::FORMAT;
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

impl Inheritance {
    /// The sockets through which retired engines hand over their connections, with the names they are held by.
    pub fn take_handovers(&mut self) -> Vec<(String, OwnedFd)> {
        let all = std::mem::take(&mut self.listeners);
        let (handovers, others) = all
            .into_iter()
            .partition(|(name, _)| name.starts_with(HANDOVER_PREFIX));
        self.listeners = BTreeMap::from_iter::<Vec<_>>(others);
        handovers
    }
}

/// Reads messages until all that is left has been told. `other` sees those that tell of children and lines. Asked whether
/// it could take over, this engine tells what `rehearse` says of the notes.
pub(super) fn receive(
    mut socket: &UnixStream,
    inbox: &mut Inbox,
    rehearse: impl Fn(&Estate) -> Result<(), String>,
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
                ToEngine::Rehearsed {} => {
                    let mut answer = Vec::new();
                    let notes = std::mem::take(&mut found.estate);
                    append(&judgement(rehearse(&notes)), &mut answer);
                    socket.write_all(&answer)?;
                }
                ToEngine::Restored { past } => {
                    found.past = past;
                    // It was kept apart while this engine was only tried.
                    if let Some(stderr) = found.listeners.remove(STDERR) {
                        nix::unistd::dup2_stderr(stderr)?;
                    }
                    return Ok(found);
                }
                message => other(message),
            }
        }
    }
}

fn judgement(rehearsal: Result<(), String>) -> ToKeeper {
    match rehearsal {
        Ok(()) => ToKeeper::Prepared {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            holdings: FORMAT,
        },
        Err(reason) => ToKeeper::Unfit { reason },
    }
}
