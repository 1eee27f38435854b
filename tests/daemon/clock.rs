//! Somebody sets the system's clock: nothing is hurried, and nothing waits for the time that was taken back.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::{Daemon, Process, Setup, pid, send, wait_until};

const DAY: i64 = 24 * 60 * 60;

/// The wall clock of one daemon and all its processes.
struct WallClock(File);

impl WallClock {
    /// Starts the daemon with a clock of its own.
    fn start(setup: Setup) -> (Daemon, WallClock) {
        let offset = setup.folder().join("clock-offset");
        let library = library(&setup);
        let file = File::create(&offset).expect("the folder is ours");
        let clock = WallClock(file);
        clock.shift(0);
        let setup = setup.env("LD_PRELOAD", &library.display().to_string());
        let setup = setup.env("WALL_CLOCK_OFFSET", &offset.display().to_string());
        (setup.start(), clock)
    }

    /// It shows so many seconds more than the system's.
    fn shift(&self, seconds: i64) {
        self.0
            .write_all_at(&seconds.to_ne_bytes(), 0)
            .expect("it is a file");
    }
}

/// What makes the clock, from its source.
fn library(setup: &Setup) -> PathBuf {
    let library = setup.folder().join("clock.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/clock.c");
    let mut compiler = Command::new("cc");
    compiler
        .args(["-shared", "-fPIC", "-O2", "-o"])
        .arg(&library)
        .arg(source);
    let status = compiler.status().expect("the C compiler that Rust links with");
    assert!(status.success(), "{source} does not compile");
    library
}

/// The day of the newest event.
fn day(daemon: &Daemon) -> String {
    let newest = daemon.log().pop().expect("an event");
    newest["at"].as_str().expect("a time")[..10].to_owned()
}

#[test]
fn a_drain_takes_its_time_in_one_engine_and_in_the_next() {
    const DRAIN: Duration = Duration::from_secs(3);
    let (daemon, clock) = WallClock::start(Setup::with_web().proxy("drainTimeoutMs", 3_000));
    daemon.deploy("v1").succeeds();
    let mut tunnels = Vec::new();
    for (number, shift) in [DAY, -DAY, 0].into_iter().enumerate() {
        let mut tunnel = daemon.wire();
        tunnel.upgrade();
        tunnels.push(tunnel);
        let before = day(&daemon);
        let begun = Instant::now();
        daemon.deploy(&format!("v{}", number + 2)).succeeds();
        clock.shift(shift);
        daemon.ask(json!({ "command": "upgrade" })).succeeds();
        let old = format!("v{}", number + 1);
        // On a busy machine all that may take so long that its time is over.
        let drains = daemon.state(&old) == "draining" && tunnels[number].echoes("still there");
        assert!(drains || begun.elapsed() >= DRAIN, "it was not hurried");
        wait_until("it is another day", || day(&daemon) != before);
        daemon.wait_for_state(&old, "stopped");
        assert!(tunnels[number].is_cut());
    }
    for drained in daemon.events_of("release drained") {
        let elapsed = drained["elapsedMs"].as_u64().expect("a number");
        assert!((3_000..30_000).contains(&elapsed), "{drained}");
    }
    daemon.signal(Signal::SIGTERM);
    daemon.ends_clean();
}

#[test]
fn a_restart_waits_its_time_in_the_next_engine_too() {
    const DELAY: Duration = Duration::from_secs(2);
    let companion = Process::companion("worker").set("restartDelayMs", 2_000);
    let (daemon, clock) = WallClock::start(Setup::with_idle_web().process(companion));
    daemon.deploy("v1").succeeds();
    for shift in [-DAY, 0] {
        let before = pid(&daemon.process("v1", "worker"));
        let begun = Instant::now();
        send(before, Signal::SIGKILL);
        wait_until("it waits for its restart", || {
            daemon.process("v1", "worker")["state"] == "backoff"
        });
        clock.shift(shift);
        daemon.kill_engine();
        let waits = daemon.process("v1", "worker")["state"] == "backoff";
        assert!(waits || begun.elapsed() >= DELAY, "it was not hurried");
        wait_until("it runs again", || {
            daemon.process_is_up("v1", "worker") && pid(&daemon.process("v1", "worker")) != before
        });
    }
    daemon.signal(Signal::SIGTERM);
    daemon.ends_clean();
}
