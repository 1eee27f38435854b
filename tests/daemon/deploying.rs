//! What a deploy does, and in which order.

use serde_json::Value;

use crate::support::{Daemon, Process, Setup, is_alive, position, send, told, wait_until};

/// A shell app that holds a lock for as long as it lives and complains when somebody else has it.
const EXCLUSIVE: &str = "mkdir ../lock || touch ../overlap; trap 'sleep 0.2; rmdir ../lock; exit' TERM; \
                         echo ready $ROLLBRIDGE_RELEASE_ID; while :; do sleep 0.02; done";

fn everything() -> Setup {
    Setup::with_web()
        .process(Process::companion("worker"))
        .process(Process::service("broker"))
        .process(Process::singleton("scheduler").running(EXCLUSIVE))
}

fn pid(process: &Value) -> i32 {
    i32::try_from(process["pid"].as_i64().expect("it runs")).expect("a pid")
}

fn is_ready(daemon: &Daemon, release: &str) -> bool {
    let scheduler = daemon.singleton("scheduler");
    scheduler["logs"]
        .to_string()
        .contains(&format!("ready {release}"))
}

#[test]
fn a_first_deploy_starts_everything_in_order() {
    let daemon = everything().start();
    let answer = daemon.deploy("v1").succeeds();
    assert_eq!(answer["activeReleaseId"], "v1");
    assert_eq!(answer["previousReleaseId"], Value::Null);
    assert_eq!(
        told(&daemon.events())[2..],
        [
            "deploy starting v1",
            "process started broker v1",
            "process started worker v1",
            "process started web v1",
            "release healthy v1",
            "traffic switched v1",
            "process started scheduler v1",
            "deploy finished v1",
        ]
    );
    assert_eq!(daemon.get("/").body, "v1");
}

#[test]
fn the_next_deploy_switches_then_replaces_then_drains() {
    let daemon = everything().start();
    daemon.deploy("v1").succeeds();
    wait_until("the first scheduler has its lock", || is_ready(&daemon, "v1"));
    let (scheduler, worker) = (
        pid(&daemon.singleton("scheduler")),
        pid(&daemon.process("v1", "worker")),
    );
    let seen = daemon.events().len();

    let answer = daemon.deploy("v2").succeeds();
    assert_eq!(answer["previousReleaseId"], "v1");
    assert!(
        !is_alive(scheduler),
        "the old scheduler is gone before the answer"
    );
    wait_until("v1 is over", || daemon.release("v1")["state"] == "stopped");
    assert!(!is_alive(worker));

    let story = told(&daemon.events()[seen..]);
    let order = [
        "deploy starting v2",
        "process started worker v2",
        "process started web v2",
        "release healthy v2",
        "traffic switched v2",
        "process stopping scheduler v1",
        "process exited scheduler v1",
        "process started scheduler v2",
        "release draining v1",
        "deploy finished v2",
        "release drained v1",
        "process exited web v1",
        "release stopped v1",
    ];
    let places: Vec<usize> = order.iter().map(|line| position(&story, line)).collect();
    assert!(places.is_sorted(), "{story:#?}");
    let worker = position(&story, "process exited worker v1");
    assert!(
        position(&story, "release drained v1") < worker && worker < position(&story, "release stopped v1")
    );
    assert_eq!(daemon.get("/").body, "v2");
}

#[test]
fn two_singletons_never_run_at_once() {
    let daemon = everything().start();
    for release in ["v1", "v2", "v3"] {
        daemon.deploy(release).succeeds();
        wait_until("the scheduler is up", || is_ready(&daemon, release));
    }
    assert!(!daemon.release_folder("v1").join("../overlap").exists());
    assert!(daemon.release_folder("v1").join("../lock").exists());
}

#[test]
fn a_service_lives_through_deploys_and_restarts_from_the_newest() {
    let setup = Setup::with_idle_web();
    let port = setup.spare_port(0);
    let broker = Process::service("broker")
        .set("port", port)
        .set("restartDelayMs", 0);
    let daemon = setup.process(broker).start();
    daemon.deploy("v1").succeeds();
    let first = daemon.service("broker");
    daemon.deploy("v2").succeeds();
    daemon.deploy("v3").succeeds();
    let later = daemon.service("broker");
    assert_eq!(first["pid"], later["pid"]);
    assert_eq!(later["port"], port);
    assert_eq!(later["releaseId"], "v1", "it still runs what v1 started");

    send(pid(&later), nix::sys::signal::Signal::SIGKILL);
    wait_until("the broker is up again", || {
        let broker = daemon.service("broker");
        broker["state"] == "running" && broker["pid"] != first["pid"]
    });
    let broker = daemon.service("broker");
    assert_eq!(broker["releaseId"], "v3");
    assert_eq!(broker["port"], port);
    assert_eq!(
        broker["cwd"],
        daemon.release_folder("v3").to_str().expect("UTF-8")
    );
    assert_eq!(broker["lastStartReason"], "crash");
}

#[test]
fn replicas_know_who_they_are() {
    let pool = Process::companion("pool").set("replicas", 3).running(
        "echo $ROLLBRIDGE_REPLICA_INDEX/$ROLLBRIDGE_REPLICA_COUNT {{replicaIndex}}; exec sleep 1000",
    );
    let daemon = Setup::with_idle_web().process(pool).start();
    daemon.deploy("v1").succeeds();
    for index in 0..3 {
        let id = format!("pool#{index}");
        let line = format!("{index}/3 {index}");
        wait_until("the replica has said who it is", || {
            daemon.process("v1", &id)["logs"][0]["line"] == line.as_str()
        });
        let replica = daemon.process("v1", &id);
        assert_eq!(
            (&replica["baseId"], &replica["replicaIndex"]),
            (&"pool".into(), &index.into())
        );
    }
}
