//! Folders that nobody else can change anything in: what is started from there is what was put there.

use std::fs::{self, DirBuilder, Metadata};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::unistd::Uid;

use crate::error::plain;

/// The folder at an absolute path, made if it is not there, with all links on the way followed: from here on the real path
/// counts, and every folder of it must belong to this user or to root and be closed to others.
///
/// # Errors
///
/// It is not like that; the text says what is wrong, and where.
pub fn private_folder(path: &Path) -> Result<PathBuf, String> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| format!("it cannot be made: {}", plain(&error)))?;
    let real = fs::canonicalize(path).map_err(|error| plain(&error))?;
    for part in real.ancestors() {
        let found =
            fs::symlink_metadata(part).map_err(|error| format!("{}: {}", part.display(), plain(&error)))?;
        if let Some(fault) = fault_of(&found) {
            return Err(format!("{} {fault}", part.display()));
        }
    }
    let found = fs::symlink_metadata(&real).map_err(|error| plain(&error))?;
    if found.mode() & 0o022 != 0 {
        return Err("it may be written to by others".to_owned());
    }
    Ok(real)
}

fn fault_of(found: &Metadata) -> Option<String> {
    let is_ours = [0, Uid::effective().as_raw()].contains(&found.uid());
    // In a sticky folder nobody can move what belongs to others.
    let is_open = found.mode() & 0o022 != 0 && found.mode() & 0o1000 == 0;
    match () {
        () if !found.is_dir() => Some("is not a folder".to_owned()),
        () if !is_ours => Some(format!("belongs to user {}", found.uid())),
        () if is_open => Some("may be written to by others".to_owned()),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    #[test]
    fn every_folder_on_the_way_counts() {
        let folder = tempfile::tempdir().expect("a folder");
        let base = fs::canonicalize(folder.path()).expect("it is there");
        let place = |name: &str| base.join(name);
        let good = private_folder(&place("a/b")).expect("both can be made");
        assert_eq!(good, place("a/b"));
        assert_eq!(fs::metadata(&good).expect("it is there").mode() & 0o777, 0o700);

        symlink(place("a"), place("link")).expect("a link");
        assert_eq!(private_folder(&place("link/b")), Ok(place("a/b")));

        for name in ["open", "a/open"] {
            fs::create_dir(place(name)).expect("the folder is ours");
            fs::set_permissions(place(name), fs::Permissions::from_mode(0o777)).expect("it is ours");
            let error = private_folder(&place(name).join("inner")).expect_err(name);
            assert!(
                error.contains(&format!("{name} may be written to by others")),
                "{error}"
            );
        }
        fs::set_permissions(place("open"), fs::Permissions::from_mode(0o1777)).expect("it is ours");
        assert!(private_folder(&place("open/inner")).is_ok(), "as /tmp is");
        assert_eq!(
            private_folder(&place("open")),
            Err("it may be written to by others".to_owned())
        );

        fs::write(place("file"), "").expect("the folder is ours");
        assert!(private_folder(&place("file")).is_err());
        if Uid::effective().is_root() {
            chown(place("a"), Some(12345), None).expect("root may");
            let error = private_folder(&place("a/b")).expect_err("it is a stranger's");
            assert!(error.ends_with("a belongs to user 12345"), "{error}");
        }
    }
}
