//! The state file where it has a hard time: a full disk, another user's file. The rest is in `tests/daemon/state_file.rs`.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::stage::{Setup, wait_until};

/// Mounting and giving files away is for root.
fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}

/// A small file system in memory; gone when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// None where the machine allows no mounts, as in a container.
    fn mount(folder: &Path) -> Option<SmallDisk> {
        let mut command = Command::new("mount");
        let status = command
            .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
            .arg(folder)
            .status();
        status
            .is_ok_and(|status| status.success())
            .then(|| SmallDisk(folder.to_owned()))
    }

    fn fill(&self) {
        use std::io::Write;
        let mut file = std::fs::File::create(self.0.join("ballast")).expect("it is writable");
        while file.write_all(&[0; 4096]).is_ok() {}
    }

    fn make_room(&self) {
        std::fs::remove_file(self.0.join("ballast")).expect("it is there");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, so that nobody who still looks at it is in the way.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn a_full_disk_is_told_once_and_stops_nothing() {
    let setup = Setup::with_web().set("statePath", "disk/state.json");
    let folder = setup.folder().join("disk");
    std::fs::create_dir(&folder).expect("the folder is ours");
    let Some(disk) = is_root().then(|| SmallDisk::mount(&folder)).flatten() else {
        return;
    };
    disk.fill();
    let daemon = setup.start();
    daemon.deploy("v1").succeeds();
    wait_until("it is told", || {
        !daemon.events_of("state file not written").is_empty()
    });
    daemon.deploy("v2").succeeds();
    assert_eq!(daemon.get("/").body, "v2");
    let told = daemon.events_of("state file not written");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0]["reason"].to_string().contains("No space left on device"),
        "{told:?}"
    );
    // What is half written never takes the place of what is whole.
    let path = folder.join("state.json");
    let text = read(&path);
    assert!(
        text.is_empty() || serde_json::from_str::<Value>(&text).is_ok(),
        "{text}"
    );
    disk.make_room();
    daemon.deploy("v3").succeeds();
    wait_until("the state is on disk", || read(&path).contains("v3"));
    drop(daemon);
}

#[test]
fn another_users_file_names_no_process_of_ours() {
    if !is_root() {
        return;
    }
    let daemon = Setup::with_idle_web().set("statePath", "tmp/state.json").start();
    daemon.deploy("v1").succeeds();
    let web = crate::stage::pid(&daemon.process("v1", "web"));
    let path = daemon.own_folder().join("state.json");
    wait_until("the state is on disk", || read(&path).contains("deploy finished"));
    daemon.crash();
    let orphans = || {
        let output = daemon.run(&["recover", "--json"]);
        let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        found["orphans"].as_array().expect("a list").len()
    };
    assert_eq!(orphans(), 1);
    // Whoever can write the file must not have processes stopped that are not theirs.
    let nobody = 65534;
    chown(&path, Some(nobody), Some(nobody)).expect("root may");
    assert_eq!(orphans(), 0);
    daemon.run(&["recover", "--force"]);
    assert!(crate::stage::is_alive(web));
}

#[test]
fn recover_and_doctor_say_what_is_wrong_with_a_file() {
    let daemon = Setup::with_idle_web().set("statePath", "tmp/state.json").start();
    daemon
        .ask(serde_json::json!({ "command": "shutdown" }))
        .succeeds();
    daemon.end();
    let path = daemon.own_folder().join("state.json");
    std::fs::write(&path, "{\"format\":\"rollbridge-st").expect("the folder is ours");
    let output = daemon.run(&["recover"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.starts_with("warning: ") && said.contains("damaged"),
        "{said}"
    );
    let output = daemon.run(&["doctor"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.contains("✗ state path: ") && said.contains("damaged"),
        "{said}"
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(path.exists(), "neither of them touches it");
}
