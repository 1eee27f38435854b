//! Paths made absolute by their text alone: no link is followed, so `current/rollbridge.js` stays what it says.

use std::path::{Component, Path, PathBuf};

/// `path` as seen from `folder`, without `.`. What `..` means depends on links, so it is left to the system.
pub fn absolute(folder: &Path, path: &Path) -> PathBuf {
    folder
        .join(path)
        .components()
        .filter(|component| *component != Component::CurDir)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_by_the_text() {
        let cases = [
            ("/srv/app", "rollbridge.js", "/srv/app/rollbridge.js"),
            ("/srv/app", "./current/../x//y", "/srv/app/current/../x/y"),
            ("/srv/app", "/etc/rollbridge.js", "/etc/rollbridge.js"),
            ("/srv/app", "../x", "/srv/app/../x"),
            ("/srv/app", "", "/srv/app"),
        ];
        for (folder, path, expected) in cases {
            let found = absolute(Path::new(folder), Path::new(path));
            assert_eq!(found.as_os_str(), expected, "{path}");
        }
    }
}
