//! The daemon under a service manager: what it says, and the sockets it is given.

use std::collections::VecDeque;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use serde_json::Value;

use crate::support::{Daemon, PATIENCE, Process, Setup, send, wait_for, wait_until};

/// Hears what daemons tell, and from which process.
struct Ear {
    socket: UnixDatagram,
    heard: VecDeque<(i32, String)>,
}

impl Ear {
    fn at(address: &SocketAddr) -> Ear {
        let socket = UnixDatagram::bind_addr(address).expect("a socket");
        setsockopt(&socket, sockopt::PassCred, &true).expect("Linux tells who sends");
        socket
            .set_read_timeout(Some(Duration::from_millis(20)))
            .expect("a socket");
        Ear {
            socket,
            heard: VecDeque::new(),
        }
    }

    /// With its name for `NOTIFY_SOCKET`.
    fn beside(setup: &Setup) -> (Ear, String) {
        let path = setup.folder().join("notify");
        let ear = Ear::at(&SocketAddr::from_pathname(&path).expect("a path"));
        (ear, path.display().to_string())
    }

    fn listen(&mut self) {
        let mut buffer = [0; 4096];
        let mut space = nix::cmsg_space!(nix::sys::socket::UnixCredentials);
        let mut slices = [std::io::IoSliceMut::new(&mut buffer)];
        let number = std::os::fd::AsRawFd::as_raw_fd(&self.socket);
        let Ok(message) = recvmsg::<()>(number, &mut slices, Some(&mut space), MsgFlags::empty()) else {
            return;
        };
        let mut sender = 0;
        for part in message.cmsgs().into_iter().flatten() {
            if let ControlMessageOwned::ScmCredentials(who) = part {
                sender = who.pid();
            }
        }
        let text = message.iovs().flatten().copied().collect();
        self.heard
            .push_back((sender, String::from_utf8(text).expect("text")));
    }

    /// Waits for a message that has this part, and returns it; those before it are forgotten.
    fn hears(&mut self, part: &str) -> (i32, String) {
        let begun = Instant::now();
        loop {
            while let Some(message) = self.heard.pop_front() {
                if message.1.contains(part) {
                    return message;
                }
            }
            assert!(begun.elapsed() < PATIENCE, "never heard: {part}");
            self.listen();
        }
    }

    /// Whether a message with this part comes within a time.
    fn hears_within(&mut self, part: &str, time: Duration) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < time {
            self.listen();
            if self.heard.drain(..).any(|(_, text)| text.contains(part)) {
                return true;
            }
        }
        false
    }
}

#[test]
fn it_tells_how_it_stands_and_who_it_is() {
    let gate = "while [ ! -e ../gate ]; do sleep 0.01; done";
    let setup = Setup::new().process(Process::web_after(gate));
    let (mut ear, name) = Ear::beside(&setup);
    let daemon = setup.env("NOTIFY_SOCKET", &name).start();
    let (sender, ready) = ear.hears("READY=1");
    assert_eq!(
        sender,
        daemon.pid(),
        "only the process that the service manager knows is heard"
    );
    assert!(ready.contains(&format!("MAINPID={}", daemon.pid())), "{ready}");
    ear.hears("STATUS=no release is active on 127.0.0.1:");
    let mut deploying = daemon.begin_deploy("v1");
    ear.hears("the deploy of v1 is running");
    std::fs::write(daemon.folder().join("releases/gate"), "").expect("the folder is ours");
    deploying.answer().succeeds();
    let (_, status) = ear.hears("STATUS=release v1 is active on 127.0.0.1:");
    assert!(!status.contains("is running") || !ear.hears("STATUS=release v1").1.contains("is running"));
    daemon.kill_engine();
    assert_eq!(ear.hears("STATUS=the engine has ended").0, daemon.pid());
    assert_eq!(ear.hears("READY=1").0, daemon.pid());
    daemon.signal(Signal::SIGTERM);
    let (sender, stopping) = ear.hears("STOPPING=1");
    assert_eq!(sender, daemon.pid());
    assert!(stopping.contains("STATUS=shutting down"), "{stopping}");
    daemon.ends_clean();
}

#[test]
fn ready_is_told_once_the_known_release_is_active() {
    let gate = "while [ ! -e ../gate ]; do sleep 0.01; done";
    let setup = Setup::new().process(Process::web_after(gate));
    let (mut ear, name) = Ear::beside(&setup);
    let folder = setup.folder().join("releases/v1");
    std::fs::create_dir_all(&folder).expect("the folder is ours");
    let path = folder.display().to_string();
    let setup = setup.arguments(["--release-path", &path, "--release-id", "v1", "--revision", "v1"]);
    let daemon = setup.env("NOTIFY_SOCKET", &name).launch();
    wait_until("its web process runs", || !daemon.living().is_empty());
    assert!(!ear.hears_within("READY=1", Duration::from_millis(300)));
    std::fs::write(daemon.folder().join("releases/gate"), "").expect("the folder is ours");
    ear.hears("READY=1");
    assert_eq!(daemon.status()["activeReleaseId"], "v1");
}

#[test]
fn a_socket_without_a_file_is_heard_too() {
    let setup = Setup::with_idle_web();
    let name = format!("rollbridge-test-{}", setup.folder().display());
    let mut ear = Ear::at(&SocketAddr::from_abstract_name(&name).expect("a name"));
    let _daemon = setup.env("NOTIFY_SOCKET", &format!("@{name}")).start();
    ear.hears("READY=1");
}

#[test]
fn a_service_manager_that_has_gone_is_no_reason_to_stop() {
    let setup = Setup::with_web();
    let name = setup.folder().join("nobody").display().to_string();
    let daemon = setup
        .env("NOTIFY_SOCKET", &name)
        .env("WATCHDOG_USEC", "30000")
        .start();
    daemon.deploy("v1").succeeds();
    assert_eq!(daemon.get("/").body, "v1");
}

#[test]
fn it_tells_that_it_serves_only_while_it_does() {
    let setup = Setup::with_web();
    let (mut ear, name) = Ear::beside(&setup);
    let daemon = setup
        .env("NOTIFY_SOCKET", &name)
        .env("WATCHDOG_USEC", "300000")
        .start();
    daemon.deploy("v1").succeeds();
    for _ in 0..3 {
        assert_eq!(ear.hears("WATCHDOG=1").0, daemon.pid());
    }
    assert_eq!(daemon.status()["releases"][0]["connectionCount"], 0);
    let engine = wait_for("there is an engine", || daemon.engine());
    send(engine, Signal::SIGSTOP);
    // What it had said before.
    while ear.hears_within("WATCHDOG=1", Duration::from_millis(150)) {}
    assert!(
        !ear.hears_within("WATCHDOG=1", Duration::from_millis(600)),
        "nobody serves"
    );
    send(engine, Signal::SIGCONT);
    ear.hears("WATCHDOG=1");
    daemon.kill_engine();
    ear.hears("READY=1");
    ear.hears("WATCHDOG=1");
}

#[test]
fn a_watchdog_of_another_process_is_not_fed() {
    let setup = Setup::with_idle_web();
    let (mut ear, name) = Ear::beside(&setup);
    let _daemon = setup
        .env("NOTIFY_SOCKET", &name)
        .env("WATCHDOG_USEC", "30000")
        .env("WATCHDOG_PID", "1")
        .start();
    ear.hears("READY=1");
    assert!(!ear.hears_within("WATCHDOG=1", Duration::from_millis(300)));
}

/// The sockets of a socket unit, as a service manager holds them.
struct Unit {
    proxy: TcpListener,
    control: UnixListener,
}

impl Unit {
    fn of(setup: &Setup) -> Unit {
        Unit {
            proxy: TcpListener::bind(("127.0.0.1", 0)).expect("a port"),
            control: UnixListener::bind(setup.socket()).expect("a socket"),
        }
    }

    fn port(&self) -> u16 {
        self.proxy.local_addr().expect("a socket").port()
    }
}

/// Has the daemon started with these as its descriptors 3 and 4.
fn passing(setup: Setup, first: impl Into<OwnedFd>, second: impl Into<OwnedFd>) -> Daemon {
    let folder = setup.folder().display().to_string();
    let script = format!(
        "exec 3<&0 4<&1 0</dev/null 1>'{folder}/stdout' 2>'{folder}/stderr'; \
         LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=one:two exec \"$@\""
    );
    let setup = setup.by_script(&script).stdin(first.into());
    setup.launch_with(Stdio::from(second.into()), Stdio::null())
}

fn log(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap_or_default()
}

#[test]
fn passed_sockets_are_used_and_stay_the_service_managers() {
    let setup = Setup::with_web();
    let unit = Unit::of(&setup);
    let setup = setup.proxy("port", unit.port());
    // A client from before there was a daemon.
    let mut early = UnixStream::connect(setup.socket()).expect("the unit listens");
    let handle = |unit: &Unit| {
        let proxy: OwnedFd = unit.proxy.try_clone().expect("a handle").into();
        let control: OwnedFd = unit.control.try_clone().expect("a handle").into();
        (proxy, control)
    };
    let (proxy, control) = handle(&unit);
    // Whichever comes first.
    let daemon = passing(setup, control, proxy);
    std::io::Write::write_all(&mut early, b"{\"command\":\"status\"}\n").expect("it is connected");
    let mut answer = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(&early), &mut answer).expect("an answer");
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    assert_eq!(answer["proxy"]["port"], unit.port());
    daemon.deploy("v1").succeeds();
    assert_eq!(daemon.get("/").body, "v1");
    daemon.kill_engine();
    assert_eq!(daemon.get("/").body, "v1");
    let listening = daemon.events_of("control socket listening");
    assert_eq!(listening.len(), 1, "{listening:?}");
    let inherited = daemon.process("v1", "web")["pid"].clone();
    let environment = std::fs::read(format!("/proc/{inherited}/environ")).expect("it lives");
    assert!(!String::from_utf8_lossy(&environment).contains("LISTEN_"));

    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.end().code(), Some(0), "{}", daemon.stderr());
    daemon.leaves_nothing_running();
    // Clients wait for the next daemon, in either queue.
    assert!(daemon.socket().exists());
    drop(UnixStream::connect(daemon.socket()).expect("it is still listened on"));
    drop(TcpStream::connect(("127.0.0.1", unit.port())).expect("it is still listened on"));
}

#[test]
fn a_passed_socket_that_is_of_no_use_is_an_error() {
    let setup = Setup::with_web();
    let unit = Unit::of(&setup);
    let other = setup.spare_port(0);
    let daemon = passing(setup.proxy("port", other), unit.proxy, unit.control);
    assert_eq!(daemon.end().code(), Some(1));
    let said = log(daemon.folder(), "stderr");
    assert!(
        said.contains("passes sockets that the config has no use for: 127.0.0.1:"),
        "{said}"
    );
}

#[test]
fn sockets_for_another_process_are_left_alone() {
    let setup = Setup::with_web().env("LISTEN_PID", "1").env("LISTEN_FDS", "5");
    setup.start().deploy("v1").succeeds();
}
