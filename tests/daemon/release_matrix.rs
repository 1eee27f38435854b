//! Every state a release can be in, met by every command that names it.

use serde_json::{Value, json};

use crate::support::{Client, Daemon, Process, Setup, Wire, wait_until};

/// A state of the release in question, and what stands beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// v1 was never deployed, and nothing else was.
    NoneYet,
    /// v2 is on its way, while v1 is active.
    Starting,
    /// v1 is active.
    Active,
    /// v1 has an open tunnel, while v2 is active.
    Draining,
    /// v1 is over, while v2 is active.
    Stopped,
    /// v2 has failed, while v1 is active.
    Failed,
}

/// `deploy`, `rollback` and `stop` name the release in question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Deploy,
    Rollback,
    Stop,
    Restart,
    Shutdown,
}

/// How the command is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Done,
    Refused(&'static str),
    /// Not before the deploy that is under way has come to its end.
    DoneAfterTheDeploy,
    /// The deploy that was under way is cancelled.
    DoneByCancelling,
}

use Answer::{Done, DoneAfterTheDeploy, DoneByCancelling, Refused};
use Command::{Deploy, Restart, Rollback, Shutdown, Stop};
use State::{Active, Draining, Failed, NoneYet, Starting, Stopped};

/// The answer, and the releases in the end, oldest instance first.
const MATRIX: [(State, Command, Answer, &str); 30] = [
    (NoneYet, Deploy, Done, "v1 active"),
    (NoneYet, Rollback, Refused("release_not_found"), ""),
    (NoneYet, Stop, Refused("release_not_found"), ""),
    (NoneYet, Restart, Done, ""),
    (NoneYet, Shutdown, Done, ""),
    (
        Starting,
        Deploy,
        Refused("deploy_in_progress"),
        "v1 active, v2 starting",
    ),
    (
        Starting,
        Rollback,
        Refused("deploy_in_progress"),
        "v1 active, v2 starting",
    ),
    (Starting, Stop, DoneByCancelling, "v1 active, v2 failed"),
    (Starting, Restart, DoneAfterTheDeploy, "v1 stopped, v2 active"),
    (Starting, Shutdown, DoneByCancelling, ""),
    (Active, Deploy, Done, "v1 stopped, v1 active"),
    (Active, Rollback, Refused("already_active"), "v1 active"),
    (Active, Stop, Done, "v1 stopped"),
    (Active, Restart, Done, "v1 active"),
    (Active, Shutdown, Done, ""),
    (Draining, Deploy, Done, "v1 draining, v2 stopped, v1 active"),
    (Draining, Rollback, Done, "v1 active, v2 stopped"),
    (Draining, Stop, Done, "v1 stopped, v2 active"),
    (Draining, Restart, Done, "v1 draining, v2 active"),
    (Draining, Shutdown, Done, ""),
    (Stopped, Deploy, Done, "v1 stopped, v2 stopped, v1 active"),
    (Stopped, Rollback, Done, "v1 stopped, v2 stopped, v1 active"),
    (Stopped, Stop, Done, "v1 stopped, v2 active"),
    (Stopped, Restart, Done, "v1 stopped, v2 active"),
    (Stopped, Shutdown, Done, ""),
    (Failed, Deploy, Done, "v1 stopped, v2 active"),
    (
        Failed,
        Rollback,
        Refused("release_not_found"),
        "v1 active, v2 failed",
    ),
    (Failed, Stop, Done, "v1 active, v2 failed"),
    (Failed, Restart, Done, "v1 active, v2 failed"),
    (Failed, Shutdown, Done, ""),
];

#[test]
fn a_release_that_is_not_there_or_over_meets_every_command() {
    walk(&[NoneYet, Stopped, Failed]);
}

#[test]
fn a_release_that_is_active_or_on_its_way_meets_every_command() {
    walk(&[Active, Starting]);
}

#[test]
fn a_release_that_drains_meets_every_command() {
    walk(&[Draining]);
}

#[expect(clippy::print_stdout, reason = "a test that fails shows in which row it did")]
fn walk(states: &[State]) {
    for (state, command, expected, releases) in MATRIX {
        if !states.contains(&state) {
            continue;
        }
        println!("{state:?}, {command:?}");
        let mut stage = Stage::set(state);
        let request = command.request(&stage.daemon, state);
        let mut client = stage.daemon.begin(request);
        match expected {
            Done => drop(client.answer().succeeds()),
            Refused(code) => drop(client.answer().fails_with(code)),
            DoneAfterTheDeploy => {
                stage.make_healthy();
                stage.deploying().answer().succeeds();
                client.answer().succeeds();
            }
            DoneByCancelling => {
                stage.deploying().answer().fails_with("deploy_cancelled");
                client.answer().succeeds();
            }
        }
        match command {
            Shutdown => stage.daemon.ends_clean(),
            _ => stage.check(command, releases),
        }
    }
}

impl State {
    /// The release in question.
    fn subject(self) -> &'static str {
        match self {
            Starting | Failed => "v2",
            NoneYet | Active | Draining | Stopped => "v1",
        }
    }
}

impl Command {
    fn request(self, daemon: &Daemon, state: State) -> Value {
        let id = state.subject();
        match self {
            Deploy => {
                // What made it fail is gone.
                std::fs::create_dir_all(daemon.release_folder(id).join("needed")).expect("a folder");
                daemon.deploy_request(id)
            }
            Rollback => json!({ "command": "rollback", "releaseId": id }),
            Stop => json!({ "command": "stop", "releaseId": id }),
            Restart => json!({ "command": "restart" }),
            Shutdown => json!({ "command": "shutdown" }),
        }
    }
}

struct Stage {
    daemon: Daemon,
    /// The connection that keeps v1 draining.
    _tunnel: Option<Wire>,
    /// The deploy that is under way.
    deploying: Option<Client>,
}

impl Stage {
    fn set(state: State) -> Stage {
        let web = match state {
            // Only these need somebody who answers.
            Starting | Draining => Process::web().env("UNHEALTHY_FILE", "{{releasePath}}/unhealthy"),
            _ => Process::idle_web(),
        };
        let worker = Process::companion("worker").set("cwd", "needed");
        let daemon = Setup::new().process(web).process(worker).start();
        let make_deployable = |id: &str| {
            std::fs::create_dir(daemon.release_folder(id).join("needed")).expect("a folder");
        };
        if state != NoneYet {
            make_deployable("v1");
            daemon.deploy("v1").succeeds();
        }
        let (mut tunnel, mut deploying) = (None, None);
        match state {
            NoneYet | Active => {}
            Starting => {
                make_deployable("v2");
                std::fs::write(daemon.release_folder("v2").join("unhealthy"), "")
                    .expect("the folder is ours");
                deploying = Some(daemon.begin_deploy("v2"));
                wait_until("v2 waits for its health", || daemon.process_is_up("v2", "web"));
            }
            Draining => {
                let mut wire = daemon.wire();
                wire.upgrade();
                tunnel = Some(wire);
                make_deployable("v2");
                daemon.deploy("v2").succeeds();
            }
            Stopped => {
                make_deployable("v2");
                daemon.deploy("v2").succeeds();
                daemon.wait_for_state("v1", "stopped");
            }
            Failed => drop(daemon.deploy("v2").fails_with("spawn_failed")),
        }
        Stage {
            daemon,
            _tunnel: tunnel,
            deploying,
        }
    }

    fn deploying(&mut self) -> &mut Client {
        self.deploying.as_mut().expect("a deploy is under way")
    }

    fn make_healthy(&self) {
        let file = self.daemon.release_folder("v2").join("unhealthy");
        std::fs::remove_file(file).expect("it is there");
    }

    fn check(&self, command: Command, expected: &str) {
        wait_until(&format!("the releases are: {expected}"), || {
            self.releases() == expected
        });
        // Each release that is not over has a web process and a worker; a restart took the active one's worker.
        let live = expected.matches("active").count()
            + expected.matches("draining").count()
            + expected.matches("starting").count();
        assert_eq!(self.daemon.living().len(), 2 * live);
        let active = self.daemon.status()["activeReleaseId"].clone();
        assert_eq!(active.is_null(), !expected.contains("active"));
        let restarts = if command == Restart && !active.is_null() {
            1
        } else {
            0
        };
        let started = self.daemon.events_of("process started").into_iter();
        let by_hand: Vec<Value> = started.filter(|data| data["reason"] == "manual").collect();
        assert_eq!(by_hand.len(), restarts);
        assert!(
            by_hand
                .iter()
                .all(|data| data["processId"] == "worker" && data["releaseId"] == active),
            "{by_hand:?}"
        );
    }

    fn releases(&self) -> String {
        let status = self.daemon.status();
        let releases = status["releases"].as_array().expect("a list").iter();
        let told = releases.map(|one| format!("{} {}", one["releaseId"], one["state"]).replace('"', ""));
        told.collect::<Vec<_>>().join(", ")
    }
}
