//! Commands and ends that cross each other's way.

use nix::sys::signal::Signal;
use serde_json::json;

use crate::support::{Process, Setup, has_said, is_alive, pid, send, wait_until};

#[test]
fn a_web_process_whose_leader_has_ended_is_not_switched_to() {
    // What the leader leaves behind goes on answering, and does not heed the stop signal for a while.
    let leaving = "if [ -f instead ]; then (trap '' TERM; . ./instead) & sleep 1; exit 7; fi";
    let daemon = Setup::new()
        .process(Process::web_after(leaving).set("gracefulStopMs", 500))
        .start();
    daemon.deploy("v1").succeeds();
    let server = "node -e 'require(\"http\").createServer((q, r) => setTimeout(() => r.end(), 1500))\
                  .listen(process.env.ROLLBRIDGE_PORT, \"127.0.0.1\")'";
    std::fs::write(daemon.release_folder("v2").join("instead"), server).expect("the folder is ours");
    let error = daemon.deploy("v2").fails_with("process_exited");
    assert_eq!(
        (&error["exitCode"], &error["activeReleaseId"]),
        (&7.into(), &"v1".into())
    );
    assert_eq!(daemon.get("/").body, "v1");
    assert_eq!(daemon.events_of("traffic switched").len(), 1);
}

#[test]
fn a_stop_that_cancels_a_redeploy_leaves_the_serving_instance_alone() {
    let daemon = Setup::new()
        .process(Process::web_after("if [ -f instead ]; then . ./instead; fi"))
        .start();
    daemon.deploy("v1").succeeds();
    let serving = pid(&daemon.process("v1", "web"));
    std::fs::write(daemon.release_folder("v1").join("instead"), "sleep 1000").expect("the folder is ours");
    let mut redeploy = daemon.begin_deploy("v1");
    wait_until("the second instance starts", || {
        daemon.events_of("process started").len() == 2
    });
    daemon.stop_release("v1").succeeds();
    redeploy.answer().fails_with("deploy_cancelled");
    assert_eq!(daemon.get("/").body, "v1");
    assert!(is_alive(serving));
}

#[test]
fn a_queued_stop_or_restart_leaves_with_its_client() {
    let daemon = Setup::new()
        .process(Process::web_after("if [ -f instead ]; then . ./instead; fi"))
        .process(Process::companion("worker"))
        .start();
    daemon.deploy("v1").succeeds();
    let wait = "until [ -f go ]; do sleep 0.05; done";
    std::fs::write(daemon.release_folder("v2").join("instead"), wait).expect("the folder is ours");
    let mut deploy = daemon.begin_deploy("v2");
    wait_until("the deploy runs", || {
        !daemon.events_of("deploy starting").is_empty()
    });
    for command in ["stop", "restart"] {
        wait_until("only the deploy has a client", || daemon.sessions() == 1);
        let client = daemon.begin(json!({ "command": command }));
        wait_until("it is heard", || daemon.sessions() == 2);
        drop(client);
        wait_until("it is gone", || daemon.sessions() == 1);
    }
    std::fs::write(daemon.release_folder("v2").join("go"), "").expect("the folder is ours");
    deploy.answer().succeeds();
    // Behind whatever still stood in the queue.
    daemon.stop_release("v1").succeeds();
    assert_eq!(daemon.get("/").body, "v2");
    assert!(daemon.events_of("process restart requested").is_empty());
}

#[test]
fn a_shutdown_does_not_wait_for_a_restart_to_go_through_its_list() {
    let slow = |id: &str| {
        Process::companion(id)
            .running("trap 'sleep 2; exit' TERM; echo ready; while :; do sleep 0.05; done")
            .set("gracefulStopMs", 60_000)
    };
    let daemon = ["a", "b", "c"]
        .iter()
        .fold(Setup::with_web(), |setup, id| setup.process(slow(id)))
        .start();
    daemon.deploy("v1").succeeds();
    for id in ["a", "b", "c"] {
        wait_until("it is ready to stop slowly", || {
            has_said(&daemon.process("v1", id), "ready")
        });
    }
    let started = daemon.events_of("process started").len();
    let _restart = daemon.begin(json!({ "command": "restart", "policy": "companion" }));
    wait_until("the restart begins", || {
        !daemon.events_of("process restart requested").is_empty()
    });
    daemon.ask(json!({ "command": "shutdown" })).succeeds();
    let log = daemon.log();
    let told = |message: &str| log.iter().filter(|event| event["message"] == message).count();
    assert_eq!(told("process started"), started, "nothing is started any more");
    daemon.leaves_nothing_running();
}

#[test]
fn a_rollback_checks_a_release_again_whose_web_process_ended_on_the_way() {
    let early = Process::companion("early")
        .running("trap 'until [ -f go ]; do sleep 0.05; done; exit' TERM; echo ready; while :; do sleep 0.05; done")
        .set("nonBlockingDrain", true)
        .set("gracefulStopMs", 60_000);
    let web = Process::web_after("if [ -f instead ]; then . ./instead; fi").set("restartDelayMs", 60_000);
    let daemon = Setup::new().process(web).process(early).start();
    daemon.deploy("v1").succeeds();
    let mut tunnel = daemon.wire();
    tunnel.upgrade();
    let v1 = pid(&daemon.process("v1", "web"));
    daemon.deploy("v2").succeeds();
    let (mut rollback, _) = daemon.begin_with_progress(json!({ "command": "rollback" }), "ports");
    std::fs::write(daemon.release_folder("v1").join("instead"), "exit 9").expect("the folder is ours");
    send(v1, Signal::SIGKILL);
    wait_until("it is gone", || !is_alive(v1));
    std::fs::write(daemon.release_folder("v1").join("go"), "").expect("the folder is ours");
    rollback.answer().fails_with("process_exited");
    assert_eq!(daemon.status()["activeReleaseId"], "v2");
    assert_eq!(daemon.get("/").body, "v2");
}
