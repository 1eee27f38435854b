//! The copy of this program that a detached daemon runs from. It is named after its content and lies outside every
//! release, so that whatever started the daemon may be deleted.

use std::env;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::{Uid, User};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::platform::{forbids_programs, own_program};
use super::private_folder::private_folder;
use crate::error::plain;

/// The number of this way to lay out copies: `<folder>/<digest>/rollbridge`.
pub const RUNTIME_FORMAT: u32 = 1;

const PROGRAM: &str = "rollbridge";

/// How many hexadecimal digits a digest has.
const DIGITS: usize = 64;

/// A copy of this program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeCopy {
    /// The program.
    pub path: PathBuf,
    /// `sha256:` and the digest of its content.
    pub digest: String,
}

/// Why there is no copy to run from.
#[derive(Debug, Error)]
pub enum RuntimeError {
    /// The program that runs cannot be read.
    #[error("cannot read the program that runs, to copy it: {}", plain(.0))]
    Source(#[source] io::Error),
    /// None of the folders will do.
    #[error("no folder for the copy of the program that the daemon is to run from: {}; {advice}", .tried.join("; "))]
    NoFolder {
        /// Each with what is wrong with it.
        tried: Vec<String>,
        /// What to do.
        advice: &'static str,
    },
}

/// The folders that copies may be put into, the best first; only `explicit`, if there is one.
pub fn runtime_folders(explicit: Option<&Path>) -> Vec<PathBuf> {
    if let Some(path) = explicit {
        return vec![path.to_owned()];
    }
    let absolute = |path: PathBuf| Some(path).filter(|path| path.is_absolute());
    let user = Uid::effective();
    let home = || {
        let told = env::var_os("HOME").map(PathBuf::from).and_then(absolute);
        told.or_else(|| Some(User::from_uid(user).ok()??.dir))
    };
    let state = env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .and_then(absolute);
    let state = state.or_else(|| home().map(|home| home.join(".local/state")));
    let shared = PathBuf::from(format!("/tmp/rollbridge-{user}"));
    let base = state.map(|state| state.join(PROGRAM)).into_iter().chain([shared]);
    base.map(|base| base.join("runtime")).collect()
}

impl RuntimeCopy {
    /// Copies this very program into the first folder that will do, unless a good copy is there.
    ///
    /// # Errors
    ///
    /// None will do.
    pub fn make(folders: &[PathBuf]) -> Result<RuntimeCopy, RuntimeError> {
        let read = || -> io::Result<(File, String)> {
            let mut source = File::open(own_program()?)?;
            let digest = digest_of(&mut source)?;
            Ok((source, digest))
        };
        let (_, digits) = read().map_err(RuntimeError::Source)?;
        let mut tried = Vec::new();
        for folder in folders {
            match copy_into(folder, &digits) {
                Ok(path) => {
                    let digest = format!("sha256:{digits}");
                    return Ok(RuntimeCopy { path, digest });
                }
                Err(reason) => tried.push(format!("{}: {reason}", folder.display())),
            }
        }
        Err(RuntimeError::NoFolder {
            tried,
            advice: "set --daemon-runtime-path to a folder of this user that others cannot write to and programs may \
                     be started from",
        })
    }

    /// The copy that this program runs from, if it does.
    pub fn of_this_program() -> Option<RuntimeCopy> {
        RuntimeCopy::at(&env::current_exe().ok()?)
    }

    fn at(path: &Path) -> Option<RuntimeCopy> {
        // What the system adds where the file is gone.
        let path = PathBuf::from(path.to_str()?.trim_end_matches(" (deleted)"));
        let digits = path.parent()?.file_name()?.to_str()?;
        let is_digest = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let digest = format!("sha256:{digits}");
        (is_digest && path.file_name()? == PROGRAM).then_some(RuntimeCopy { path, digest })
    }
}

fn copy_into(folder: &Path, digits: &str) -> Result<PathBuf, String> {
    let folder = private_folder(folder)?;
    if forbids_programs(&folder) {
        return Err("its file system is mounted noexec".to_owned());
    }
    let home = folder.join(digits);
    let program = home.join(PROGRAM);
    if is_good(&home, digits) {
        return Ok(program);
    }
    let new = folder.join(format!(".new-{}-{:x}", std::process::id(), unique()));
    let made = make(&new, digits).and_then(|()| put_in_place(&new, &home, digits));
    if made.is_err() || new.exists() {
        // What could not be put in place, or was not needed any more.
        let _ = fs::remove_dir_all(&new);
    }
    made.map(|()| program)
}

/// Makes the folder of a copy under a name of its own.
fn make(new: &Path, digits: &str) -> Result<(), String> {
    let copy = || -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(new)?;
        let mut source = File::open(own_program()?)?;
        let mut copy = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o500)
            .open(new.join(PROGRAM))?;
        io::copy(&mut source, &mut copy)?;
        copy.sync_all()
    };
    copy().map_err(|error| format!("the copy cannot be written: {}", plain(&error)))?;
    match is_good(new, digits) {
        true => Ok(()),
        false => Err("what was written there reads differently; check its disk".to_owned()),
    }
}

fn put_in_place(new: &Path, home: &Path, digits: &str) -> Result<(), String> {
    let failed = |error: io::Error| format!("the copy cannot be put in place: {}", plain(&error));
    match fs::rename(new, home) {
        Ok(()) => return Ok(()),
        // Somebody else has just made the same one.
        Err(_) if is_good(home, digits) => return Ok(()),
        Err(error) if !home.exists() => return Err(failed(error)),
        Err(_) => {}
    }
    // What is there is not what its name says.
    let spoiled = new.with_extension("spoiled");
    fs::rename(home, &spoiled).map_err(failed)?;
    fs::rename(new, home).map_err(failed)?;
    // It is out of the way; that it still takes up room harms nothing.
    let _ = fs::remove_dir_all(&spoiled).or_else(|_| fs::remove_file(&spoiled));
    Ok(())
}

/// Whether this folder holds a copy with this digest that nobody else can change and we can start.
fn is_good(home: &Path, digits: &str) -> bool {
    let own = Uid::effective().as_raw();
    let is_closed = |found: &fs::Metadata| found.uid() == own && found.mode() & 0o022 == 0;
    let look = || -> io::Result<bool> {
        let folder = fs::symlink_metadata(home)?;
        let mut program = OpenOptions::new()
            .read(true)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
            .open(home.join(PROGRAM))?;
        let found = program.metadata()?;
        let looks_right = folder.is_dir()
            && is_closed(&folder)
            && found.is_file()
            && is_closed(&found)
            && found.mode() & 0o100 != 0;
        Ok(looks_right && digest_of(&mut program)? == digits)
    };
    look().unwrap_or(false)
}

fn digest_of(file: &mut File) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let digits = hasher.finalize();
    Ok(digits.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A name nobody else makes.
fn unique() -> u64 {
    let mut bytes = [0; 8];
    // Without it the pid alone has to do; a collision is an error of mkdir, not a risk.
    let _ = getrandom::fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = fs::canonicalize(folder.path())
            .expect("it is there")
            .join("runtime");
        (folder, path)
    }

    #[test]
    fn the_copy_is_this_program_and_is_made_once() {
        let (_folder, path) = folder();
        let first = RuntimeCopy::make(std::slice::from_ref(&path)).expect("a copy");
        let made = fs::metadata(&first.path).expect("it is there");
        assert_eq!(made.mode() & 0o777, 0o500);
        assert!(first.path.starts_with(&path));
        assert_eq!(
            fs::read(&first.path).expect("readable"),
            fs::read("/proc/self/exe").expect("readable")
        );
        let second = RuntimeCopy::make(std::slice::from_ref(&path)).expect("a copy");
        assert_eq!(second, first);
        assert_eq!(fs::metadata(&first.path).expect("it is there").ino(), made.ino());
        assert_eq!(RuntimeCopy::at(&first.path), Some(first.clone()));
        let deleted = format!("{} (deleted)", first.path.display());
        assert_eq!(RuntimeCopy::at(Path::new(&deleted)), Some(first));
        assert_eq!(RuntimeCopy::of_this_program(), None, "the test runs in place");
    }

    #[test]
    fn what_is_not_what_its_name_says_is_replaced() {
        let (_folder, path) = folder();
        let folders = [path];
        let good = RuntimeCopy::make(&folders).expect("a copy");
        let home = good.path.parent().expect("its folder").to_owned();
        let spoil: [&dyn Fn(); 5] = [
            &|| {
                fs::remove_file(&good.path).expect("it is ours");
                fs::write(&good.path, "#!/bin/sh\n").expect("it is ours");
                fs::set_permissions(&good.path, fs::Permissions::from_mode(0o500)).expect("it is ours");
            },
            &|| fs::set_permissions(&good.path, fs::Permissions::from_mode(0o777)).expect("it is ours"),
            &|| fs::set_permissions(&good.path, fs::Permissions::from_mode(0o400)).expect("it is ours"),
            &|| {
                fs::remove_file(&good.path).expect("it is ours");
                symlink("/bin/true", &good.path).expect("a link");
            },
            &|| {
                fs::remove_dir_all(&home).expect("it is ours");
                fs::write(&home, "").expect("it is ours");
            },
        ];
        for (index, spoil) in spoil.into_iter().enumerate() {
            spoil();
            let again = RuntimeCopy::make(&folders).unwrap_or_else(|error| panic!("{index}: {error}"));
            assert_eq!(again, good);
            assert!(is_good(&home, &good.digest["sha256:".len()..]), "{index}");
        }
        let left: Vec<_> = fs::read_dir(&folders[0])
            .expect("it is there")
            .flatten()
            .collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }

    #[test]
    fn the_next_folder_is_tried_and_each_is_named_with_its_fault() {
        let (outer, path) = folder();
        let open = outer.path().join("open");
        fs::create_dir(&open).expect("the folder is ours");
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).expect("it is ours");
        let copy = RuntimeCopy::make(&[open.join("inner"), path.clone()]).expect("the second will do");
        assert!(copy.path.starts_with(path));
        let error = RuntimeCopy::make(&[open, "/proc/nowhere".into()])
            .expect_err("neither will do")
            .to_string();
        for part in [
            "may be written to by others",
            "/proc/nowhere: it cannot be made",
            "--daemon-runtime-path",
        ] {
            assert!(error.contains(part), "{part:?} in {error}");
        }
    }
}
