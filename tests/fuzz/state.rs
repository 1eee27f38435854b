//! Whatever stands in a state file, it is believed or refused, and names no process that is not there.

use std::os::unix::fs::PermissionsExt;

use rollbridge::daemon::state::{Reading, StateFile};

use crate::run::fuzz;

#[test]
fn state() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.json");
    let file = StateFile::new(&path, "app");
    fuzz("state", |text, _| {
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        match file.read() {
            Reading::Missing => Err("it is there".to_owned()),
            Reading::Refused(error) => match error.to_string().is_empty() {
                true => Err("it is refused without a word".to_owned()),
                false => Ok(()),
            },
            Reading::Found(remains) => {
                // A pid of 0, 1 or below would mean a group, everybody, or the system itself.
                let strange = remains
                    .survivors()
                    .into_iter()
                    .find(|record| record.process.pid <= 1);
                strange.map_or(Ok(()), |record| Err(format!("it would be signalled: {record:?}")))
            }
        }
    });
}
