//! Every state a process can be in, met by every command.

use serde_json::{Value, json};

use crate::support::{Daemon, Process, Setup, has_said, pid, send, wait_until};

/// A state of the process, in a release that is active; see [`State::bring_about`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Over in a moment, so it is met by a process that is started over and over.
    Starting,
    Running,
    /// Its leader was killed, and a child of it holds out.
    Stopping,
    Backoff,
    Failed,
    /// With its release, so that none is active; a service goes on running.
    Stopped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Deploy,
    Rollback,
    Stop,
    Restart,
    Shutdown,
}

/// What has become of the process in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    /// It runs, and nothing happened to it.
    Same,
    /// It runs, started for this reason.
    Anew(&'static str),
    /// It runs.
    Up,
    /// It is stopped, and stays so.
    Gone,
    /// It still waits for its restart.
    Waits,
    /// It still is failed.
    Failed,
}

use After::{Anew, Gone, Same, Up, Waits};
use Command::{Deploy, Restart, Rollback, Shutdown, Stop};
use State::{Backoff, Running, Starting, Stopped, Stopping};

/// What becomes of a companion, of a singleton and of a service.
const MATRIX: [(State, Command, [After; 3]); 30] = [
    (Starting, Deploy, [Gone, Up, Up]),
    (Starting, Rollback, [Gone, Up, Up]),
    (Starting, Stop, [Gone, Gone, Up]),
    (Starting, Restart, [Up, Up, Up]),
    (Starting, Shutdown, [Gone, Gone, Gone]),
    (Running, Deploy, [Gone, Anew("deploy"), Same]),
    (Running, Rollback, [Gone, Anew("rollback"), Same]),
    (Running, Stop, [Gone, Gone, Same]),
    (Running, Restart, [Anew("manual"), Anew("manual"), Anew("manual")]),
    (Running, Shutdown, [Gone, Gone, Gone]),
    (Stopping, Deploy, [Gone, Anew("deploy"), Anew("crash")]),
    (Stopping, Rollback, [Gone, Anew("rollback"), Anew("crash")]),
    (Stopping, Stop, [Gone, Gone, Anew("crash")]),
    (
        Stopping,
        Restart,
        [Anew("manual"), Anew("manual"), Anew("manual")],
    ),
    (Stopping, Shutdown, [Gone, Gone, Gone]),
    (Backoff, Deploy, [Gone, Anew("deploy"), Waits]),
    (Backoff, Rollback, [Gone, Anew("rollback"), Waits]),
    (Backoff, Stop, [Gone, Gone, Waits]),
    (Backoff, Restart, [Anew("manual"), Anew("manual"), Anew("manual")]),
    (Backoff, Shutdown, [Gone, Gone, Gone]),
    (State::Failed, Deploy, [Gone, Anew("deploy"), Anew("deploy")]),
    (
        State::Failed,
        Rollback,
        [Gone, Anew("rollback"), Anew("rollback")],
    ),
    (State::Failed, Stop, [Gone, Gone, After::Failed]),
    (
        State::Failed,
        Restart,
        [Anew("manual"), Anew("manual"), Anew("manual")],
    ),
    (State::Failed, Shutdown, [Gone, Gone, Gone]),
    (Stopped, Deploy, [Gone, Anew("deploy"), Same]),
    // The release that was stopped is the one that comes back, with a companion of its own.
    (Stopped, Rollback, [Anew("rollback"), Anew("rollback"), Same]),
    (Stopped, Stop, [Gone, Gone, Same]),
    (Stopped, Restart, [Gone, Gone, Anew("manual")]),
    (Stopped, Shutdown, [Gone, Gone, Gone]),
];

#[test]
fn a_companion_in_every_state_meets_every_command() {
    walk("companion", 0);
}

#[test]
fn a_singleton_in_every_state_meets_every_command() {
    walk("singleton", 1);
}

#[test]
fn a_service_in_every_state_meets_every_command() {
    walk("service", 2);
}

#[expect(clippy::print_stdout, reason = "a test that fails shows in which row it did")]
fn walk(policy: &str, column: usize) {
    for (state, command, after) in MATRIX {
        println!("{policy}, {state:?}, {command:?}");
        let stage = Stage::set(policy, state);
        state.bring_about(&stage);
        let before = stage.process()["pid"].clone();
        let mut client = stage.daemon.begin(command.request(&stage.daemon));
        if state == Stopping {
            // Its child holds out until the command has come as far as it can.
            let message = command.begins_with();
            wait_until(message, || {
                stage
                    .daemon
                    .log()
                    .iter()
                    .skip(stage.moment.get())
                    .any(|event| event["message"] == message)
            });
            stage.set_go(true);
        }
        client.answer().succeeds();
        stage.set_go(true);
        match command {
            Shutdown => stage.daemon.ends_clean(),
            _ => stage.check(after[column], &before),
        }
    }
}

impl Command {
    fn request(self, daemon: &Daemon) -> Value {
        match self {
            Deploy => daemon.deploy_request("v3"),
            Rollback => json!({ "command": "rollback" }),
            Stop => json!({ "command": "stop" }),
            Restart => json!({ "command": "restart" }),
            Shutdown => json!({ "command": "shutdown" }),
        }
    }

    /// The event that tells that the command is on its way.
    fn begins_with(self) -> &'static str {
        match self {
            Deploy | Rollback => "traffic switched",
            Stop => "stop requested",
            Restart => "process restart requested",
            Shutdown => "shutdown starting",
        }
    }
}

/// A daemon with v1 stopped and v2 active, and the process in question.
struct Stage {
    daemon: Daemon,
    policy: String,
    /// How many events there were when the state was reached.
    moment: std::cell::Cell<usize>,
}

impl State {
    fn definition(self, process: Process) -> Process {
        match self {
            Starting => process
                .running("test -e ../go || exit 0; exec sleep 1000")
                .set("restartDelayMs", 5),
            Running | Stopped => process,
            Stopping => process
                .running(
                    "if test -e ../go; then exec sleep 1000; fi; \
                     (trap '' TERM; echo ready; while ! test -e ../go; do sleep 0.01; done) & wait",
                )
                .set("gracefulStopMs", "indefinite")
                .set("restartDelayMs", 0),
            Backoff => process.set("restartDelayMs", 600_000),
            State::Failed => process.set("restart", json!({ "maxRestarts": 0 })),
        }
    }

    /// Brings the process, which runs, into this state.
    fn bring_about(self, stage: &Stage) {
        let daemon = &stage.daemon;
        let kill = || send(pid(&stage.process()), nix::sys::signal::Signal::SIGKILL);
        match self {
            Running => {}
            Starting => {
                stage.set_go(false);
                daemon.restart_process("it").succeeds();
                wait_until("it is started over and over", || {
                    stage.process()["restarts"].as_u64() > Some(2)
                });
            }
            Stopping => {
                stage.set_go(false);
                daemon.restart_process("it").succeeds();
                wait_until("its child is there", || has_said(&stage.process(), "ready"));
                kill();
                wait_until("only its child is left", || {
                    stage.process()["state"] == "stopping"
                });
            }
            Backoff => {
                kill();
                wait_until("it waits", || stage.process()["state"] == "backoff");
            }
            State::Failed => {
                kill();
                wait_until("it has failed", || stage.process()["state"] == "failed");
            }
            Stopped => drop(daemon.stop().succeeds()),
        }
        stage.moment.set(daemon.moment());
    }
}

impl Stage {
    fn set(policy: &str, state: State) -> Stage {
        let process = match policy {
            "companion" => Process::companion("it"),
            "singleton" => Process::singleton("it"),
            _ => Process::service("it"),
        };
        let stage = Stage {
            daemon: Setup::with_idle_web().process(state.definition(process)).start(),
            policy: policy.to_owned(),
            moment: std::cell::Cell::new(0),
        };
        stage.daemon.release_folder("v1");
        stage.set_go(true);
        stage.daemon.deploy("v1").succeeds();
        stage.daemon.deploy("v2").succeeds();
        stage.daemon.wait_for_state("v1", "stopped");
        stage
    }

    fn set_go(&self, go: bool) {
        let file = self.daemon.folder().join("releases/go");
        match go {
            true => std::fs::write(file, "").expect("the folder is ours"),
            false => std::fs::remove_file(file).expect("it is there"),
        }
    }

    fn process(&self) -> Value {
        match self.policy.as_str() {
            "companion" => self.daemon.process("v2", "it"),
            "singleton" => self.daemon.singleton("it"),
            _ => self.daemon.service("it"),
        }
    }

    fn check(&self, after: After, before: &Value) {
        let is = |state: &str| {
            let process = self.process();
            let reason = &process["lastStartReason"];
            process["state"] == state
                && match after {
                    Same => process["pid"] == *before,
                    Anew(wanted) => process["pid"] != *before && reason == wanted,
                    // No longer one of those that are over in a moment.
                    Up => process["pid"].is_number() && runs_sleep(pid(&process)),
                    Gone | Waits | After::Failed => process["pid"].is_null(),
                }
        };
        let state = match after {
            Same | Anew(_) | Up => "running",
            Gone => "stopped",
            Waits => "backoff",
            After::Failed => "failed",
        };
        wait_until(&format!("{after:?}"), || is(state));
        wait_until("only one release is left, if any", || self.live_releases() <= 1);
        assert!(is(state), "it stays so: {:#}", self.process());
    }

    fn live_releases(&self) -> usize {
        let status = self.daemon.status();
        let releases = status["releases"].as_array().expect("a list").iter();
        releases.filter(|release| release["state"] != "stopped").count()
    }
}

fn runs_sleep(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "sleep")
}
