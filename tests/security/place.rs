//! A machine with two users: a sticky folder that both can write to, as `/tmp` is, and a folder of the victim's own.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Who runs the daemon.
pub const VICTIM: u32 = 61_001;
/// Another user.
pub const INTRUDER: u32 = 61_002;

/// How many ports the web process of one place may use.
const PORTS: u32 = 10;

static NEXT: AtomicU32 = AtomicU32::new(0);

const PATIENCE: Duration = Duration::from_secs(60);

pub struct Place {
    folder: TempDir,
    daemon: std::cell::RefCell<Option<Child>>,
    first_port: u32,
}

/// Whether there can be two users. Says so when there cannot.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
pub fn has_users() -> bool {
    let is_root = nix::unistd::Uid::effective().is_root();
    if !is_root {
        eprintln!("skipped: only root can act as two other users");
    }
    is_root
}

impl Place {
    /// With a config of the application `shop`, whose control socket is in the shared folder.
    pub fn new() -> Place {
        // Not below TMPDIR, whose folders may be closed to other users.
        let folder = tempfile::Builder::new()
            .prefix("rollbridge-security-")
            .tempdir_in("/tmp")
            .unwrap();
        let place = Place {
            folder,
            daemon: std::cell::RefCell::default(),
            first_port: 20_000 + std::process::id() % 50 * 200 + NEXT.fetch_add(1, SeqCst) % 20 * PORTS,
        };
        place.make(place.folder.path().to_owned(), 0o755, 0);
        place.make(place.shared(""), 0o1777, 0);
        place.make(place.own(""), 0o700, VICTIM);
        place.make(place.own("release"), 0o700, VICTIM);
        // By another process: a child that another test starts meanwhile would have the file open for writing, and while
        // anybody has, it cannot be executed.
        let mut copying = Command::new("cp");
        copying.arg(env!("CARGO_BIN_EXE_rollbridge")).arg(place.program());
        assert!(copying.status().unwrap().success());
        std::fs::set_permissions(place.program(), std::fs::Permissions::from_mode(0o755)).unwrap();
        place.write_config(&json!({}));
        place
    }

    /// Ports for the web process that no other test has.
    pub fn ports(&self) -> Value {
        json!({ "from": self.first_port, "to": self.first_port + PORTS - 1 })
    }

    /// Changes the config's fields at its top.
    pub fn write_config(&self, changes: &Value) {
        let mut config = json!({
            "application": "shop",
            "control": { "path": self.shared("shop.sock") },
            "proxy": { "port": 0 },
            "processes": [{
                "id": "web", "policy": "proxied", "command": "exec sleep 1000", "health": false,
                "port": self.ports(),
            }],
        });
        for (name, value) in changes.as_object().unwrap() {
            config[name] = value.clone();
        }
        std::fs::write(self.own("rollbridge.json"), config.to_string()).unwrap();
        chown(self.own("rollbridge.json"), Some(VICTIM), Some(VICTIM)).unwrap();
    }

    fn make(&self, path: PathBuf, mode: u32, user: u32) {
        std::fs::create_dir_all(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        chown(&path, Some(user), Some(user)).unwrap();
    }

    /// A path in the folder that both can write to.
    pub fn shared(&self, name: &str) -> PathBuf {
        self.folder.path().join("shared").join(name)
    }

    /// A path in the victim's folder.
    pub fn own(&self, name: &str) -> PathBuf {
        self.folder.path().join("own").join(name)
    }

    fn program(&self) -> PathBuf {
        self.folder.path().join("rollbridge")
    }

    /// A file of the victim's that nobody may change.
    pub fn precious(&self) -> PathBuf {
        let path = self.own("precious");
        if !path.exists() {
            std::fs::write(&path, "precious").unwrap();
            chown(&path, Some(VICTIM), Some(VICTIM)).unwrap();
        }
        path
    }

    pub fn is_precious_still(&self) -> bool {
        std::fs::read_to_string(self.precious()).unwrap() == "precious"
    }

    /// A shell command of the intruder's.
    pub fn intrude(&self, script: &str) -> Output {
        self.as_user(INTRUDER, Command::new("/bin/sh").args(["-c", script]))
            .output()
            .unwrap()
    }

    /// The same, going on.
    pub fn keep_intruding(&self, command: &mut Command) -> Child {
        self.as_user(INTRUDER, command).spawn().unwrap()
    }

    /// A command of the victim's.
    pub fn rollbridge(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.program());
        command
            .args(arguments)
            .arg("--config")
            .arg(self.own("rollbridge.json"));
        self.as_user(VICTIM, &mut command);
        command
    }

    pub fn as_user<'a>(&self, user: u32, command: &'a mut Command) -> &'a mut Command {
        let home = if user == VICTIM {
            self.own("")
        } else {
            self.shared("")
        };
        command
            .uid(user)
            .gid(user)
            .current_dir(&home)
            .env("HOME", &home)
            .env_remove("XDG_STATE_HOME")
            .stdin(Stdio::null())
    }

    /// Starts the daemon in the foreground and waits until it listens.
    pub fn start(&self) {
        let mut command = self.rollbridge(&["daemon"]);
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log);
        *self.daemon.borrow_mut() = Some(command.spawn().unwrap());
        wait_until("the daemon listens", || {
            self.rollbridge(&["status"]).output().unwrap().status.success()
        });
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The daemon's pid.
    pub fn pid(&self) -> u32 {
        self.daemon.borrow().as_ref().unwrap().id()
    }

    /// Runs it to its end, which it must come to by itself.
    pub fn fails(&self, arguments: &[&str], words: &str) {
        let mut command = self.rollbridge(arguments);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        wait_until("it ends", || child.try_wait().unwrap().is_some());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{arguments:?} succeeded");
        assert!(said.contains(words), "{words:?} is not in {said}");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Also one that a command has put into the background.
        let _ = self.rollbridge(&["shutdown"]).output();
        if let Some(mut daemon) = self.daemon.borrow_mut().take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "waited for {what} in vain");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn owner_of(path: &Path) -> u32 {
    std::os::unix::fs::MetadataExt::uid(&std::fs::symlink_metadata(path).unwrap())
}
