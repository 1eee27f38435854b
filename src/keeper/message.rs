//! What keeper and engine tell each other: one JSON value in a frame, its length before it as four bytes, lowest first.

use std::ffi::OsString;
use std::io;

use nix::errno::Errno;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::host::{Exit, Note, Role, SpawnError, SpawnSpec};

/// The version of these messages. Whoever reads another one says so and does nothing else.
pub const VERSION: u32 = 1;

/// A longer frame is nobody's: commands and environments are limited by the system to less.
const LONGEST_FRAME_BYTES: usize = 16 * 1024 * 1024;

/// How many bytes tell the length of a frame.
const LENGTH_BYTES: usize = 4;

/// What an engine asks of its keeper.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum ToKeeper {
    /// The first message of an engine.
    Hello {
        /// The [`VERSION`] it speaks.
        version: u32,
    },
    /// Start a process; answered by `Spawned` or `SpawnFailed` with the same `request`.
    Spawn {
        /// Names the answer.
        request: u64,
        /// What to start.
        spec: SpawnSpec,
        /// Where its output goes, and whose it is.
        log: u64,
        /// How many lines of that log are shown.
        most_lines: usize,
        /// What it is for.
        role: Role,
    },
    /// Reap the leader of this child and let go of its pipes.
    Forget {
        /// The child.
        child: u64,
    },
    /// Nothing more is written to this log, and nobody reads it any more.
    CloseLog {
        /// The log.
        log: u64,
    },
    /// What the next engine must know.
    Note {
        /// The notes, taken all or none.
        notes: Vec<Note>,
    },
    /// Hold this listener for the next engine; its descriptor comes with the message.
    Hold {
        /// What it listens for.
        name: String,
    },
    /// What the service manager is to hear; only the keeper is heard by it.
    Notify {
        /// In its own words.
        state: String,
    },
    /// The engine serves: should it end now, another one is to take its place.
    Ready {},
    /// Start an engine of another program beside this one, and see whether it could take over; the opened program comes
    /// with the message. Answered by `SuccessorReady` or `SuccessorFailed`.
    Upgrade {},
    /// This engine has let go of everything but its connections: the successor takes over. Its end of the socket through
    /// which those are handed over comes with the message.
    Retire {},
    /// From a successor that has read what it would be left: it could take over.
    Prepared {
        /// The version of its program.
        version: String,
        /// The [`super::replacement::FORMAT`] it can take over from a keeper.
        holdings: u32,
    },
    /// From a successor: it could not take over.
    Unfit {
        /// Why.
        reason: String,
    },
    /// What was held under this name is done with.
    LetGo {
        /// What it was for.
        name: String,
    },
    /// The engine has stopped what it ran and ends for good.
    Farewell {},
}

/// What a keeper tells its engine.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum ToEngine {
    /// The first message of a keeper. What an earlier engine left follows, up to `Restored`.
    Hello {
        /// The [`VERSION`] it speaks.
        version: u32,
    },
    /// A listener that is held; its descriptor comes with the message.
    Listener {
        /// What it listens for.
        name: String,
    },
    /// A note of the earlier engine.
    Noted {
        /// Its key.
        key: String,
        /// Its text.
        text: String,
    },
    /// A log, before its lines.
    Log {
        /// Its name.
        log: u64,
        /// How many lines of it are shown.
        most_lines: usize,
    },
    /// A child that is kept.
    Kept {
        /// Its name.
        child: u64,
        /// The leader's pid.
        pid: i32,
        /// Its token.
        token: String,
        /// Where its output goes, and whose it is.
        log: u64,
        /// What it is for.
        role: Role,
    },
    /// All that an earlier engine left has been told.
    Restored {
        /// What became of the engines before.
        past: Past,
    },
    /// All notes have been told to an engine that may become the successor: it is to say whether it understands them.
    Rehearsed {},
    /// A successor stands ready.
    SuccessorReady {
        /// The version of its program.
        version: String,
    },
    /// There is no successor, or there is none any more; all stays as it is.
    SuccessorFailed {
        /// Why.
        reason: String,
    },
    /// The keeper itself is of the new program by now, or must stay what it was.
    KeeperReplaced {
        /// Why it stays what it was.
        failure: Option<String>,
    },
    /// A process was started.
    Spawned {
        /// The request it answers.
        request: u64,
        /// The child's name from now on.
        child: u64,
        /// The leader's pid.
        pid: i32,
    },
    /// A process was not started.
    SpawnFailed {
        /// The request it answers.
        request: u64,
        /// Why.
        reason: Refusal,
    },
    /// A whole line was written.
    Line {
        /// The log it belongs to.
        log: u64,
        /// Its number.
        seq: u64,
        /// When its end was read, in milliseconds since the Unix epoch.
        at: u64,
        /// Whether it came on standard error.
        stderr: bool,
        /// The line.
        line: String,
    },
    /// The leader of a child ended; all its lines have been told.
    Exited {
        /// The child.
        child: u64,
        /// How.
        exit: Exit,
    },
    /// Nobody is left who could write for this child.
    Silent {
        /// The child.
        child: u64,
    },
    /// A child was forgotten; nothing more is told of it.
    Forgotten {
        /// The child.
        child: u64,
    },
}

/// The engines a keeper has had.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Past {
    /// How many ended without a farewell.
    pub ends: u32,
    /// How the last of them ended.
    pub last: Option<Exit>,
    /// How many of them in a row had hardly begun.
    pub short_lived: u32,
    /// How long there was none, in milliseconds.
    pub absent_ms: u64,
    /// The engine before retired for an upgrade, and what came of it.
    #[serde(default)]
    pub upgrade: Option<Upgrade>,
}

impl Past {
    /// Whether an engine before this one came to serve, so that there is something to go on with.
    pub fn is_there(&self) -> bool {
        self.ends > 0 || self.upgrade.is_some()
    }
}

/// What came of an upgrade, for the engine that goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Upgrade {
    /// The engine that reads this is the successor.
    Succeeded,
    /// The successor did not come to serve, for this reason: the engine that reads this is of the program before.
    Failed(String),
}

/// A [`SpawnError`] on its way.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Refusal {
    /// The working directory, and what the system said of it; without a number it is no directory.
    Cwd(OsString, Option<i32>),
    /// The shell, and what the system said of it.
    Shell(Option<i32>),
}

impl From<&SpawnError> for Refusal {
    fn from(error: &SpawnError) -> Refusal {
        match error {
            SpawnError::Cwd { path, source } => Refusal::Cwd(path.clone().into(), source.raw_os_error()),
            SpawnError::Shell(source) => Refusal::Shell(source.raw_os_error()),
            SpawnError::KeeperGone => Refusal::Shell(Some(Errno::EPIPE as i32)),
        }
    }
}

impl From<Refusal> for SpawnError {
    fn from(refusal: Refusal) -> SpawnError {
        let error = |number: Option<i32>, otherwise: io::ErrorKind| {
            number.map_or_else(|| otherwise.into(), io::Error::from_raw_os_error)
        };
        match refusal {
            Refusal::Cwd(path, number) => SpawnError::Cwd {
                path: path.into(),
                source: error(number, io::ErrorKind::NotADirectory),
            },
            Refusal::Shell(number) => SpawnError::Shell(error(number, io::ErrorKind::Other)),
        }
    }
}

/// Bytes that are no message.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Malformed {
    /// A length no message has.
    #[error("a frame of {0} bytes is longer than any message")]
    TooLong(usize),
    /// Whole, but not understood.
    #[error("a frame that is no message: {0}")]
    Unknown(String),
}

/// Adds a message to what is to be sent.
pub fn append(message: &impl Serialize, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    serde_json::to_writer(&mut *out, message).expect("messages are made of what JSON can say");
    let length = u32::try_from(out.len() - start - LENGTH_BYTES).expect("no message is that long");
    out[start..start + LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
}

/// Bytes that arrived and are not yet read as messages.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    /// How many of them have been read.
    read: usize,
}

impl Inbox {
    /// Takes in what arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.read);
        self.read = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// What has not been read as messages yet.
    pub fn unread(&self) -> &[u8] {
        &self.bytes[self.read..]
    }

    /// The next message that is whole. After [`Malformed::TooLong`] nothing that follows can be trusted.
    pub fn take<M: DeserializeOwned>(&mut self) -> Option<Result<M, Malformed>> {
        let rest = &self.bytes[self.read..];
        let (length, rest) = rest.split_first_chunk::<LENGTH_BYTES>()?;
        let length = u32::from_le_bytes(*length) as usize;
        if length > LONGEST_FRAME_BYTES {
            return Some(Err(Malformed::TooLong(length)));
        }
        let frame = rest.get(..length)?;
        self.read += LENGTH_BYTES + length;
        Some(serde_json::from_slice(frame).map_err(|error| Malformed::Unknown(error.to_string())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    use proptest::prelude::*;

    #[test]
    fn a_specification_of_odd_bytes_arrives_whole() {
        let odd = OsString::from_vec(vec![b'/', 0xff, b'a']);
        let spec = SpawnSpec {
            command: "echo \"ä\"".to_owned(),
            cwd: odd.clone().into(),
            env: vec![("A".into(), odd)],
            token: "t".to_owned(),
        };
        let mut bytes = Vec::new();
        let message = ToKeeper::Spawn {
            request: 7,
            spec: spec.clone(),
            log: 3,
            most_lines: 50,
            role: Role::StopHook,
        };
        append(&message, &mut bytes);
        append(&ToKeeper::Forget { child: 9 }, &mut bytes);
        let mut inbox = Inbox::default();
        for byte in &bytes[..bytes.len() - 1] {
            inbox.push(&[*byte]);
        }
        let Some(Ok(ToKeeper::Spawn {
            request: 7,
            spec: arrived,
            log: 3,
            role: Role::StopHook,
            ..
        })) = inbox.take()
        else {
            panic!("the first message is whole");
        };
        assert!(arrived == spec);
        assert!(inbox.take::<ToKeeper>().is_none());
        inbox.push(&bytes[bytes.len() - 1..]);
        assert!(matches!(inbox.take(), Some(Ok(ToKeeper::Forget { child: 9 }))));
    }

    #[test]
    fn a_refusal_keeps_the_words_of_the_error() {
        for error in [
            SpawnError::Cwd {
                path: "/nowhere".into(),
                source: Errno::ENOENT.into(),
            },
            SpawnError::Cwd {
                path: "/dev/null".into(),
                source: io::ErrorKind::NotADirectory.into(),
            },
            SpawnError::Shell(Errno::EAGAIN.into()),
        ] {
            let arrived = SpawnError::from(Refusal::from(&error));
            assert_eq!(arrived.to_string(), error.to_string());
        }
    }

    #[test]
    fn nonsense_is_said_to_be_nonsense_and_the_next_message_is_read() {
        let mut bytes = 3u32.to_le_bytes().to_vec();
        bytes.extend_from_slice(b"{]!");
        append(&ToKeeper::Forget { child: 1 }, &mut bytes);
        let mut inbox = Inbox::default();
        inbox.push(&bytes);
        assert!(matches!(
            inbox.take::<ToKeeper>(),
            Some(Err(Malformed::Unknown(_)))
        ));
        assert!(matches!(inbox.take(), Some(Ok(ToKeeper::Forget { child: 1 }))));
        inbox.push(&u32::MAX.to_le_bytes());
        assert!(matches!(
            inbox.take::<ToKeeper>(),
            Some(Err(Malformed::TooLong(_)))
        ));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8)) {
            let mut inbox = Inbox::default();
            for chunk in chunks {
                inbox.push(&chunk);
                while let Some(Ok(_) | Err(Malformed::Unknown(_))) = inbox.take::<ToKeeper>() {}
            }
        }
    }
}
