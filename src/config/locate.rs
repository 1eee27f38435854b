//! Which file is the config: the one named by `--config`, else the first of the usual names in a folder.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::ConfigError;
use super::lexical;

/// The usual names, in the order in which they are looked for.
pub const FILE_NAMES: [&str; 6] = [
    "rollbridge.js",
    "rollbridge.mjs",
    "rollbridge.cjs",
    "rollbridge.ts",
    "rollbridge.mts",
    "rollbridge.json",
];

/// A config file that may be read again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFile {
    /// Absolute path. Links in it are followed anew at each load.
    pub path: PathBuf,
    /// The path as the user gave it, for messages.
    pub shown: String,
}

impl ConfigFile {
    /// The file at `path`, seen from `cwd`.
    pub fn at(path: &Path, cwd: &Path) -> ConfigFile {
        ConfigFile {
            path: lexical::absolute(cwd, path),
            shown: path.display().to_string(),
        }
    }

    /// The name of that folder; where the path leads up at its end, the name of the folder it leads to.
    pub fn folder_name(&self) -> Option<String> {
        let name = match self.folder().file_name() {
            Some(name) => name.to_owned(),
            None => fs::canonicalize(self.folder()).ok()?.file_name()?.to_owned(),
        };
        Some(name.to_string_lossy().into_owned())
    }

    /// The folder the file is in, where its relative paths start.
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }
}

/// Finds the config for a command run in `cwd`. An explicit path is not required to exist yet; loading will tell.
///
/// # Errors
///
/// None was named and `cwd` holds none.
pub fn locate(explicit: Option<&Path>, cwd: &Path) -> Result<ConfigFile, ConfigError> {
    if let Some(path) = explicit {
        return Ok(ConfigFile::at(path, cwd));
    }
    // A dangling link counts as found: that it leads nowhere is the better message.
    let exists = |name: &str| fs::symlink_metadata(cwd.join(name)).is_ok_and(|found| !found.is_dir());
    match FILE_NAMES.into_iter().find(|name| exists(name)) {
        Some(name) => Ok(ConfigFile::at(Path::new(name), cwd)),
        None => Err(ConfigError::NotLocated {
            folder: cwd.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_wins() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = locate(None, folder.path())
            .expect_err("the folder is empty")
            .to_string();
        assert!(
            error.contains("rollbridge.js") && error.contains("--config"),
            "{error}"
        );
        for name in FILE_NAMES.iter().rev() {
            fs::write(folder.path().join(name), "").expect("a file");
            let found = locate(None, folder.path()).expect("a config");
            assert_eq!(
                (found.shown.as_str(), &found.path),
                (*name, &folder.path().join(name))
            );
            assert_eq!(found.folder(), folder.path());
        }
    }

    #[test]
    fn a_folder_of_that_name_is_no_config_but_a_dangling_link_is() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("rollbridge.js")).expect("a folder");
        std::os::unix::fs::symlink("nowhere", folder.path().join("rollbridge.json")).expect("a link");
        assert_eq!(
            locate(None, folder.path()).expect("a config").shown,
            "rollbridge.json"
        );
    }

    #[test]
    fn an_explicit_path_keeps_its_links() {
        let found =
            locate(Some(Path::new("current/rollbridge.js")), Path::new("/srv/app")).expect("a config");
        assert_eq!(found.path, Path::new("/srv/app/current/rollbridge.js"));
        assert_eq!(found.shown, "current/rollbridge.js");
    }

    #[test]
    fn the_folder_above_has_its_own_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let inner = folder.path().join("app/current");
        fs::create_dir_all(&inner).expect("a folder");
        let file = ConfigFile::at(Path::new("../rollbridge.js"), &inner);
        assert_eq!(file.folder_name().as_deref(), Some("app"));
    }
}
