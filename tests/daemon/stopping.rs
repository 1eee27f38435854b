//! Stopping a release by hand.

use serde_json::json;

use crate::support::{Process, Setup, position, told, wait_until};

#[test]
fn the_active_release_stops_with_its_singletons_and_services_stay() {
    let daemon = Setup::with_web()
        .process(Process::companion("worker"))
        .process(Process::service("broker"))
        .process(Process::singleton("scheduler"))
        .start();
    daemon.deploy("v1").succeeds();
    let broker = daemon.service("broker")["pid"].clone();
    let mut idle = daemon.wire();
    assert_eq!(idle.get("/").body, "v1");

    let status = daemon.stop().succeeds();
    assert_eq!(status["activeReleaseId"], json!(null));
    assert_eq!(status["releases"][0]["state"], "stopped");
    assert_eq!(status["singletons"][0]["process"]["state"], "stopped");
    assert_eq!(status["services"][0]["process"]["state"], "running");
    assert_eq!(daemon.living().len(), 1, "the broker");

    for refused in [daemon.get("/"), idle.get("/")] {
        assert_eq!(refused.status, 503);
        assert_eq!(refused.field("retry-after"), Some("1"));
        assert_eq!(refused.body, "no release is active\n");
    }

    let answer = daemon.deploy("v2").succeeds();
    assert_eq!(answer["previousReleaseId"], json!(null));
    assert_eq!(daemon.get("/").body, "v2");
    assert_eq!(daemon.service("broker")["pid"], broker);
    assert_eq!(daemon.singleton("scheduler")["state"], "running");
}

#[test]
fn stopping_what_is_stopped_is_fine() {
    let daemon = Setup::with_idle_web().start();
    daemon.stop().succeeds();
    daemon.deploy("v1").succeeds();
    for _ in 0..2 {
        daemon.stop().succeeds();
        daemon.stop_release("v1").succeeds();
    }
    assert_eq!(daemon.events_of("stop requested").len(), 1);
    daemon.leaves_nothing_running();
}

#[test]
fn a_draining_release_can_be_stopped_early() {
    let daemon = Setup::with_web().start();
    daemon.deploy("v1").succeeds();
    let mut tunnel = daemon.wire();
    tunnel.upgrade();
    daemon.deploy("v2").succeeds();
    assert_eq!(daemon.release("v1")["state"], "draining");
    daemon.stop_release("v1").succeeds();
    assert_eq!(daemon.release("v1")["state"], "stopped");
    assert!(tunnel.is_cut());
    assert_eq!(daemon.get("/").body, "v2");
}

#[test]
fn an_unknown_release_is_an_error_that_names_the_known() {
    let daemon = Setup::with_idle_web().start();
    let error = daemon.stop_release("v9").fails_with("release_not_found");
    assert!(
        error["error"].to_string().contains("none has been deployed"),
        "{error}"
    );
    daemon.deploy("v1").succeeds();
    let error = daemon.stop_release("v9").fails_with("release_not_found");
    assert!(
        error["error"].to_string().contains("known releases: v1"),
        "{error}"
    );
}

#[test]
fn stopping_the_release_that_is_being_deployed_cancels_the_deploy() {
    let worker = Process::companion("worker").running("trap 'sleep 0.1; exit' TERM; sleep 1000 & wait");
    let silent = Process::web_after("test {{releaseId}} = v1 || exec sleep 1000");
    let daemon = Setup::new()
        .process(silent)
        .process(worker)
        .process(Process::service("broker"))
        .start();
    daemon.deploy("v1").succeeds();
    let before = daemon.living();
    let mut deploying = daemon.begin_deploy("v2");
    wait_until("v2 waits for its health", || {
        told(&daemon.events()).contains(&"process started web v2".to_owned())
    });

    let status = daemon.stop_release("v2").succeeds();
    assert_eq!(status["activeReleaseId"], "v1");
    let error = deploying.answer().fails_with("deploy_cancelled");
    assert_eq!(error["phase"], "health");
    assert!(
        error["error"].to_string().contains("cancelled by a stop"),
        "{error}"
    );
    assert_eq!(daemon.living(), before);
    assert_eq!(daemon.release("v2")["state"], "failed");
    assert_eq!(daemon.get("/").body, "v1");
}

#[test]
fn stopping_a_redeploy_of_the_active_release_leaves_the_active_one_alone() {
    // The folder is made by the first instance; the second never serves.
    let web = Process::web_after("mkdir deployed || exec sleep 1000");
    let daemon = Setup::new().process(web).start();
    daemon.deploy("v1").succeeds();
    let mut again = daemon.begin_deploy("v1");
    wait_until("the second instance waits for its health", || {
        daemon.process("v1", "web")["pid"].is_number() && daemon.release("v1")["instance"] == 2
    });
    daemon.stop_release("v1").succeeds();
    again.answer().fails_with("deploy_cancelled");
    assert_eq!(daemon.get("/").body, "v1", "the stop meant the newest instance");
}

#[test]
fn a_stop_waits_behind_a_deploy() {
    let daemon = Setup::with_web().start();
    daemon.deploy("v1").succeeds();
    let mut deploying = daemon.begin_deploy("v2");
    wait_until("the deploy is under way", || {
        told(&daemon.events()).contains(&"deploy starting v2".to_owned())
    });
    let status = daemon.stop().succeeds();
    assert_eq!(deploying.answer().succeeds()["activeReleaseId"], "v2");
    assert_eq!(status["activeReleaseId"], json!(null));
    let story = told(&daemon.events());
    assert!(
        position(&story, "deploy finished v2") < position(&story, "stop requested v2"),
        "{story:#?}"
    );
    assert_eq!(daemon.get("/").status, 503);
}

#[test]
fn hooks_lead_a_process_out() {
    let log = "../hooks";
    let hook = |name: &str| format!("echo {name} $ROLLBRIDGE_PID $ROLLBRIDGE_PROCESS_ID >> {log}");
    let worker = Process::companion("worker")
        .set(
            "lifecycle",
            json!({
                "quietCommand": hook("quiet"),
                "drainCommand": hook("drain"),
                "drainTimeoutMs": 20_000,
                "stopCommand": format!("{}; kill $ROLLBRIDGE_PID", hook("stop")),
            }),
        )
        .set("gracefulStopMs", 20_000);
    let stuck = Process::companion("stuck")
        .set("lifecycle", json!({ "quietCommand": "sleep 1000" }))
        .set("gracefulStopMs", 100);
    let daemon = Setup::with_idle_web().process(worker).process(stuck).start();
    daemon.deploy("v1").succeeds();
    let pid = daemon.process("v1", "worker")["pid"].clone();
    daemon.stop().succeeds();
    let written = std::fs::read_to_string(daemon.release_folder("v1").join(log)).expect("the hooks wrote it");
    let expected = ["quiet", "drain", "stop"].map(|name| format!("{name} {pid} worker\n"));
    assert_eq!(written, expected.concat());
    let failed = daemon.events_of("hook failed");
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(
        (&failed[0]["processId"], &failed[0]["hook"]),
        (&json!("stuck"), &json!("quietCommand"))
    );
    wait_until("the stuck hook is gone too", || daemon.living().is_empty());
}
