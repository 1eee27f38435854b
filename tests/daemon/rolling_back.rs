//! A rollback that starts an earlier release anew.

use serde_json::{Value, json};

use crate::support::{Daemon, Process, Setup, pid, position, told, wait_until};

/// A daemon with v1 stopped and v2 active.
fn with_two(setup: Setup) -> Daemon {
    let daemon = setup.start();
    daemon.deploy("v1").succeeds();
    daemon.deploy("v2").succeeds();
    daemon.wait_for_state("v1", "stopped");
    daemon
}

fn serves(daemon: &Daemon, release: &str) {
    assert_eq!(daemon.status()["activeReleaseId"], release);
    assert_eq!(daemon.get("/").body, release);
}

#[test]
fn a_stopped_release_is_started_anew() {
    let daemon = with_two(Setup::with_web().process(Process::companion("worker")));
    let moment = daemon.moment();
    let answer = daemon.rollback().succeeds();
    assert_eq!(
        (&answer["activeReleaseId"], &answer["previousReleaseId"]),
        (&json!("v1"), &json!("v2"))
    );
    serves(&daemon, "v1");
    assert_eq!(daemon.release("v1")["instance"], 2);
    for id in ["worker", "web"] {
        assert_eq!(daemon.process("v1", id)["lastStartReason"], "rollback");
    }
    daemon.wait_for_state("v2", "stopped");
    let story = daemon.story_since(moment);
    let order = [
        "rollback starting v1",
        "process started worker v1",
        "process started web v1",
        "release healthy v1",
        "traffic switched v1",
        "release draining v2",
        "rollback finished v1",
        "release stopped v2",
    ];
    let places: Vec<usize> = order.iter().map(|line| position(&story, line)).collect();
    assert!(places.is_sorted(), "{story:#?}");
}

#[test]
fn two_rollbacks_return_to_where_one_was() {
    let daemon = with_two(Setup::with_web());
    for (release, instance) in [("v1", 2), ("v2", 2), ("v1", 3)] {
        daemon.rollback().succeeds();
        serves(&daemon, release);
        assert_eq!(daemon.release(release)["instance"], instance);
        wait_until("the other one is over", || daemon.living().len() == 1);
    }
}

#[test]
fn any_earlier_release_can_be_named() {
    let daemon = with_two(Setup::with_web());
    daemon.deploy("v3").succeeds();
    daemon.wait_for_state("v2", "stopped");
    let request = json!({ "command": "rollback", "releaseId": "v1", "progress": true });
    let (answer, progress) = daemon.begin(request).answer_with_progress();
    assert_eq!(answer.succeeds()["previousReleaseId"], "v3");
    serves(&daemon, "v1");
    let phases: Vec<&Value> = progress.iter().map(|line| &line["phase"]).collect();
    assert!(
        phases.contains(&&"health".into()) && phases.contains(&&"switch".into()),
        "{progress:#?}"
    );
    daemon.rollback().succeeds();
    serves(&daemon, "v3");
}

#[test]
fn what_cannot_be_gone_back_to_is_said() {
    let daemon = Setup::new().process(Process::web().unless_told()).start();
    daemon.rollback().fails_with("no_previous_release");
    daemon.rollback_to("v1").fails_with("release_not_found");
    daemon.deploy("v1").succeeds();
    daemon.rollback().fails_with("no_previous_release");
    daemon.rollback_to("v1").fails_with("already_active");
    let error = daemon.rollback_to("v9").fails_with("release_not_found");
    assert!(
        error["error"].to_string().contains("known releases: v1"),
        "{error}"
    );
    assert!(daemon.events_of("rollback starting").is_empty());
    serves(&daemon, "v1");
}

#[test]
fn a_failed_release_is_never_gone_back_to() {
    let daemon = with_two(Setup::new().process(Process::web().unless_told()));
    daemon.tell("v3", "web", "exit 1");
    daemon.deploy("v3").fails_with("process_exited");
    let error = daemon.rollback_to("v3").fails_with("release_not_found");
    assert!(
        error["error"].to_string().contains("never became active"),
        "{error}"
    );
    assert_eq!(daemon.state("v3"), "failed");
    daemon.rollback().succeeds();
    serves(&daemon, "v1");
}

#[test]
fn a_failed_instance_is_passed_over_for_one_that_served() {
    let daemon = Setup::new().process(Process::web().unless_told()).start();
    daemon.deploy("v1").succeeds();
    daemon.deploy("v2").succeeds();
    daemon.wait_for_state("v1", "stopped");
    daemon.tell("v1", "web", "exit 3");
    daemon.deploy("v1").fails_with("process_exited");
    std::fs::remove_file(daemon.release_folder("v1").join("instead-of-web")).expect("it is there");
    daemon.rollback_to("v1").succeeds();
    serves(&daemon, "v1");
}

#[test]
fn with_nothing_active_the_last_active_one_is_meant() {
    let daemon = with_two(Setup::with_web());
    daemon.stop().succeeds();
    let answer = daemon.rollback().succeeds();
    assert_eq!(
        (&answer["activeReleaseId"], &answer["previousReleaseId"]),
        (&json!("v2"), &Value::Null)
    );
    serves(&daemon, "v2");
}

#[test]
fn a_rollback_that_fails_leaves_the_active_release_serving() {
    let setup = Setup::new()
        .process(Process::web().unless_told())
        .process(Process::companion("worker"));
    let daemon = with_two(setup);
    let before = daemon.living();
    daemon.tell("v1", "web", "echo no longer; exit 9");
    let error = daemon.rollback().fails_with("process_exited");
    assert_eq!(
        (&error["phase"], &error["exitCode"], &error["activeReleaseId"]),
        (&"health".into(), &9.into(), &"v2".into())
    );
    let message = error["error"].as_str().expect("a message");
    for part in ["rollback to v1 failed", "v2 keeps serving", "no longer"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert_eq!(daemon.living(), before);
    serves(&daemon, "v2");

    std::fs::remove_dir_all(daemon.folder().join("releases/v1")).expect("it is there");
    let error = daemon.rollback().fails_with("release_path_missing");
    assert_eq!(error["phase"], "config");
    assert_eq!(daemon.living(), before);
    serves(&daemon, "v2");
    assert_eq!(daemon.events_of("rollback failed").len(), 2);

    // Repaired, the same rollback works: neither failure was taken for the release that was active before.
    daemon.release_folder("v1");
    daemon.rollback().succeeds();
    serves(&daemon, "v1");
}

#[test]
fn singletons_and_services_follow() {
    let setup = Setup::with_web()
        .process(Process::singleton("scheduler"))
        .process(Process::service("broker").set("restartDelayMs", 0));
    let daemon = with_two(setup);
    let broker = pid(&daemon.service("broker"));
    daemon.rollback().succeeds();
    let scheduler = daemon.singleton("scheduler");
    assert_eq!(
        (&scheduler["releaseId"], &scheduler["lastStartReason"]),
        (&"v1".into(), &"rollback".into())
    );
    assert_eq!(pid(&daemon.service("broker")), broker);
    crate::support::send(broker, nix::sys::signal::Signal::SIGKILL);
    wait_until("the broker is back", || {
        let service = daemon.service("broker");
        service["state"] == "running" && service["pid"] != broker
    });
    let folder = daemon.release_folder("v1");
    assert_eq!(daemon.service("broker")["cwd"], folder.to_str().expect("UTF-8"));
}

#[test]
fn a_rollback_goes_by_the_config_of_today() {
    let daemon = with_two(Setup::with_web());
    daemon.add_process(Process::companion("indexer"));
    daemon.rollback().succeeds();
    assert_eq!(daemon.process("v1", "indexer")["state"], "running");
}

#[test]
fn the_command_line_rolls_back_too() {
    let daemon = with_two(Setup::with_web());
    let output = daemon.run(&["rollback"]);
    assert!(output.status.success(), "{output:?}");
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(answer["activeReleaseId"], "v1");
    let output = daemon.run(&["rollback", "--release-id", "v1"]);
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(1), &b""[..]));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("active already"),
        "{output:?}"
    );
    assert!(told(&daemon.events()).contains(&"command failed".to_owned()));
}
