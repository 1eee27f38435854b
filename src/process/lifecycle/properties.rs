//! Thousands of random lives in the made-up [`World`]; and bugs planted one at a time, each of which the world must notice.

use std::time::Duration;

use nix::sys::signal::Signal;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use super::world::{Happening, Tamper, World};
use super::{Action, AfterStop, Input, Life, Rules, StartReason, State, StopStage};
use crate::config::{GracefulStop, Lifecycle, RestartPolicy};

/// A random life: the rules, whether restarts are allowed at first, and what happens.
type Script = (Box<Rules>, bool, Vec<Happening>);

/// Bugs of the kind such a machine could have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    DropsKill,
    SpawnsWhileStopping,
    KeepsItsBackoffThroughAStop,
    LosesCountOfItsRestarts,
    OverlooksMembersOfADeadLeader,
    NeverForgets,
    SignalsTheForgotten,
    KillsAtOnce,
    NeverAnswersAStop,
    StartsAgainAfterAStop,
    SetsNoDeadline,
    DoesNotHearOfRetirement,
    LeavesAHookRunning,
    GivesAHookADay,
    StartsWhatRuns,
}

const BUGS: [Bug; 15] = [
    Bug::DropsKill,
    Bug::SpawnsWhileStopping,
    Bug::KeepsItsBackoffThroughAStop,
    Bug::LosesCountOfItsRestarts,
    Bug::OverlooksMembersOfADeadLeader,
    Bug::NeverForgets,
    Bug::SignalsTheForgotten,
    Bug::KillsAtOnce,
    Bug::NeverAnswersAStop,
    Bug::StartsAgainAfterAStop,
    Bug::SetsNoDeadline,
    Bug::DoesNotHearOfRetirement,
    Bug::LeavesAHookRunning,
    Bug::GivesAHookADay,
    Bug::StartsWhatRuns,
];

struct Honest;

impl Tamper for Honest {
    fn hear(&self, _: &Life, input: Input) -> Option<Input> {
        Some(input)
    }

    fn twist(&self, _: &State, _: &Input, _: &mut Life, _: &mut Vec<Action>) {}
}

impl Tamper for Bug {
    fn hear(&self, life: &Life, input: Input) -> Option<Input> {
        let stops_for_now =
            matches!(life.state(), State::Stopping(stop) if matches!(stop.then, AfterStop::Start(_)));
        match (self, &input) {
            (Bug::KeepsItsBackoffThroughAStop, Input::Stop)
                if matches!(life.state(), State::Backoff { .. }) =>
            {
                None
            }
            (Bug::StartsAgainAfterAStop, Input::Stop) if stops_for_now => None,
            (Bug::DoesNotHearOfRetirement, Input::AllowRestarts(false)) => None,
            (Bug::OverlooksMembersOfADeadLeader, Input::LeaderExited { .. }) => {
                Some(Input::LeaderExited { alone: true })
            }
            _ => Some(input),
        }
    }

    fn twist(&self, before: &State, input: &Input, life: &mut Life, actions: &mut Vec<Action>) {
        let insert_after = |actions: &mut Vec<Action>, after: fn(&Action) -> bool, new: Action| {
            if let Some(position) = actions.iter().position(after) {
                actions.insert(position + 1, new);
            }
        };
        match self {
            Bug::DropsKill => actions.retain(|action| *action != Action::Kill),
            Bug::NeverForgets => actions.retain(|action| *action != Action::Forget),
            Bug::NeverAnswersAStop => actions.retain(|action| *action != Action::Rest),
            Bug::LeavesAHookRunning => actions.retain(|action| *action != Action::EndHook),
            Bug::SetsNoDeadline => {
                let asked =
                    matches!(life.state(), State::Stopping(stop) if stop.stage == StopStage::Terminating);
                actions.retain(|action| !(asked && matches!(action, Action::Wake(_))));
            }
            Bug::SpawnsWhileStopping => {
                if matches!((before, input), (State::Stopping(_), Input::Start(_))) {
                    actions.push(Action::Spawn(StartReason::Manual));
                }
            }
            Bug::StartsWhatRuns => {
                if matches!((before, input), (State::Running { .. }, Input::Start(_))) {
                    actions.push(Action::Spawn(StartReason::Manual));
                }
            }
            Bug::SignalsTheForgotten => {
                let signal = Action::Signal(life.rules().stop_signal);
                insert_after(actions, |action| *action == Action::Forget, signal);
            }
            Bug::KillsAtOnce => {
                insert_after(
                    actions,
                    |action| matches!(action, Action::Signal(_)),
                    Action::Kill,
                );
            }
            Bug::GivesAHookADay => {
                for action in actions {
                    if let Action::RunHook(_, limit) = action {
                        *limit = Duration::from_secs(24 * 3600);
                    }
                }
            }
            Bug::LosesCountOfItsRestarts => life.book.clear(),
            Bug::KeepsItsBackoffThroughAStop
            | Bug::OverlooksMembersOfADeadLeader
            | Bug::StartsAgainAfterAStop
            | Bug::DoesNotHearOfRetirement => {}
        }
    }
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn any_rules() -> impl Strategy<Value = Rules> {
    let restart = (
        prop_oneof![Just(0u64), Just(100)],
        prop_oneof![Just(None), (0u32..4).prop_map(Some)],
        prop_oneof![Just(None), Just(Some(ms(500)))],
        prop_oneof![Just(1.0), Just(2.0)],
    );
    let stop = (
        prop_oneof![
            Just(GracefulStop::After(ms(300))),
            Just(GracefulStop::After(ms(0))),
            Just(GracefulStop::Indefinite)
        ],
        any::<[bool; 3]>(),
        prop_oneof![Just(0u64), Just(200)],
    );
    (restart, stop).prop_map(
        |((delay_ms, max_restarts, window, backoff_factor), (graceful_stop, hooks, drain_ms))| {
            let hook = |given: bool| given.then(|| "hook".to_owned());
            Rules {
                restart_delay: ms(delay_ms),
                restart: RestartPolicy {
                    max_restarts,
                    window,
                    backoff_factor,
                    max_delay: Some(ms(1000)),
                },
                stop_signal: Signal::SIGTERM,
                graceful_stop,
                hooks: Lifecycle {
                    quiet_command: hook(hooks[0]),
                    drain_command: hook(hooks[1]),
                    drain_timeout: ms(drain_ms),
                    stop_command: hook(hooks[2]),
                },
                memory: None,
            }
        },
    )
}

fn any_happening() -> impl Strategy<Value = Happening> {
    let reason = || {
        prop_oneof![
            Just(StartReason::Deploy),
            Just(StartReason::Manual),
            Just(StartReason::Rollback)
        ]
    };
    prop_oneof![
        6 => prop_oneof![Just(1u64), Just(100), Just(250), Just(400), Just(70_000)]
            .prop_map(|ms| Happening::TimePasses { ms }),
        8 => (prop::bool::weighted(0.9), 0u32..3).prop_map(|(well, others)| Happening::SpawnEnds { well, others }),
        4 => Just(Happening::LeaderExits),
        3 => Just(Happening::MemberExits),
        1 => Just(Happening::MemberForks),
        3 => any::<bool>().prop_map(|well| Happening::HookEnds { well }),
        5 => reason().prop_map(Happening::Start),
        3 => Just(Happening::Stop),
        2 => reason().prop_map(Happening::Restart),
        2 => any::<bool>().prop_map(Happening::AllowRestarts),
        2 => Just(Happening::MemoryExceeded),
        1 => any_rules().prop_map(|rules| Happening::Refresh(Box::new(rules))),
    ]
}

fn any_script() -> impl Strategy<Value = Script> {
    (
        any_rules().prop_map(Box::new),
        any::<bool>(),
        vec(any_happening(), 0..60),
    )
}

fn live(script: &Script, tamper: &dyn Tamper) -> Result<(), String> {
    let (rules, restarts_allowed, happenings) = script;
    let mut world = World::new((**rules).clone(), *restarts_allowed, tamper);
    for happening in happenings {
        world.happen(happening)?;
    }
    world.end()
}

fn run(tamper: &dyn Tamper, cases: u32, rng: Option<TestRng>) -> Result<(), TestError<Script>> {
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = match rng {
        Some(rng) => TestRunner::new_with_rng(config, rng),
        None => TestRunner::new(config),
    };
    runner.run(&any_script(), |script| {
        live(&script, tamper).map_err(TestCaseError::fail)
    })
}

#[test]
fn no_life_breaks_the_rules() {
    if let Err(broken) = run(&Honest, 5000, None) {
        panic!("{broken}");
    }
}

#[test]
fn every_planted_bug_is_noticed_and_told_in_few_words() {
    for bug in BUGS {
        let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        match run(&bug, 20_000, Some(rng)) {
            Err(TestError::Fail(reason, (_, _, happenings))) => {
                println!("{bug:?}: {reason}: {happenings:?}");
                assert!(happenings.len() <= 12, "{bug:?} was not shrunk: {happenings:?}");
            }
            other => panic!("{bug:?} was not noticed: {other:?}"),
        }
    }
}
