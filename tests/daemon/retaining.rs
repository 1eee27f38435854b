//! Which releases that are over stay known, and which of several instances an id means.

use serde_json::{Value, json};

use crate::support::{Daemon, Process, Setup, wait_until};

fn retaining(retention: Value) -> Daemon {
    let setup = Setup::new()
        .process(Process::idle_web().unless_told())
        .set("releaseRetention", retention);
    setup.start()
}

/// Instance and state of every known release with this id, oldest first.
fn instances(daemon: &Daemon, id: &str) -> Vec<(u64, String)> {
    let status = daemon.status();
    let releases = status["releases"].as_array().expect("a list").iter();
    releases
        .filter(|release| release["releaseId"] == id)
        .map(|release| {
            (
                release["instance"].as_u64().expect("a number"),
                release["state"].as_str().expect("a word").to_owned(),
            )
        })
        .collect()
}

fn is(states: &[(u64, &str)]) -> Vec<(u64, String)> {
    states
        .iter()
        .map(|(instance, state)| (*instance, (*state).to_owned()))
        .collect()
}

fn wait_for_ids(daemon: &Daemon, ids: &[&str]) {
    wait_until(&format!("{ids:?} are known"), || daemon.release_ids() == ids);
}

fn stopped(daemon: &Daemon) -> usize {
    let status = daemon.status();
    let releases = status["releases"].as_array().expect("a list").iter();
    releases.filter(|release| release["state"] == "stopped").count()
}

#[test]
fn as_many_are_kept_as_the_config_of_the_day_says() {
    let daemon = retaining(json!({ "keep": 2 }));
    // One after the other, so that they stop in that order too.
    for known in [
        &["v1"][..],
        &["v1", "v2"],
        &["v1", "v2", "v3"],
        &["v2", "v3", "v4"],
    ] {
        let release = known[known.len() - 1];
        daemon.deploy(release).succeeds();
        wait_until("those before it are over", || stopped(&daemon) + 1 == known.len());
        wait_for_ids(&daemon, known);
    }
    daemon.edit_config(|config| config["releaseRetention"]["keep"] = 1.into());
    daemon.deploy("v5").succeeds();
    wait_for_ids(&daemon, &["v4", "v5"]);
    daemon.rollback_to("v2").fails_with("release_not_found");
    daemon.rollback().succeeds();
    assert_eq!(daemon.status()["activeReleaseId"], "v4");
}

#[test]
fn with_none_kept_there_is_nothing_to_go_back_to() {
    let daemon = retaining(json!({ "keep": 0 }));
    daemon.deploy("v1").succeeds();
    daemon.deploy("v2").succeeds();
    wait_for_ids(&daemon, &["v2"]);
    daemon.rollback().fails_with("no_previous_release");
    daemon.stop().succeeds();
    wait_for_ids(&daemon, &[]);
}

#[test]
fn what_is_active_or_drains_is_never_forgotten() {
    let daemon = Setup::with_web()
        .set("releaseRetention", json!({ "keep": 0, "maxAgeMs": 1 }))
        .start();
    let mut tunnels = Vec::new();
    for release in ["v1", "v2", "v3"] {
        daemon.deploy(release).succeeds();
        let mut tunnel = daemon.wire();
        tunnel.upgrade();
        tunnels.push(tunnel);
    }
    assert_eq!(daemon.release_ids(), ["v1", "v2", "v3"]);
    drop(tunnels.remove(1));
    wait_for_ids(&daemon, &["v1", "v3"]);
    assert!(tunnels.iter_mut().all(|tunnel| tunnel.echoes("still there")));
}

#[test]
fn what_is_too_old_is_forgotten_in_time() {
    let daemon = retaining(json!({ "keep": 10, "maxAgeMs": 400 }));
    daemon.deploy("v1").succeeds();
    daemon.deploy("v2").succeeds();
    wait_for_ids(&daemon, &["v2"]);
    let log = daemon.log();
    let stopped = log
        .iter()
        .find(|event| event["message"] == "release stopped")
        .expect("v1 was stopped");
    assert_eq!(stopped["data"]["releaseId"], "v1");
    daemon.rollback().fails_with("no_previous_release");
}

#[test]
fn a_failed_release_is_known_until_the_next_deploy() {
    let daemon = retaining(json!({ "keep": 0 }));
    daemon.deploy("v1").succeeds();
    // One that is asked for its health, and fails.
    daemon.edit_process("web", |web| {
        web["health"] = json!({});
        web["command"] = "exit 1".into();
    });
    daemon.deploy("v2").fails_with("process_exited");
    assert_eq!(instances(&daemon, "v2"), is(&[(1, "failed")]));
    daemon.stop_release("v2").succeeds();
    assert_eq!(
        instances(&daemon, "v2"),
        is(&[(1, "failed")]),
        "a stop changes nothing"
    );
    daemon.deploy("v3").fails_with("process_exited");
    assert_eq!(instances(&daemon, "v2"), is(&[]));
    assert_eq!(daemon.state("v3"), "failed");
}

/// Deploys `id` from a folder of another name.
fn deploy_from(daemon: &Daemon, id: &str, folder: &str) {
    let mut request = daemon.deploy_request(id);
    request["releasePath"] = daemon.release_folder(folder).to_str().expect("UTF-8").into();
    daemon.ask(request).succeeds();
}

#[test]
fn the_same_id_again_is_the_next_instance() {
    let daemon = retaining(json!({}));
    daemon.deploy("v1").succeeds();
    daemon.deploy("v1").succeeds();
    wait_until("the first one is over", || {
        instances(&daemon, "v1") == is(&[(1, "stopped"), (2, "active")])
    });
    daemon.stop().succeeds();
    daemon.deploy("v1").succeeds();
    assert_eq!(
        instances(&daemon, "v1"),
        is(&[(1, "stopped"), (2, "stopped"), (3, "active")])
    );
    daemon.rollback().succeeds();
    wait_until("the third one is over", || {
        instances(&daemon, "v1")[2..] == is(&[(3, "stopped"), (4, "active")])
    });
}

#[test]
fn an_id_means_the_newest_that_lives() {
    let daemon = Setup::with_web().start();
    deploy_from(&daemon, "v1", "first");
    let mut tunnel = daemon.wire();
    tunnel.upgrade();
    deploy_from(&daemon, "v1", "second");
    daemon.deploy("v2").succeeds();
    wait_until("of v1 only the first instance lives", || {
        instances(&daemon, "v1") == is(&[(1, "draining"), (2, "stopped")])
    });
    // The one that lives, though a newer one is known.
    daemon.rollback_to("v1").succeeds();
    assert_eq!(instances(&daemon, "v1"), is(&[(1, "active"), (2, "stopped")]));
    assert!(tunnel.echoes("still there"));
    daemon.rollback_to("v1").fails_with("already_active");
    daemon.stop_release("v1").succeeds();
    assert_eq!(instances(&daemon, "v1"), is(&[(1, "stopped"), (2, "stopped")]));
    assert!(tunnel.is_cut());
}

#[test]
fn an_id_of_which_none_lives_means_the_newest_that_is_known() {
    let daemon = retaining(json!({}));
    deploy_from(&daemon, "v1", "first");
    deploy_from(&daemon, "v1", "second");
    daemon.deploy("v2").succeeds();
    wait_until("both are over", || {
        instances(&daemon, "v1") == is(&[(1, "stopped"), (2, "stopped")])
    });
    daemon.rollback_to("v1").succeeds();
    assert_eq!(instances(&daemon, "v1")[2..], is(&[(3, "active")]));
    let folder = daemon.release_folder("second");
    assert_eq!(
        daemon.release("v1")["releasePath"],
        folder.to_str().expect("UTF-8")
    );
}
