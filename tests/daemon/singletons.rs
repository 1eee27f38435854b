//! Singletons: never two at once, however the old one takes its leave.

use serde_json::{Value, json};

use crate::support::{Daemon, Process, Setup, has_said, pid, send, wait_until};

/// Takes the lock file, which only one can make. One that finds the holder of the lock alive leaves word of it.
const TAKE_THE_LOCK: &str = "set -C; while ! (echo $$ > ../lock) 2> /dev/null; do \
                             if kill -0 $(cat ../lock); then touch ../overlap; fi; rm -f ../lock; done; echo ready; ";

const WORK: &str = "while :; do sleep 0.02; done";

/// A singleton that holds the lock and then does `what`.
fn exclusive(what: &str) -> Process {
    Process::singleton("scheduler").running(&format!("{TAKE_THE_LOCK}{what}"))
}

fn holds_the_lock(daemon: &Daemon, release: &str) -> bool {
    let scheduler = daemon.singleton("scheduler");
    // What it said before its last start still stands in its log.
    let holder = std::fs::read_to_string(daemon.folder().join("releases/lock")).unwrap_or_default();
    scheduler["releaseId"] == release
        && has_said(&scheduler, "ready")
        && scheduler["pid"]
            .as_i64()
            .is_some_and(|pid| holder.trim() == pid.to_string())
}

fn no_two_ever_met(daemon: &Daemon) {
    assert!(!daemon.folder().join("releases/overlap").exists());
}

#[test]
fn the_old_one_is_gone_before_the_new_one_comes() {
    let table = [
        ("stops", exclusive(WORK)),
        (
            "is slow to stop",
            exclusive(&format!("trap 'sleep 0.3; exit' TERM; {WORK}")).set("gracefulStopMs", 20_000),
        ),
        (
            "ignores its signal",
            exclusive(&format!("trap '' TERM; {WORK}")).set("gracefulStopMs", 100),
        ),
        (
            "crashes while it is being replaced",
            exclusive(&format!("trap 'kill -KILL $$' TERM; {WORK}")).set("restartDelayMs", 0),
        ),
        (
            "is killed while it is quieted",
            exclusive(WORK)
                .set(
                    "lifecycle",
                    json!({ "quietCommand": "kill -KILL $ROLLBRIDGE_PID; sleep 0.2" }),
                )
                .set("restartDelayMs", 0),
        ),
        (
            "leaves a child behind",
            exclusive("(trap '' TERM; while :; do sleep 0.02; done) & wait").set("gracefulStopMs", 200),
        ),
    ];
    for (what, scheduler) in table {
        gives_way_to_the_next(what, scheduler);
    }
}

#[test]
#[cfg_attr(
    feature = "portable",
    ignore = "only Linux tells whose a process in a session of its own is"
)]
fn the_old_one_is_gone_with_what_left_its_session() {
    let scheduler = exclusive("setsid sh -c \"trap '' TERM; while :; do sleep 0.02; done\" & wait");
    gives_way_to_the_next(
        "leaves a child behind in a session of its own",
        scheduler.set("gracefulStopMs", 200),
    );
}

fn gives_way_to_the_next(what: &str, scheduler: Process) {
    let daemon = Setup::with_idle_web().process(scheduler).start();
    daemon.deploy("v1").succeeds();
    wait_until(&format!("the one that {what} holds the lock"), || {
        holds_the_lock(&daemon, "v1")
    });
    let before = daemon.living();
    daemon.deploy("v2").succeeds();
    daemon.wait_for_state("v1", "stopped");
    let after = daemon.living();
    assert!(
        before.iter().all(|pid| !after.contains(pid)),
        "nothing of the one that {what} is left"
    );
    wait_until("the new one holds the lock", || holds_the_lock(&daemon, "v2"));
    no_two_ever_met(&daemon);
    assert_eq!(daemon.singleton("scheduler")["lastStartReason"], "deploy");
    let started = daemon.events_of("process started");
    let started = started
        .iter()
        .filter(|data| data["processId"] == "scheduler")
        .count();
    assert_eq!(started, 2, "the one that {what} was not started in between");
}

#[test]
fn one_in_back_off_never_comes_back() {
    let scheduler = exclusive(WORK).set("restartDelayMs", 300);
    let daemon = Setup::with_idle_web().process(scheduler).start();
    daemon.deploy("v1").succeeds();
    wait_until("it holds the lock", || holds_the_lock(&daemon, "v1"));
    // Its restart comes while the next release takes over: whichever is first, there is one scheduler in the end.
    for (crashes, release) in [(1, "v2"), (2, "v3"), (3, "v4")] {
        send(
            pid(&daemon.singleton("scheduler")),
            nix::sys::signal::Signal::SIGKILL,
        );
        // Its state may be over before anybody has looked.
        wait_until("it waits", || {
            daemon.events_of("process restart scheduled").len() == crashes
        });
        daemon.deploy(release).succeeds();
        wait_until("the new one holds the lock", || holds_the_lock(&daemon, release));
    }
    no_two_ever_met(&daemon);
    wait_until("a web process and a scheduler are left", || {
        daemon.status()["releases"]
            .as_array()
            .expect("a list")
            .iter()
            .filter(|one| one["state"] == "stopped")
            .count()
            == 3
    });
    let web = pid(&daemon.process("v4", "web"));
    let scheduler = pid(&daemon.singleton("scheduler"));
    let living = daemon.living();
    // The scheduler's own short sleeps come and go.
    assert!(
        living.contains(&web) && living.contains(&scheduler) && living.len() <= 3,
        "{living:?}"
    );
}

#[test]
fn one_that_gave_up_is_started_by_the_next_deploy() {
    let scheduler = Process::singleton("scheduler")
        .unless_told()
        .set("restart", json!({ "maxRestarts": 0 }));
    let daemon = Setup::with_idle_web().process(scheduler).start();
    daemon.tell("v1", "scheduler", "exit 1");
    daemon.deploy("v1").succeeds();
    wait_until("it gives up", || {
        daemon.singleton("scheduler")["state"] == "failed"
    });
    daemon.deploy("v2").succeeds();
    let scheduler = daemon.singleton("scheduler");
    assert_eq!(
        (&scheduler["state"], &scheduler["releaseId"]),
        (&"running".into(), &"v2".into())
    );
}

#[test]
fn one_that_cannot_be_started_does_not_take_the_switch_back() {
    let broken = Process::singleton("scheduler")
        .set("cwd", "needed")
        .set("restartDelayMs", 20);
    let daemon = Setup::with_web()
        .process(broken)
        .process(Process::singleton("other"))
        .start();
    std::fs::create_dir(daemon.release_folder("v1").join("needed")).expect("a folder");
    daemon.deploy("v1").succeeds();
    let mut tunnel = daemon.wire();
    tunnel.upgrade();

    let folder = daemon.release_folder("v2");
    let output = daemon.run(&[
        "deploy",
        "--release-path",
        folder.to_str().expect("UTF-8"),
        "--release-id",
        "v2",
    ]);
    assert_eq!(
        (output.status.code(), &output.stdout[..]),
        (Some(1), &b""[..]),
        "{output:?}"
    );
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.contains("traffic is on v2") && stderr.contains("scheduler"),
        "{stderr}"
    );

    assert_eq!(daemon.status()["activeReleaseId"], "v2");
    assert_eq!(daemon.get("/").body, "v2");
    assert_eq!(daemon.state("v1"), "draining");
    assert!(tunnel.echoes("v1 still drains"));
    assert_eq!(
        daemon.singleton("other")["releaseId"],
        "v2",
        "the others are replaced all the same"
    );
    let failed = daemon.events_of("deploy failed");
    assert_eq!(
        (&failed[0]["code"], &failed[0]["phase"]),
        (&"post_switch_failed".into(), &"singletons".into())
    );

    // It goes on trying, and nothing else is needed once the cause is gone.
    std::fs::create_dir(folder.join("needed")).expect("a folder");
    wait_until("the scheduler is up", || {
        daemon.singleton("scheduler")["state"] == "running"
    });
    let scheduler = daemon.singleton("scheduler");
    assert_eq!(
        (&scheduler["releaseId"], &scheduler["lastStartReason"]),
        (&"v2".into(), &"crash".into())
    );
    drop(tunnel);
    daemon.wait_for_state("v1", "stopped");
}

#[test]
fn one_that_crashes_restarts_from_its_own_release() {
    let scheduler = Process::singleton("scheduler").set("restartDelayMs", 0);
    let web = Process::web().unless_told();
    let daemon = Setup::new().process(web).process(scheduler).start();
    daemon.deploy("v1").succeeds();
    daemon.tell("v2", "web", "exit 1");
    daemon.deploy("v2").fails_with("process_exited");
    let first = pid(&daemon.singleton("scheduler"));
    assert_eq!(
        daemon.singleton("scheduler")["releaseId"],
        "v1",
        "a failed deploy leaves it alone"
    );
    send(first, nix::sys::signal::Signal::SIGKILL);
    wait_until("it is back", || {
        let again = daemon.singleton("scheduler");
        again["state"] == "running" && again["pid"] != first
    });
    assert_eq!(daemon.singleton("scheduler")["releaseId"], Value::from("v1"));
}
