//! Which release to begin with after a reboot: a file of its own, kept current while the daemon runs and still there when
//! it has been shut down. (The state file is about processes, and goes with them.)

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::unistd::Uid;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::broadcast::error::RecvError;

use super::{Bootstrap, Engine, check_id, check_normalised, check_revision};
use crate::error::plain;
use crate::events::Milestone;

/// What the file says it is.
const FORMAT: &str = "rollbridge release to begin with";
const VERSION: u32 = 1;

/// Nothing we write comes near this.
const MOST_BYTES: u64 = 64 * 1024;

/// When writing is tried again if nothing happens.
const NEXT_TRY: Duration = Duration::from_secs(5);

/// Why the file cannot be followed.
#[derive(Debug, Error)]
#[error("cannot tell from {} which release to begin with: {reason}; remove it to start without a release", .path.display())]
pub struct ResumeFileError {
    path: PathBuf,
    reason: String,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Contents {
    format: String,
    version: u32,
    application: String,
    release_id: String,
    release_path: String,
    revision: String,
}

/// The file.
#[derive(Clone, Debug)]
pub struct ResumeFile {
    path: PathBuf,
    application: String,
}

impl ResumeFile {
    /// The one at an absolute path, for this application.
    pub fn new(path: &Path, application: &str) -> ResumeFile {
        ResumeFile {
            path: path.to_owned(),
            application: application.to_owned(),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The release to begin with; none if there is no file.
    ///
    /// # Errors
    ///
    /// There is one, and it is not to be followed.
    pub fn read(&self) -> Result<Option<Bootstrap>, ResumeFileError> {
        self.read_or_say_why().map_err(|reason| ResumeFileError {
            path: self.path.clone(),
            reason,
        })
    }

    fn read_or_say_why(&self) -> Result<Option<Bootstrap>, String> {
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
            .open(&self.path);
        let file = match opened {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(|error| plain(&error))?,
        };
        let found = file.metadata().map_err(|error| plain(&error))?;
        if !found.is_file() {
            return Err("it is not a regular file".to_owned());
        }
        // Its release's commands will be run as this user.
        if ![0, Uid::effective().as_raw()].contains(&found.uid()) || found.mode() & 0o022 != 0 {
            return Err("others than its user may write to it".to_owned());
        }
        let mut text = String::new();
        file.take(MOST_BYTES)
            .read_to_string(&mut text)
            .map_err(|error| plain(&error))?;
        let contents: Contents =
            serde_json::from_str(&text).map_err(|_| "it is damaged, or something else".to_owned())?;
        match contents {
            Contents { format, .. } if format != FORMAT => Err("it is something else".to_owned()),
            Contents { version, .. } if version != VERSION => Err(format!(
                "it has version {version}, and this program knows version {VERSION}"
            )),
            Contents { application, .. } if application != self.application => {
                Err(format!("it is about the application {application}"))
            }
            contents => contents.checked().map(Some),
        }
    }

    fn write(&self, release: &Bootstrap) -> io::Result<()> {
        let Some(release_path) = release.release_path.to_str() else {
            return Err(io::Error::other("the path of the release is not valid UTF-8"));
        };
        let contents = Contents {
            format: FORMAT.to_owned(),
            version: VERSION,
            application: self.application.clone(),
            release_id: release.release_id.clone(),
            release_path: release_path.to_owned(),
            revision: release.revision.clone(),
        };
        let mut text = serde_json::to_vec_pretty(&contents)?;
        text.push(b'\n');
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(folder)?;
        let mut new = self.path.as_os_str().to_owned();
        new.push(".new");
        let new = PathBuf::from(new);
        match fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        // A power cut right after a deploy must not bring the old release back.
        File::open(folder)?.sync_all()
    }

    fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl Contents {
    fn checked(self) -> Result<Bootstrap, String> {
        Ok(Bootstrap {
            release_id: check_id(&self.release_id).map_err(|error| error.to_string())?,
            release_path: check_normalised(&self.release_path)
                .map_err(|text| format!("releasePath: {text}"))?,
            revision: check_revision(&self.revision).map_err(|text| format!("revision: {text}"))?,
            attestation: None,
        })
    }
}

impl Engine {
    /// Keeps the file current until the shutdown begins: it names the active release, and is gone when none is.
    pub async fn keep_resume_file(self, file: ResumeFile) {
        let (_, mut events) = self.events().follow(None, Some(0));
        // Unknown at first: an engine before this one may not have come to it.
        let mut written: Option<Option<Bootstrap>> = None;
        let mut failing = false;
        loop {
            let active = self.active_release();
            if self.is_closing() || self.has_left() {
                return;
            }
            if written.as_ref() != Some(&active) {
                let task = {
                    let (file, active) = (file.clone(), active.clone());
                    tokio::task::spawn_blocking(move || match &active {
                        Some(release) => file.write(release),
                        None => file.remove(),
                    })
                };
                match task.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
                    Ok(()) => {
                        written = Some(active);
                        failing = false;
                    }
                    Err(error) if !std::mem::replace(&mut failing, true) => {
                        self.record(Milestone::StateFileNotWritten {
                            path: file.path().display().to_string(),
                            reason: plain(&error),
                        });
                    }
                    Err(_) => {}
                }
            }
            let next = match failing {
                true => tokio::time::timeout(NEXT_TRY, events.recv()).await.ok(),
                false => Some(events.recv().await),
            };
            if let Some(Err(RecvError::Closed)) = next {
                return;
            }
        }
    }

    fn active_release(&self) -> Option<Bootstrap> {
        let active = self.book().active()?;
        let blueprint = active.blueprint();
        Some(Bootstrap {
            release_id: blueprint.key.id.clone(),
            release_path: blueprint.path.clone(),
            revision: blueprint.revision.clone(),
            attestation: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn release() -> Bootstrap {
        Bootstrap {
            release_id: "v7".to_owned(),
            release_path: "/srv/shop/releases/v7".into(),
            revision: "3f2a1c9".to_owned(),
            attestation: None,
        }
    }

    #[test]
    fn what_was_written_is_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = ResumeFile::new(&folder.path().join("state/release.json"), "shop");
        assert!(file.read().expect("nothing is there").is_none());
        file.write(&release()).expect("it is ours");
        assert_eq!(file.read().expect("it is good"), Some(release()));
        let mode = fs::metadata(file.path()).expect("it is there").mode();
        assert_eq!(mode & 0o777, 0o600);
        file.remove().expect("it is ours");
        file.remove().expect("it is gone");
        assert!(file.read().expect("nothing is there").is_none());
    }

    #[test]
    fn what_is_not_to_be_followed_is_an_error_with_a_way_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = ResumeFile::new(&folder.path().join("release.json"), "shop");
        file.write(&release()).expect("it is ours");
        let good = fs::read_to_string(file.path()).expect("it is there");
        let other = ResumeFile::new(file.path(), "bank")
            .read()
            .expect_err("another one's");
        assert!(
            other.to_string().contains("about the application shop"),
            "{other}"
        );
        for (text, reason) in [
            (String::new(), "damaged"),
            (good[..40].to_owned(), "damaged"),
            (good.replace("\"version\": 1", "\"version\": 2"), "version 2"),
            (good.replace("begin with", "end with"), "something else"),
            (
                good.replace("/srv/shop", "/srv/../shop"),
                "releasePath: it must be normalised",
            ),
            (good.replace("\"v7\"", "\"../v7\""), "release id"),
        ] {
            fs::write(file.path(), text).expect("it is ours");
            let error = file.read().expect_err(reason).to_string();
            assert!(
                error.contains(reason) && error.contains("remove it to start"),
                "{error}"
            );
        }
        fs::write(file.path(), good).expect("it is ours");
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o666)).expect("it is ours");
        assert!(file.read().is_err(), "anybody could name a release");
        fs::remove_file(file.path()).expect("it is ours");
        symlink("/etc/passwd", file.path()).expect("a link");
        assert!(file.read().is_err());
    }
}
