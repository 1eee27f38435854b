//! The keeper itself: small, without leaks, and not to be confused by anybody.

use std::collections::BTreeSet;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::{Process, Setup, is_alive, wait_for, wait_until};

/// The goal for the resident memory of the keeper. Here only what it has for itself counts: the code of a build without
/// optimisation alone is larger than that.
const MOST_KIB: u64 = 4 * 1024;

/// What the keeper of `pid` holds: KiB of its own, descriptors, zombies among its children.
fn holdings(pid: i32) -> (u64, BTreeSet<String>, usize) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let resident = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let resident = resident.and_then(|text| text.trim().strip_suffix(" kB")?.parse().ok());
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it lives");
    let names = descriptors.flatten().map(|entry| entry.file_name());
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("it lives");
    let pids = children
        .split_ascii_whitespace()
        .filter_map(|pid| pid.parse().ok());
    (
        resident.expect("a figure"),
        names.map(|name| name.to_string_lossy().into_owned()).collect(),
        pids.filter(|pid: &i32| !is_alive(*pid)).count(),
    )
}

#[test]
fn a_thousand_starts_and_exits_leave_nothing_in_it() {
    let restless = Process::companion("worker")
        .running("printf 'once more\\n%.0s' 1 2 3 4 5 6 7 8 9; exit 0")
        .set("replicas", 5)
        .set("restartDelayMs", 0);
    let daemon = Setup::with_idle_web().process(restless).start();
    daemon.deploy("v1").succeeds();
    let restarts = || -> u64 {
        let processes = daemon.release("v1")["processes"].clone();
        let processes = processes.as_array().expect("a list").iter();
        processes.filter_map(|process| process["restarts"].as_u64()).sum()
    };
    // As many events and lines as are ever kept.
    for hundreds in 1..=4 {
        wait_until("a hundred starts to warm up", || restarts() >= hundreds * 100);
    }
    let (before, _, _) = holdings(daemon.pid());
    for hundreds in 5..=14 {
        wait_until("a hundred starts more", || restarts() >= hundreds * 100);
    }
    daemon.stop().succeeds();
    // As many as a keeper has that has started nothing much.
    let idle = Setup::with_idle_web().start();
    wait_until("no descriptor and no zombie is left", || {
        // Its engine may not have given it everything yet.
        let (_, expected, _) = holdings(idle.pid());
        let (_, descriptors, zombies) = holdings(daemon.pid());
        descriptors.len() == expected.len() && zombies == 0
    });
    let (after, _, _) = holdings(daemon.pid());
    println!("the keeper: {before} KiB after 400 starts, {after} KiB after 1400");
    assert!(
        after <= MOST_KIB && after <= before + 1024,
        "{before} KiB, then {after} KiB"
    );
}

#[test]
#[cfg_attr(
    feature = "portable",
    ignore = "only Linux tells whose a process in a session of its own is"
)]
fn who_sheds_everything_is_told_of_and_stopped_with_the_daemon() {
    let runaway =
        "(env -u ROLLBRIDGE_INSTANCE setsid sh -c 'echo $$ > ../stray; exec sleep 1000' &); exec sleep 1000";
    let worker = Process::companion("worker").running(runaway);
    let daemon = Setup::with_idle_web().process(worker).start();
    daemon.deploy("v1").succeeds();
    let stray: i64 = wait_for("it runs away", || {
        let text = std::fs::read_to_string(daemon.folder().join("releases/stray")).ok()?;
        text.trim().parse().ok()
    });
    let told = || daemon.events_of("stray process found");
    wait_until("it is told of", || {
        told().iter().any(|event| event["pid"] == stray)
    });
    daemon.kill_engine();
    daemon.stop().succeeds();
    let stray = i32::try_from(stray).expect("a pid");
    assert!(is_alive(stray), "a stop of the release knows nothing of it");
    assert_eq!(told().len(), 1, "once: {:?}", told());
    daemon.signal(Signal::SIGTERM);
    daemon.ends_clean();
    assert!(!is_alive(stray));
}

#[test]
#[cfg_attr(
    feature = "portable",
    ignore = "only Linux tells whose a process in a session of its own is"
)]
fn a_runaway_with_its_token_belongs_to_its_process() {
    let runaway = "(setsid sh -c 'echo $$ > ../runaway; exec sleep 1000' &); exec sleep 1000";
    let worker = Process::companion("worker").running(runaway);
    let daemon = Setup::with_idle_web().process(worker).start();
    daemon.deploy("v1").succeeds();
    let runaway: i32 = wait_for("it runs away", || {
        let text = std::fs::read_to_string(daemon.folder().join("releases/runaway")).ok()?;
        text.trim().parse().ok()
    });
    daemon.kill_engine();
    let children = daemon.process("v1", "worker")["children"].clone();
    let children = children.as_array().expect("a list");
    assert!(
        children.iter().any(|child| child["pid"] == json!(runaway)),
        "{children:?}"
    );
    daemon.stop().succeeds();
    assert!(!is_alive(runaway));
    daemon.leaves_nothing_running();
}

#[test]
fn without_its_keeper_nothing_goes_on() {
    let stubborn =
        Process::companion("worker").running("trap 'sleep 0.2; exit' TERM; while :; do sleep 0.02; done");
    let daemon = Setup::with_web().process(stubborn).start();
    daemon.deploy("v1").succeeds();
    assert!(daemon.living().len() >= 2);
    daemon.signal(Signal::SIGKILL);
    daemon.end();
    // The engine among them.
    wait_until("all of it is gone", || daemon.living().is_empty());
    assert!(!daemon.socket().exists(), "its socket too");
    assert!(
        daemon
            .stderr()
            .contains("the keeper process of the daemon has ended"),
        "{}",
        daemon.stderr()
    );
}
