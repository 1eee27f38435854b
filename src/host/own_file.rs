//! The files a daemon writes for its operator: its log and its pid. They are private, never reached through a link at
//! their end, and never another user's.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{Uid, dup2_stderr, dup2_stdout};
use thiserror::Error;

use crate::error::plain;

/// Why such a file cannot be used.
#[derive(Debug, Error)]
#[error("cannot use {} as the {what}: {reason}; {advice}", .path.display())]
pub struct OwnFileError {
    what: &'static str,
    path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
    advice: &'static str,
}

/// The file that the daemon's output goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    path: PathBuf,
}

impl LogFile {
    /// The log at an absolute path.
    pub fn at(path: &Path) -> LogFile {
        LogFile {
            path: path.to_owned(),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it at its end, and makes it and the folders around it if they are not there.
    ///
    /// # Errors
    ///
    /// It cannot be opened, or is not to be trusted.
    pub fn open(&self) -> Result<File, OwnFileError> {
        let error = |reason: String, advice| OwnFileError {
            what: "log file",
            path: self.path.clone(),
            reason,
            advice,
        };
        const ELSEWHERE: &str = "set another --daemon-log-path";
        make_folder_of(&self.path).map_err(|source| {
            error(
                plain(&source),
                "make its folder, or set another --daemon-log-path",
            )
        })?;
        let opened = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            // Whoever put a pipe there must not hold us up.
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits())
            .open(&self.path);
        let file = opened.map_err(|source| match source.raw_os_error() {
            Some(number) if number == Errno::ELOOP as i32 => {
                error("it is a symbolic link".to_owned(), ELSEWHERE)
            }
            Some(number) if number == Errno::ENXIO as i32 => {
                error("it is not a regular file".to_owned(), ELSEWHERE)
            }
            _ => error(plain(&source), ELSEWHERE),
        })?;
        let found = file
            .metadata()
            .map_err(|source| error(plain(&source), ELSEWHERE))?;
        if !found.file_type().is_file() {
            return Err(error("it is not a regular file".to_owned(), ELSEWHERE));
        }
        // Somebody else could have given a precious file of ours this name.
        if found.nlink() > 1 {
            let reason = "it has another name, too".to_owned();
            return Err(error(reason, "remove it, or set another --daemon-log-path"));
        }
        if found.uid() != Uid::effective().as_raw() && found.uid() != 0 {
            let reason = format!("it belongs to user {}", found.uid());
            return Err(error(reason, "remove it, or set another --daemon-log-path"));
        }
        // The flag was for the opening alone.
        fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND))
            .map_err(|errno| error(plain(&errno.into()), ELSEWHERE))?;
        Ok(file)
    }

    /// Whether its last line has no end.
    pub fn is_torn(&self) -> bool {
        let last = || -> io::Result<u8> {
            let mut file = OpenOptions::new()
                .read(true)
                .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
                .open(&self.path)?;
            file.seek(SeekFrom::End(-1))?;
            let mut last = [0];
            file.read_exact(&mut last)?;
            Ok(last[0])
        };
        // One that is empty has no last byte.
        last().is_ok_and(|last| last != b'\n')
    }

    /// Opens it, and has standard output and standard error of this process go there from now on.
    ///
    /// # Errors
    ///
    /// It cannot be used; both go on where they went.
    pub fn take_output(&self) -> Result<(), OwnFileError> {
        let file = self.open()?;
        let redirected = dup2_stdout(&file).and_then(|()| dup2_stderr(&file));
        redirected.map_err(|errno| OwnFileError {
            what: "log file",
            path: self.path.clone(),
            reason: plain(&errno.into()),
            advice: "set another --daemon-log-path",
        })
    }
}

/// The file that tells the daemon's pid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PidFile {
    path: PathBuf,
    pid: i32,
}

impl PidFile {
    /// The file at an absolute path, for the daemon with this pid.
    pub fn new(path: &Path, pid: i32) -> PidFile {
        PidFile {
            path: path.to_owned(),
            pid,
        }
    }

    /// Writes it, in place of whatever is there, so that nobody ever reads half of it.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn write(&self) -> Result<(), OwnFileError> {
        let written = || -> io::Result<()> {
            make_folder_of(&self.path)?;
            let new = beside(&self.path, &format!(".{}.new", self.pid));
            // Left over by a daemon with the same pid that did not live to rename it.
            match fs::remove_file(&new) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&new);
            let renamed = file
                .and_then(|mut file| writeln!(file, "{}", self.pid))
                .and_then(|()| fs::rename(&new, &self.path));
            if renamed.is_err() {
                // The error that came first is the one to tell.
                let _ = fs::remove_file(&new);
            }
            renamed
        };
        written().map_err(|source| OwnFileError {
            what: "pid file",
            path: self.path.clone(),
            reason: plain(&source),
            advice: "set another --daemon-pid-path",
        })
    }

    /// Removes it, if it still tells this pid.
    pub fn remove(&self) {
        if self.told() == Some(self.pid) {
            // Whoever removed it first did what we wanted.
            let _ = fs::remove_file(&self.path);
        }
    }

    fn told(&self) -> Option<i32> {
        /// A pid has fewer digits.
        const MOST_BYTES: u64 = 32;
        let file = OpenOptions::new()
            .read(true)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
            .open(&self.path);
        let mut text = String::new();
        file.ok()?.take(MOST_BYTES).read_to_string(&mut text).ok()?;
        text.trim().parse().ok()
    }
}

/// The path with `ending` behind it.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn make_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => fs::create_dir_all(folder),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_log_is_made_private_and_written_at_its_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("new/folder/log");
        for line in ["first\n", "second\n"] {
            let mut file = LogFile::at(&path).open().expect("it can be made");
            file.write_all(line.as_bytes()).expect("it is ours");
        }
        assert_eq!(fs::read_to_string(&path).expect("it is there"), "first\nsecond\n");
        assert_eq!(fs::metadata(&path).expect("it is there").mode() & 0o777, 0o600);
    }

    #[test]
    fn what_is_not_a_file_of_ours_is_no_log() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = |name: &str| folder.path().join(name);
        symlink("/etc/passwd", place("link")).expect("a link");
        nix::unistd::mkfifo(&place("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        fs::create_dir(place("folder")).expect("a folder");
        fs::write(place("precious"), "").expect("the folder is ours");
        fs::hard_link(place("precious"), place("second name")).expect("a second name");
        for (name, reason) in [
            ("link", "it is a symbolic link"),
            ("pipe", "it is not a regular file"),
            ("folder", "Is a directory"),
            ("second name", "it has another name, too"),
            ("link/log", "File exists"),
        ] {
            let error = LogFile::at(&place(name)).open().expect_err(name);
            assert_eq!(error.reason, reason, "{error}");
        }
    }

    #[test]
    fn a_pid_file_goes_only_with_its_own_daemon() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("run/pid");
        let (first, second) = (PidFile::new(&path, 7), PidFile::new(&path, 8));
        first.write().expect("it is ours");
        second.write().expect("it is replaced");
        first.remove();
        assert_eq!(fs::read_to_string(&path).expect("it stays"), "8\n");
        second.remove();
        assert!(!path.exists());
        second.remove();
    }

    #[test]
    fn a_link_in_the_place_of_a_pid_file_is_replaced_and_not_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, other) = (folder.path().join("pid"), folder.path().join("other"));
        fs::write(&other, "precious").expect("the folder is ours");
        symlink(&other, &path).expect("a link");
        PidFile::new(&path, 7).write().expect("it is ours");
        assert!(!path.is_symlink());
        assert_eq!(fs::read_to_string(&other).expect("it stays"), "precious");
    }
}
