//! A starter config for an application that has none.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::config::FILE_NAMES;
use crate::error::plain;

/// The file that is written where no name is given: it is a module whatever `package.json` says.
const NAME: &str = "rollbridge.mjs";

const MODULE: &str = include_str!("init/starter.mjs");
const JSON: &str = include_str!("init/starter.json");

/// Why nothing was written.
#[derive(Debug, Error)]
pub enum InitError {
    /// There is a config.
    #[error("{} exists and is left as it is; edit it, or name another file with --config", .0.display())]
    Exists(PathBuf),
    /// The name says nothing about the kind of file.
    #[error("{} has no extension of a config; use one of .mjs, .js, .cjs, .mts, .ts and .json", .0.display())]
    UnknownKind(PathBuf),
    /// The system refused.
    #[error("cannot write {}: {}", .path.display(), plain(.source))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Writes a starter config to `path`, or into `folder` under its usual name; returns where it is. Never writes over a file.
pub fn init(path: Option<&Path>, folder: &Path) -> Result<PathBuf, InitError> {
    let path = match path {
        Some(path) => folder.join(path),
        None => {
            let found = FILE_NAMES.iter().map(|name| folder.join(name));
            let mut found = found.filter(|path| path.symlink_metadata().is_ok());
            if let Some(path) = found.next() {
                return Err(InitError::Exists(path));
            }
            folder.join(NAME)
        }
    };
    let text = text_for(&path).ok_or_else(|| InitError::UnknownKind(path.clone()))?;
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::AlreadyExists => InitError::Exists(path.clone()),
        _ => InitError::Io {
            path: path.clone(),
            source,
        },
    };
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .map_err(failed)?;
    if let Err(source) = file.write_all(text.as_bytes()) {
        // Half a config would be in the way of the next try.
        let _ = std::fs::remove_file(&path);
        return Err(failed(source));
    }
    Ok(path)
}

fn text_for(path: &Path) -> Option<String> {
    let common = || MODULE.replacen("export default {", "module.exports = {", 1);
    match path.extension()?.to_str()? {
        "json" => Some(JSON.to_owned()),
        "mjs" | "mts" | "ts" => Some(MODULE.to_owned()),
        "cjs" => Some(common()),
        "js" => Some(match is_module_package(path) {
            true => MODULE.to_owned(),
            false => common(),
        }),
        _ => None,
    }
}

/// Whether the nearest `package.json` says that `.js` files are ES modules.
fn is_module_package(path: &Path) -> bool {
    let manifests = path.ancestors().skip(1).map(|folder| folder.join("package.json"));
    let manifest = manifests
        .into_iter()
        .find_map(|path| std::fs::read_to_string(path).ok());
    manifest.is_some_and(|text| {
        let squeezed: String = text.split_whitespace().collect();
        squeezed.contains("\"type\":\"module\"")
    })
}
