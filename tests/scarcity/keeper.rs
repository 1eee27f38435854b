//! The keeper cannot start anything.

use crate::limits::{answers, deploy, engine, kill, lift, limit, recovers, serving, status, worker};
use crate::place::{has_users, wait_until};

/// While `what` is limited, a process cannot be started: neither again after a crash, nor by a deploy.
fn nothing_can_be_started(what: &str, reason: &str) {
    if !has_users() {
        return;
    }
    let place = serving();
    let keeper = u64::from(place.pid());
    // What is open stays so, and not enough becomes free for a start.
    let open = std::fs::read_dir(format!("/proc/{keeper}/fd")).unwrap().count();
    let most = if what == "NOFILE" { open } else { 1 };
    limit(&place, keeper, what, &most.to_string());
    kill(worker(&place)["pid"].as_u64().unwrap());
    wait_until("the daemon says so", || {
        place.log().contains("process spawn failed")
    });
    wait_until("it says why", || place.log().contains(reason));
    assert!(answers(&place), "who serves goes on serving");
    let refused = deploy(&place, "v2").unwrap_err();
    assert!(refused.contains(reason), "{refused}");
    assert!(answers(&place));
    assert_eq!(status(&place).unwrap()["activeReleaseId"], "v1");
    lift(&place, keeper, what);
    recovers(&place);
}

#[test]
fn without_descriptors() {
    nothing_can_be_started("NOFILE", "as many files open");
}

#[test]
fn without_processes() {
    nothing_can_be_started("NPROC", "as many processes run");
}

#[test]
fn an_engine_that_cannot_be_started_comes_when_it_can() {
    if !has_users() {
        return;
    }
    let place = serving();
    let keeper = u64::from(place.pid());
    let (before, first) = (worker(&place), engine(&place));
    limit(&place, keeper, "NPROC", "1");
    kill(first);
    // Nobody can be asked now, and nothing is to be seen but that the daemon stays.
    wait_until("it is gone", || {
        !std::path::Path::new(&format!("/proc/{first}")).exists()
    });
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert!(std::path::Path::new(&format!("/proc/{keeper}")).exists());
    lift(&place, keeper, "NPROC");
    wait_until("another one answers", || status(&place).is_some());
    assert_eq!(worker(&place)["pid"], before["pid"], "no process was restarted");
    recovers(&place);
}
