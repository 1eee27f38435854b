//! Whether the control socket's folder is safe against other users.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::issue::Issue;

const OTHERS_MAY_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// Warns when anybody could replace the socket: its folder is writable for others and not sticky, as /tmp is.
pub fn socket_folder_warning(socket: &Path) -> Option<Issue> {
    let folder = socket.parent()?;
    // A folder that cannot be examined is a matter for binding the socket.
    let mode = std::fs::metadata(folder).ok()?.permissions().mode();
    let is_open = mode & OTHERS_MAY_WRITE != 0 && mode & STICKY == 0;
    is_open.then(|| Issue {
        message: format!("control.path is in {}, where any user can replace the socket", folder.display()),
        fix: format!(
            "Use a folder of your own, for example control: {{path: \"/run/ticket-server/rollbridge.sock\"}}, or run \
             chmod o-w {}.",
            folder.display()
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn looks_at_the_permissions() {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("control.sock");
        for (mode, is_warned) in [(0o755, false), (0o775, false), (0o777, true), (0o1777, false)] {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).expect("own folder");
            assert_eq!(socket_folder_warning(&socket).is_some(), is_warned, "{mode:o}");
        }
        assert_eq!(socket_folder_warning(Path::new("/no/such/folder/x.sock")), None);
    }
}
