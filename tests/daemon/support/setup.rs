//! What a daemon is started from: a folder, a config, an environment.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::daemon::Daemon;
use super::detached::Detached;
use super::ports::{PortBlock, SIZE};
use super::process::Process;

/// A daemon in the making.
#[derive(Debug)]
pub struct Setup {
    folder: TempDir,
    config: Value,
    environment: Vec<(String, String)>,
    arguments: Vec<String>,
    ports: PortBlock,
    program: PathBuf,
    /// What starts the daemon, if it is not the test: the daemon's command is `"$@"`.
    script: Option<String>,
    stdin: Stdio,
}

impl Setup {
    /// No process yet; the proxy takes any free port.
    pub fn new() -> Setup {
        let folder = tempfile::Builder::new()
            .prefix("daemon-test-")
            .tempdir()
            .expect("a temporary folder");
        std::fs::create_dir(folder.path().join("tmp")).expect("a folder for the daemon's own files");
        Setup {
            folder,
            config: json!({
                "application": "shop",
                "control": { "path": "tmp/control.sock" },
                "proxy": { "port": 0 },
                "processes": [],
            }),
            environment: Vec::new(),
            arguments: Vec::new(),
            ports: PortBlock::claim(),
            program: env!("CARGO_BIN_EXE_rollbridge").into(),
            script: None,
            stdin: Stdio::null(),
        }
    }

    /// A web process that serves HTTP.
    pub fn with_web() -> Setup {
        Setup::new().process(Process::web())
    }

    /// A web process that only runs.
    pub fn with_idle_web() -> Setup {
        Setup::new().process(Process::idle_web())
    }

    /// One more process. A proxied one gets the setup's port range unless it has a port.
    pub fn process(mut self, process: Process) -> Setup {
        let Process(mut definition) = process;
        if definition["policy"] == "proxied" && definition["port"].is_null() {
            definition["port"] = json!({ "from": self.port(0), "to": self.port(SIZE - 5) });
        }
        self.config["processes"]
            .as_array_mut()
            .expect("a list")
            .push(definition);
        self
    }

    pub fn proxy(mut self, field: &str, value: impl Into<Value>) -> Setup {
        self.config["proxy"][field] = value.into();
        self
    }

    pub fn control(mut self, field: &str, value: impl Into<Value>) -> Setup {
        self.config["control"][field] = value.into();
        self
    }

    pub fn set(mut self, field: &str, value: impl Into<Value>) -> Setup {
        self.config[field] = value.into();
        self
    }

    /// A variable of the daemon's environment.
    pub fn env(mut self, name: &str, value: &str) -> Setup {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Further arguments of the daemon.
    pub fn arguments<'a>(mut self, arguments: impl IntoIterator<Item = &'a str>) -> Setup {
        self.arguments.extend(arguments.into_iter().map(str::to_owned));
        self
    }

    /// The engine comes to grief at a point that [`Daemon::fail_at`] names.
    pub fn mortal(self) -> Setup {
        let file = super::daemon::fail_point(self.folder()).display().to_string();
        self.env("ROLLBRIDGE_TEST_FAIL_POINT_FILE", &file)
    }

    /// The daemon is started by somebody who ignores this signal, as `nohup` does.
    pub fn ignoring(self, signal: &'static str) -> Setup {
        self.by_script(&format!("trap '' {signal}; exec \"$@\""))
    }

    /// The daemon is started by this script, which has its command as `"$@"`.
    pub fn by_script(mut self, script: &str) -> Setup {
        self.script = Some(script.to_owned());
        self
    }

    /// The descriptor that a script finds as its standard input.
    pub fn stdin(mut self, descriptor: impl Into<Stdio>) -> Setup {
        self.stdin = descriptor.into();
        self
    }

    /// The daemon is started from this file.
    pub fn started_by(mut self, program: &Path) -> Setup {
        self.program = program.to_owned();
        self
    }

    /// The daemon sees a disk of 64 KiB in this folder of the setup's; see [`super::can_mount`].
    pub fn small_disk(self, folder: &'static str) -> Setup {
        let place = self.folder().join(folder);
        std::fs::create_dir(&place).expect("a folder for the disk");
        let mount = "mount -t tmpfs -o size=64k,mode=700 none \"$0\" && exec \"$@\"";
        let place = place.display();
        self.by_script(&format!("exec unshare --mount sh -c '{mount}' '{place}' \"$@\""))
    }

    /// One of the setup's own ports. The last four are never given to the web process.
    pub fn port(&self, index: u16) -> u16 {
        self.ports.port(index)
    }

    /// A port that the web process's range leaves free.
    pub fn spare_port(&self, index: u16) -> u16 {
        self.port(SIZE - 4 + index)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where the control socket will be.
    pub fn socket(&self) -> PathBuf {
        self.folder().join("tmp/control.sock")
    }

    /// Only the folder with the config: whatever runs there is started by commands.
    #[allow(dead_code, reason = "for the tests of the command line")]
    pub fn detached(self) -> Detached {
        self.write_config();
        Detached::new(self.folder, self.ports)
    }

    fn write_config(&self) {
        let path = self.folder().join("rollbridge.json");
        std::fs::write(&path, self.config.to_string()).expect("the config is written");
    }

    /// Starts the daemon and waits until its control socket answers.
    pub fn start(self) -> Daemon {
        let daemon = self.launch();
        daemon.wait_until_ready();
        daemon
    }

    /// Starts the daemon without waiting for anything.
    pub fn launch(self) -> Daemon {
        let file = |name: &str| File::create(self.folder().join(name)).expect("a file in the test's folder");
        let (stdout, stderr) = (file("stdout"), file("stderr"));
        self.launch_with(stdout.into(), stderr.into())
    }

    /// The same with other streams; [`Daemon::log`] then has nothing to read.
    pub fn launch_with(self, stdout: Stdio, stderr: Stdio) -> Daemon {
        let path = self.folder().join("rollbridge.json");
        self.write_config();
        let tag = format!("{}", self.folder().display());
        let mut command = match &self.script {
            None => Command::new(&self.program),
            Some(script) => {
                let mut shell = Command::new("/bin/sh");
                shell.args(["-c", script, "sh"]).arg(&self.program);
                shell
            }
        };
        let child = command
            .args(["daemon", "--config"])
            .arg(&path)
            .args(&self.arguments)
            .env(super::living::TAG, &tag)
            .env("TMPDIR", self.folder().join("tmp"))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(self.stdin)
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .expect("the daemon is started");
        Daemon::new(child, self.folder, self.arguments, self.ports)
    }
}

/// The binary under test.
pub fn rollbridge() -> Command {
    Command::new(env!("CARGO_BIN_EXE_rollbridge"))
}
