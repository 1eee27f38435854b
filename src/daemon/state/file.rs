//! The state file itself: read with suspicion, written so that a crash at any moment leaves the old one or the new one,
//! private to its user.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::Uid;
use thiserror::Error;

use super::record::{Contents, FORMAT, Head, Record, Remains, Snapshot, VERSION};
use crate::clock::Timestamp;
use crate::error::plain;
use crate::host::ProcessIdentity;

/// Nothing we write comes near this.
const MOST_BYTES: u64 = 16 * 1024 * 1024;

/// How many names are tried for a file that is set aside.
const MOST_NAMES: u32 = 1000;

/// Why a file is not believed.
#[derive(Debug, Error)]
pub enum StateError {
    /// The system did not let us read it.
    #[error("it cannot be read: {}", plain(.0))]
    Unreadable(#[source] io::Error),
    /// A link, a folder or a device.
    #[error("it is not a regular file")]
    NotAFile,
    /// Somebody else could have written it to have our signals sent somewhere.
    #[error("it belongs to user {0}")]
    OfAnotherUser(u32),
    /// Cut short, or something else altogether.
    #[error("it is damaged, or no state of rollbridge")]
    Foreign,
    /// Written by a later version.
    #[error("it has version {0}, and this program knows version {VERSION}")]
    Newer(u32),
    /// Another application uses the same path.
    #[error("it is the state of the application {0}")]
    OfAnotherApplication(String),
}

/// What was found at the path.
#[derive(Debug)]
pub enum Reading {
    /// No file: the daemon before ended well, or there was none.
    Missing,
    /// A file to believe.
    Found(Remains),
    /// A file not to believe.
    Refused(StateError),
}

/// The state file of one application.
#[derive(Clone, Debug)]
pub struct StateFile {
    path: PathBuf,
    application: String,
}

impl StateFile {
    /// The file at `path`, for `application`.
    pub fn new(path: &Path, application: &str) -> StateFile {
        StateFile {
            path: path.to_owned(),
            application: application.to_owned(),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The application it is for.
    pub fn application(&self) -> &str {
        &self.application
    }

    /// Reads what is there. A record of a process that runs as another user than the file's is not believed: who can
    /// write the file could have it signalled already, or else must not by way of us.
    pub fn read(&self) -> Reading {
        match self.try_read() {
            Ok(Some(remains)) => Reading::Found(remains),
            Ok(None) => Reading::Missing,
            Err(error) => Reading::Refused(error),
        }
    }

    fn try_read(&self) -> Result<Option<Remains>, StateError> {
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let file = match OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits())
            .open(&self.path)
        {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                let is_link = fs::symlink_metadata(&self.path).is_ok_and(|found| found.is_symlink());
                return Err(if is_link {
                    StateError::NotAFile
                } else {
                    StateError::Unreadable(error)
                });
            }
        };
        let found = file.metadata().map_err(StateError::Unreadable)?;
        if !found.is_file() {
            return Err(StateError::NotAFile);
        }
        let (owner, own) = (found.uid(), Uid::effective());
        if owner != own.as_raw() && !own.is_root() {
            return Err(StateError::OfAnotherUser(owner));
        }
        let mut bytes = Vec::new();
        file.take(MOST_BYTES)
            .read_to_end(&mut bytes)
            .map_err(StateError::Unreadable)?;
        let mut remains = self.parse(&bytes)?;
        if owner != 0 {
            remains
                .records
                .retain(|record| record.process.owner() == Some(owner));
        }
        Ok(Some(remains))
    }

    fn parse(&self, bytes: &[u8]) -> Result<Remains, StateError> {
        let head: Head = serde_json::from_slice(bytes).map_err(|_| StateError::Foreign)?;
        match (head.format == FORMAT, head.version) {
            (true, VERSION) => {}
            (true, version) if version > VERSION => return Err(StateError::Newer(version)),
            _ => return Err(StateError::Foreign),
        }
        let contents: Contents = serde_json::from_slice(bytes).map_err(|_| StateError::Foreign)?;
        let remains = Remains::from(contents);
        match remains.application == self.application {
            true => Ok(remains),
            false => Err(StateError::OfAnotherApplication(remains.application)),
        }
    }

    /// Gives what is there another name, which no file has yet; returns that name.
    pub fn set_aside(&self) -> io::Result<PathBuf> {
        let stamp = Timestamp::now().to_release_id();
        for number in 0..MOST_NAMES {
            let mut name = self.path.clone().into_os_string();
            name.push(match number {
                0 => format!(".refused-{stamp}"),
                number => format!(".refused-{stamp}-{number}"),
            });
            let name = PathBuf::from(name);
            // A folder cannot have a second name; the check before the rename is all there is for it.
            let is_folder = fs::symlink_metadata(&self.path)?.is_dir();
            let moved = match is_folder {
                true if fs::symlink_metadata(&name).is_ok() => Err(ErrorKind::AlreadyExists.into()),
                true => fs::rename(&self.path, &name),
                // Unlike a rename, a link never replaces what is there.
                false => fs::hard_link(&self.path, &name).and_then(|()| fs::remove_file(&self.path)),
            };
            match moved {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                moved => {
                    moved?;
                    self.sync_folder()?;
                    return Ok(name);
                }
            }
        }
        Err(ErrorKind::AlreadyExists.into())
    }

    /// Replaces the file, durably.
    pub(super) fn write(&self, text: &str) -> io::Result<()> {
        let temporary = self.temporary();
        // Left by a daemon that was killed while it wrote.
        remove(&temporary)?;
        let written = self.write_to(&temporary, text);
        if written.is_err() {
            // What matters is why it could not be written.
            let _ = remove(&temporary);
        }
        written
    }

    fn write_to(&self, temporary: &Path, text: &str) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            // Never an existing file, and never through a link.
            .create_new(true)
            .mode(0o600)
            .open(temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(temporary, &self.path)?;
        self.sync_folder()
    }

    /// Removes the file, durably.
    pub fn remove(&self) -> io::Result<()> {
        remove(&self.temporary())?;
        if remove(&self.path)? {
            self.sync_folder()?;
        }
        Ok(())
    }

    fn temporary(&self) -> PathBuf {
        let mut name = std::ffi::OsString::from(".");
        name.push(self.path.file_name().unwrap_or_default());
        name.push(".new");
        self.path.with_file_name(name)
    }

    fn sync_folder(&self) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        File::open(folder)?.sync_all()
    }
}

/// The text of a snapshot.
pub(super) fn text(snapshot: &Snapshot) -> String {
    // Plain data under string keys: there is nothing in it that could fail to serialise.
    serde_json::to_string(snapshot).unwrap_or_default() + "\n"
}

impl Remains {
    /// Whether the daemon that wrote it still runs.
    pub fn writer_is_alive(&self) -> bool {
        self.daemon.as_ref().is_some_and(ProcessIdentity::is_alive)
    }

    /// The processes that are alive. One whose pid was given to another process is not among them.
    pub fn survivors(&self) -> Vec<Record> {
        let alive = |record: &&Record| record.process.is_alive();
        self.records.iter().filter(alive).cloned().collect()
    }
}

/// Removes a file if it is there; whether it was.
fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
