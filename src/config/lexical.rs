//! Paths made absolute by their text alone: no link is followed, so `current/rollbridge.js` stays what it says.

use std::path::{Component, Path, PathBuf};

/// `path` as seen from `folder`, without `.` and `..`.
pub fn absolute(folder: &Path, path: &Path) -> PathBuf {
    let mut absolute = PathBuf::new();
    for component in folder.join(path).components() {
        match component {
            Component::CurDir => {}
            // At the root `..` leads nowhere, as it does for the kernel.
            Component::ParentDir => {
                absolute.pop();
            }
            other => absolute.push(other),
        }
    }
    absolute
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_by_the_text() {
        let cases = [
            ("/srv/app", "rollbridge.js", "/srv/app/rollbridge.js"),
            ("/srv/app", "./current/../x//y", "/srv/app/x/y"),
            ("/srv/app", "/etc/rollbridge.js", "/etc/rollbridge.js"),
            ("/srv/app", "../../../../x", "/x"),
            ("/srv/app", "", "/srv/app"),
        ];
        for (folder, path, expected) in cases {
            assert_eq!(absolute(Path::new(folder), Path::new(path)), Path::new(expected));
        }
    }
}
