//! A running daemon, and everything a test asks of it.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::client::{Answer, Client};
use super::living;
use super::patience::wait_for;
use super::ports::PortBlock;
use super::setup::rollbridge;
use super::wire::{Reply, Wire};

/// A daemon; dropping it ends it and whatever it started.
#[derive(Debug)]
pub struct Daemon {
    child: RefCell<Child>,
    folder: TempDir,
    /// Of its command, behind the config.
    arguments: Vec<String>,
    _ports: PortBlock,
}

impl Daemon {
    pub(super) fn new(child: Child, folder: TempDir, arguments: Vec<String>, ports: PortBlock) -> Daemon {
        Daemon {
            child: RefCell::new(child),
            folder,
            arguments,
            _ports: ports,
        }
    }

    /// Kills the daemon as a crash would, and waits until it is gone. What it started goes on.
    pub fn crash(&self) {
        let engine = self.engine().expect("it lives");
        // Both halves at one stroke, for either alone would tidy up after the other.
        self.signal(Signal::SIGSTOP);
        wait_for("the keeper is halted", || {
            living::is_halted(self.pid()).then_some(())
        });
        living::send(engine, Signal::SIGKILL);
        wait_for("the engine is gone", || (!living::is_alive(engine)).then_some(()));
        self.signal(Signal::SIGKILL);
        self.end();
        // The first thread of the engine may be gone before the others are.
        wait_for("nobody listens any more", || {
            std::os::unix::net::UnixStream::connect(self.socket())
                .is_err()
                .then_some(())
        });
    }

    /// Sends a request in whose course an engine comes to this point and fails there, and waits until it has. For a daemon
    /// of [`Setup::mortal`](super::setup::Setup::mortal).
    pub fn fail_at(&self, point: &str, request: Value) -> Client {
        let file = fail_point(self.folder());
        std::fs::write(&file, point).expect("the folder is ours");
        let mut client = self.client();
        client.send(request);
        wait_for(point, || (!file.exists()).then_some(()));
        client
    }

    /// Kills the engine alone, and waits until another one answers.
    pub fn kill_engine(&self) {
        let engine = wait_for("there is an engine", || self.engine());
        living::send(engine, Signal::SIGKILL);
        wait_for("another engine is there", || {
            self.engine().filter(|pid| *pid != engine)
        });
        self.status();
    }

    /// Starts a daemon once more where one has ended, and waits until its control socket answers.
    pub fn start_again(&self) {
        let append = |name: &str| {
            let file = std::fs::File::options()
                .append(true)
                .open(self.folder().join(name));
            file.expect("the first daemon had it")
        };
        let child = rollbridge()
            .args(["daemon", "--config"])
            .arg(self.config())
            .args(&self.arguments)
            .env(living::TAG, self.folder())
            .stdin(std::process::Stdio::null())
            .stdout(append("stdout"))
            .stderr(append("stderr"))
            .spawn()
            .expect("the daemon is started");
        *self.child.borrow_mut() = child;
        self.wait_until_ready();
    }

    /// Starts another daemon with this one's config and further arguments; its output goes to files of its own.
    pub fn start_beside(&self, name: &str, arguments: &[&str]) -> Child {
        let file = |kind: &str| {
            let path = self.folder().join(format!("{kind}-{name}"));
            std::fs::File::create(path).expect("the folder is ours")
        };
        let mut command = self.command(&["daemon"]);
        command
            .args(arguments)
            .env(living::TAG, self.folder())
            .stdin(std::process::Stdio::null())
            .stdout(file("stdout"))
            .stderr(file("stderr"));
        command.spawn().expect("the daemon is started")
    }

    pub fn wait_until_ready(&self) {
        wait_for("the daemon is ready", || {
            let ended = self.child.borrow_mut().try_wait().expect("it is our child");
            assert!(ended.is_none(), "the daemon ended: {}", self.stderr());
            std::os::unix::net::UnixStream::connect(self.socket()).ok()
        });
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.borrow().id()).expect("a pid fits its own type")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn config(&self) -> PathBuf {
        self.folder().join("rollbridge.json")
    }

    /// The folder that holds the control socket, and whatever else the daemon makes.
    pub fn own_folder(&self) -> PathBuf {
        self.folder().join("tmp")
    }

    pub fn socket(&self) -> PathBuf {
        self.own_folder().join("control.sock")
    }

    pub fn client(&self) -> Client {
        Client::connect(&self.socket())
    }

    pub fn ask(&self, request: Value) -> Answer {
        self.client().ask(request)
    }

    /// How many clients of the control socket the daemon has.
    pub fn sessions(&self) -> usize {
        let sockets = std::fs::read_to_string("/proc/net/unix").expect("a mounted /proc");
        let path = self.socket().display().to_string();
        // One of them listens.
        sockets.lines().filter(|line| line.ends_with(&path)).count() - 1
    }

    /// The folder of a release; it is made if it is not there.
    pub fn release_folder(&self, id: &str) -> PathBuf {
        let folder = self.folder().join("releases").join(id);
        std::fs::create_dir_all(&folder).expect("a folder for the release");
        folder
    }

    /// The request that deploys release `id` from a folder of the same name.
    pub fn deploy_request(&self, id: &str) -> Value {
        json!({ "command": "deploy", "releasePath": self.release_folder(id), "releaseId": id })
    }

    pub fn deploy(&self, id: &str) -> Answer {
        self.ask(self.deploy_request(id))
    }

    /// Begins a deploy whose answer the returned client gets.
    pub fn begin_deploy(&self, id: &str) -> Client {
        let mut client = self.client();
        client.send(self.deploy_request(id));
        client
    }

    pub fn stop(&self) -> Answer {
        self.ask(json!({ "command": "stop" }))
    }

    pub fn stop_release(&self, id: &str) -> Answer {
        self.ask(json!({ "command": "stop", "releaseId": id }))
    }

    pub fn status(&self) -> Value {
        self.ask(json!({ "command": "status" })).succeeds()
    }

    /// The newest instance of a release, as status tells of it; null if it is not known.
    pub fn release(&self, id: &str) -> Value {
        let status = self.status();
        let releases = status["releases"].as_array().expect("a list");
        let newest = releases.iter().rev().find(|release| release["releaseId"] == id);
        newest.cloned().unwrap_or_default()
    }

    /// A process of a release.
    pub fn process(&self, release: &str, id: &str) -> Value {
        by_id(&self.release(release)["processes"], id).clone()
    }

    pub fn service(&self, id: &str) -> Value {
        by_id(&self.status()["services"], id)["process"].clone()
    }

    pub fn singleton(&self, id: &str) -> Value {
        by_id(&self.status()["singletons"], id)["process"].clone()
    }

    pub fn proxy_address(&self) -> SocketAddr {
        let port = self.status()["proxy"]["port"].as_u64().expect("a port");
        SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).expect("a port")))
    }

    /// A connection to the proxy.
    pub fn wire(&self) -> Wire {
        Wire::connect(self.proxy_address())
    }

    /// One request through the proxy on a connection of its own.
    pub fn get(&self, path: &str) -> Reply {
        self.wire().get(path)
    }

    /// Every event so far, as the control socket tells them.
    pub fn events(&self) -> Vec<Value> {
        let answer = self.ask(json!({ "command": "events" })).succeeds();
        answer["events"].as_array().expect("a list").clone()
    }

    /// The data of every event with this message.
    pub fn events_of(&self, message: &str) -> Vec<Value> {
        let events = self.events().into_iter();
        let wanted = events.filter(|event| event["message"] == message);
        wanted.map(|event| event["data"].clone()).collect()
    }

    /// Every event so far, as the daemon printed them.
    pub fn log(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder().join("stdout")).unwrap_or_default();
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        whole
            .map(|line| serde_json::from_str(line).expect("a line of JSON"))
            .collect()
    }

    pub fn stderr(&self) -> String {
        std::fs::read_to_string(self.folder().join("stderr")).unwrap_or_default()
    }

    /// The processes that the daemon started, directly or not, and that live; its own two do not count.
    pub fn living(&self) -> Vec<i32> {
        let before = self.engine();
        let mut pids = self.tagged();
        // An engine may have come or gone meanwhile.
        let engines = [before, self.engine()];
        pids.retain(|pid| *pid != self.pid() && !engines.contains(&Some(*pid)));
        pids
    }

    /// The pid of the engine, if it lives: the child of the daemon that is the daemon's own program.
    pub fn engine(&self) -> Option<i32> {
        let program = |pid: i32| std::fs::read_link(format!("/proc/{pid}/exe")).ok();
        let own = program(self.pid())?;
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.pid())).ok()?;
        let mut children = children
            .split_ascii_whitespace()
            .filter_map(|pid| pid.parse().ok());
        children.find(|pid| program(*pid).as_ref() == Some(&own))
    }

    /// Asserts that nothing runs of what the daemon started.
    pub fn leaves_nothing_running(&self) {
        let left: Vec<String> = self.living().into_iter().map(living::describe).collect();
        assert!(left.is_empty(), "still running: {left:#?}");
    }

    pub fn signal(&self, signal: Signal) {
        living::send(self.pid(), signal);
    }

    /// Waits for the daemon's end.
    pub fn end(&self) -> ExitStatus {
        wait_for("the daemon ends", || {
            self.child.borrow_mut().try_wait().expect("it is our child")
        })
    }

    /// Asserts that the daemon ends well, and that nothing is left of it: no process, no file.
    pub fn ends_clean(&self) {
        let status = self.end();
        assert_eq!(status.code(), Some(0), "{status} {}", self.stderr());
        self.leaves_nothing_running();
        let files: Vec<_> = std::fs::read_dir(self.own_folder())
            .expect("the folder stays")
            .flatten()
            .map(|entry| entry.file_name())
            .collect();
        assert!(files.is_empty(), "left behind: {files:?}");
    }

    /// Runs a command of the command line with this daemon's config.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the command is run")
    }

    /// The same, not run yet.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = rollbridge();
        command.args(arguments).arg("--config").arg(self.config());
        command
    }

    fn tagged(&self) -> Vec<i32> {
        living::tagged(&self.folder().display().to_string())
    }
}

/// The file that names the point at which an engine fails.
pub(super) fn fail_point(folder: &Path) -> PathBuf {
    folder.join("fail-point")
}

impl Drop for Daemon {
    #[expect(clippy::print_stderr, reason = "it is shown with the failure of the test")]
    fn drop(&mut self) {
        let child = self.child.get_mut();
        // It may have ended already.
        let _ = child.kill();
        let _ = child.wait();
        if std::thread::panicking() {
            let stdout = std::fs::read_to_string(self.folder().join("stdout")).unwrap_or_default();
            eprintln!("the daemon's log:\n{stdout}{}", self.stderr());
        }
        wait_for("the processes of the test are gone", || {
            let left = self.tagged();
            for pid in &left {
                // Gone between the look and the signal: just as well.
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(*pid), Signal::SIGKILL);
            }
            left.is_empty().then_some(())
        });
    }
}

fn by_id<'a>(list: &'a Value, id: &str) -> &'a Value {
    let list = list.as_array().expect("a list");
    let found = list.iter().find(|entry| entry["id"] == id);
    found.unwrap_or_else(|| panic!("{id} among {list:#?}"))
}
