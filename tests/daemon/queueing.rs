//! One deploy at a time, and whoever waits or leaves.

use serde_json::{Value, json};

use crate::support::{Process, Setup, wait_until};

fn status() -> Value {
    json!({ "command": "status" })
}

#[test]
fn a_deploy_outlives_its_client() {
    let daemon = Setup::with_web().start();
    drop(daemon.begin_deploy("v1"));
    wait_until("v1 is active", || daemon.status()["activeReleaseId"] == "v1");
    wait_until("it has come to its end", || {
        daemon.events_of("deploy finished").len() == 1
    });
}

#[test]
fn a_second_deploy_is_refused_and_told_of_the_first() {
    let daemon = Setup::new()
        .process(Process::web().running("exec sleep 1000"))
        .start();
    let mut first = daemon.begin_deploy("v1");
    wait_until("the first deploy is under way", || !daemon.living().is_empty());
    let error = daemon.deploy("v2").fails_with("deploy_in_progress");
    assert!(
        error["error"]
            .to_string()
            .contains("the deploy of v1 is still running"),
        "{error}"
    );
    daemon.stop_release("v1").succeeds();
    first.answer().fails_with("deploy_cancelled");
}

#[test]
fn who_waits_is_served_in_turn_and_who_leaves_is_forgotten() {
    // Its slow end keeps the deploy that replaces it under way.
    let slow = "trap 'while [ ! -f ../go ]; do sleep 0.02; done; exit' TERM; echo ready; while :; do sleep 0.05; done";
    let scheduler = Process::singleton("scheduler")
        .running(slow)
        .set("gracefulStopMs", 60_000);
    let daemon = Setup::with_idle_web().process(scheduler).start();
    daemon.deploy("v0").succeeds();
    wait_until("the scheduler is ready", || {
        daemon.singleton("scheduler")["logs"][0]["line"] == "ready"
    });
    let mut first = daemon.begin_deploy("v1");
    let mut observer = daemon.client();
    let mut look = || observer.ask(status()).succeeds();
    wait_until("the scheduler is stopping", || {
        look()["singletons"][0]["process"]["state"] == "stopping"
    });

    let mut waiting = Vec::new();
    for release in ["v2", "left", "v3"] {
        let mut request = daemon.deploy_request(release);
        request["wait"] = true.into();
        let mut client = daemon.client();
        // The answer to the first request shows that the daemon goes on with the second.
        client.send_bytes(format!("{}\n{request}\n", status()));
        client.answer().succeeds();
        look();
        waiting.push((release, client));
    }
    wait_until("five clients are connected", || daemon.sessions() == 5);
    drop(waiting.remove(1));
    wait_until("the daemon has let go of the one that left", || {
        daemon.sessions() == 4
    });
    std::fs::write(daemon.release_folder("v0").join("../go"), "").expect("the folder is ours");
    first.answer().succeeds();
    let mut previous = "v1";
    for (release, mut client) in waiting {
        let answer = client.answer().succeeds();
        assert_eq!(
            (&answer["previousReleaseId"], &answer["activeReleaseId"]),
            (&json!(previous), &json!(release))
        );
        previous = release;
    }
    let begun = daemon.events_of("deploy starting");
    assert!(!begun.iter().any(|data| data["releaseId"] == "left"), "{begun:?}");
}
