//! Random lives of a release in a made-up world; and bugs planted one at a time, each of which the world must notice.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use super::{Action, Input, Life, Phase};
use crate::clock::{Moment, Timestamp};

/// Bugs of the kind such a machine could have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    ConcludesTooSoon,
    NeverConcludes,
    StopsTwice,
    AllowsRestartsWhileItDrains,
    LeavesConnectionsOpen,
    WatchesNoConnections,
    ComesBackFromTheDead,
}

const BUGS: [Bug; 7] = [
    Bug::ConcludesTooSoon,
    Bug::NeverConcludes,
    Bug::StopsTwice,
    Bug::AllowsRestartsWhileItDrains,
    Bug::LeavesConnectionsOpen,
    Bug::WatchesNoConnections,
    Bug::ComesBackFromTheDead,
];

impl Bug {
    fn twist(self, before: Phase, input: Input, life: &mut Life, actions: &mut Vec<Action>) {
        match self {
            Bug::ConcludesTooSoon => {
                if actions.contains(&Action::StopProcesses) {
                    actions.push(Action::Conclude);
                }
            }
            Bug::NeverConcludes => actions.retain(|action| *action != Action::Conclude),
            Bug::StopsTwice => {
                if (before, input) == (Phase::Ending, Input::StopRequested) {
                    actions.push(Action::StopProcesses);
                }
            }
            Bug::AllowsRestartsWhileItDrains => {
                actions.retain(|action| *action != Action::AllowRestarts(false));
            }
            Bug::LeavesConnectionsOpen => {
                actions.retain(|action| !matches!(action, Action::CloseConnections { .. }));
            }
            Bug::WatchesNoConnections => {
                actions.retain(|action| !matches!(action, Action::WatchConnections { .. }));
            }
            Bug::ComesBackFromTheDead => {
                if before.is_over() && input == Input::Activated {
                    life.phase = Phase::Active;
                    actions.push(Action::AllowRestarts(true));
                }
            }
        }
    }
}

struct World {
    life: Life,
    bug: Option<Bug>,
    now: Timestamp,
    restarts_allowed: bool,
    /// The stop of its processes was asked for, and is over.
    stop: Option<bool>,
    watching: bool,
    closed: bool,
    concluded: bool,
}

type Verdict = Result<(), String>;

fn demand(condition: bool, otherwise: &str) -> Verdict {
    match condition {
        true => Ok(()),
        false => Err(otherwise.to_owned()),
    }
}

impl World {
    fn new(bug: Option<Bug>) -> World {
        World {
            life: Life::default(),
            bug,
            now: Timestamp::from_ms(1000),
            restarts_allowed: true,
            stop: None,
            watching: false,
            closed: false,
            concluded: false,
        }
    }

    fn happen(&mut self, input: Input) -> Verdict {
        if input == Input::ProcessesStopped {
            // It happens once, after it was asked for.
            match self.stop {
                Some(false) => self.stop = Some(true),
                _ => return Ok(()),
            }
        }
        self.now = self.now.plus(Duration::from_millis(10));
        let before = self.life.phase();
        let moment = Moment {
            wall: self.now,
            steady: self.now,
        };
        let mut actions = self.life.next(input, moment);
        if let Some(bug) = self.bug {
            bug.twist(before, input, &mut self.life, &mut actions);
        }
        demand(
            !before.is_over() || actions.is_empty(),
            "does something though it is over",
        )?;
        for action in actions {
            self.carry_out(action)?;
        }
        self.look_around(before)
    }

    fn carry_out(&mut self, action: Action) -> Verdict {
        match action {
            Action::AllowRestarts(allowed) => self.restarts_allowed = allowed,
            Action::StopEarly => demand(self.life.phase() == Phase::Draining, "companions stop too early")?,
            Action::WatchConnections { .. } => self.watching = true,
            Action::CloseConnections { .. } => self.closed = true,
            Action::StopProcesses => {
                demand(self.stop.is_none(), "its processes are stopped twice")?;
                demand(!self.restarts_allowed, "a stop during which restarts are allowed")?;
                self.stop = Some(false);
            }
            Action::Conclude => {
                demand(self.stop == Some(true), "concluded while processes run")?;
                demand(self.closed, "concluded with open connections")?;
                demand(!self.concluded, "concluded twice")?;
                self.concluded = true;
            }
        }
        Ok(())
    }

    fn look_around(&mut self, before: Phase) -> Verdict {
        let phase = self.life.phase();
        demand(
            !before.is_over() || phase == before,
            "a release that is over goes on living",
        )?;
        demand(phase.is_over() == self.concluded, "over and not concluded")?;
        match phase {
            Phase::Starting => {}
            Phase::Active => {
                demand(self.restarts_allowed, "active without restarts")?;
                demand(self.stop.is_none(), "active while its processes are stopped")?;
                self.watching = false;
            }
            Phase::Superseded => demand(self.stop.is_none(), "superseded while its processes are stopped")?,
            Phase::Returning => {
                demand(self.restarts_allowed, "put back without restarts")?;
                demand(self.stop.is_none(), "put back while its processes are stopped")?;
            }
            Phase::Draining => {
                demand(self.watching, "a drain nobody watches")?;
                demand(!self.restarts_allowed, "restarts while it drains")?;
            }
            Phase::Undoing | Phase::Ending => demand(self.stop == Some(false), "ends without a stop")?,
            Phase::Stopped | Phase::Failed => demand(self.stop == Some(true), "over without a stop")?,
        }
        let times = [
            self.life.activated_at(),
            self.life.drain_started_at(),
            self.life.stopped_at(),
        ];
        let times: Vec<Timestamp> = times.into_iter().flatten().collect();
        demand(times.is_sorted(), "its times are out of order")?;
        demand(
            phase.is_over() == self.life.stopped_at().is_some(),
            "over without its time",
        )?;
        demand(
            (phase != Phase::Failed) || self.life.activated_at().is_none(),
            "failed though it was active",
        )
    }

    /// However it went so far, a stop brings it to its end.
    fn end(&mut self) -> Verdict {
        self.happen(Input::StopRequested)?;
        self.happen(Input::ProcessesStopped)?;
        demand(self.life.phase().is_over(), "a stop has no end")
    }
}

fn any_input() -> impl Strategy<Value = Input> {
    let drain = || prop_oneof![Just(0u64), Just(50)].prop_map(Duration::from_millis);
    prop_oneof![
        3 => Just(Input::Activated),
        2 => Just(Input::Superseded),
        3 => drain().prop_map(|drain| Input::Retired { drain }),
        2 => Just(Input::Reclaimed),
        2 => Just(Input::Idle),
        1 => Just(Input::DrainTimeUp),
        1 => Just(Input::StartFailed),
        1 => Just(Input::StopRequested),
        2 => Just(Input::ProcessesStopped),
    ]
}

fn live(inputs: &[Input], bug: Option<Bug>) -> Verdict {
    let mut world = World::new(bug);
    for input in inputs {
        world.happen(*input)?;
    }
    world.end()
}

fn run(bug: Option<Bug>) -> Result<(), TestError<Vec<Input>>> {
    let config = Config {
        cases: 5000,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = match bug {
        Some(_) => TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
        None => TestRunner::new(config),
    };
    runner.run(&vec(any_input(), 0..30), |inputs| {
        live(&inputs, bug).map_err(TestCaseError::fail)
    })
}

#[test]
fn no_life_breaks_the_rules() {
    if let Err(broken) = run(None) {
        panic!("{broken}");
    }
}

#[test]
fn every_planted_bug_is_noticed_and_told_in_few_words() {
    for bug in BUGS {
        match run(Some(bug)) {
            Err(TestError::Fail(reason, inputs)) => {
                println!("{bug:?}: {reason}: {inputs:?}");
                assert!(inputs.len() <= 5, "{bug:?} was not shrunk: {inputs:?}");
            }
            other => panic!("{bug:?} was not noticed: {other:?}"),
        }
    }
}
