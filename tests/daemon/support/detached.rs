//! A place where daemons are started by commands and run on their own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::client::{Answer, Client};
use super::living;
use super::patience::wait_for;
use super::ports::PortBlock;
use super::setup::rollbridge;

/// The folder of such daemons; dropping it ends whatever was started there.
#[derive(Debug)]
pub struct Detached {
    folder: TempDir,
    _ports: PortBlock,
}

impl Detached {
    pub(super) fn new(folder: TempDir, ports: PortBlock) -> Detached {
        Detached {
            folder,
            _ports: ports,
        }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn config(&self) -> PathBuf {
        self.folder().join("rollbridge.json")
    }

    pub fn socket(&self) -> PathBuf {
        self.folder().join("tmp/control.sock")
    }

    pub fn log_path(&self) -> PathBuf {
        self.folder().join("log/daemon.log")
    }

    pub fn pid_path(&self) -> PathBuf {
        self.folder().join("run/daemon.pid")
    }

    pub fn runtime_path(&self) -> PathBuf {
        self.folder().join("runtime")
    }

    /// A command with this place's config; whatever it starts is known to be of this test.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(rollbridge(), arguments)
    }

    /// The same, of another copy of the program.
    pub fn command_of(&self, mut program: Command, arguments: &[&str]) -> Command {
        program
            .args(arguments)
            .arg("--config")
            .arg(self.config())
            .env(living::TAG, self.folder());
        program
    }

    /// `--daemon-log-path` and the like, for files of this place.
    pub fn places(&self) -> Vec<String> {
        let option = |name: &str, path: PathBuf| format!("--daemon-{name}-path={}", path.display());
        vec![
            option("log", self.log_path()),
            option("pid", self.pid_path()),
            option("runtime", self.runtime_path()),
        ]
    }

    /// `ensure-daemon` with files of this place.
    pub fn ensuring(&self) -> Command {
        let mut command = self.command(&["ensure-daemon"]);
        command.args(self.places());
        command
    }

    /// Runs that, and returns the status.
    pub fn ensure(&self) -> Value {
        let output = self.ensuring().output().expect("it is run");
        status_of(&output)
    }

    pub fn ask(&self, request: Value) -> Answer {
        Client::connect(&self.socket()).ask(request)
    }

    pub fn status(&self) -> Value {
        self.ask(json!({ "command": "status" })).succeeds()
    }

    /// The pid in the pid file.
    pub fn pid(&self) -> Option<i32> {
        let text = std::fs::read_to_string(self.pid_path()).ok()?;
        text.trim().parse().ok()
    }

    /// The processes that were started here and live.
    pub fn living(&self) -> Vec<i32> {
        living::tagged(&self.folder().display().to_string())
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }
}

/// The status that a command printed.
fn status_of(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON on stdout")
}

impl Drop for Detached {
    #[expect(clippy::print_stderr, reason = "it is shown with the failure of the test")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.log());
        }
        wait_for("the processes of the test are gone", || {
            let left = self.living();
            for pid in &left {
                // Gone between the look and the signal: just as well.
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(*pid), Signal::SIGKILL);
            }
            left.is_empty().then_some(())
        });
    }
}
