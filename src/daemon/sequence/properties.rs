//! Random series of deploys through the sequence, with the lives of their releases; and bugs planted one at a time.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use super::{Next, Outcome, Sequence};
use crate::clock::{Moment, Timestamp};
use crate::release::DeployPhase;
use crate::release::lifecycle::{Input, Life, Phase};

/// Bugs of the kind such a machine could have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    SkipsTheHealthCheck,
    UndoesBehindTheSwitch,
    FinishesWhatFailedBefore,
    GoesOnAfterAFailure,
    RepeatsAPhase,
    StopsHalfWay,
    InterruptsTheSwitch,
}

const BUGS: [Bug; 7] = [
    Bug::SkipsTheHealthCheck,
    Bug::UndoesBehindTheSwitch,
    Bug::FinishesWhatFailedBefore,
    Bug::GoesOnAfterAFailure,
    Bug::RepeatsAPhase,
    Bug::StopsHalfWay,
    Bug::InterruptsTheSwitch,
];

/// One deploy: how each phase would come out, and during which phase somebody cancels it.
#[derive(Clone, Debug)]
struct Story {
    failing: Option<usize>,
    cancelled: Option<usize>,
    /// The retired release ends before the next deploy.
    drains: bool,
}

/// A daemon as far as it concerns the sequence.
#[derive(Default)]
struct World {
    releases: Vec<Life>,
    /// The release traffic goes to.
    active: Option<usize>,
    now: u64,
}

type Verdict = Result<(), String>;

fn demand(condition: bool, otherwise: &str) -> Verdict {
    match condition {
        true => Ok(()),
        false => Err(otherwise.to_owned()),
    }
}

impl World {
    fn deploy(&mut self, story: &Story, bug: Option<Bug>) -> Verdict {
        let previous = self.active;
        let new = self.releases.len();
        self.releases.push(Life::default());
        let mut performed: Vec<DeployPhase> = Vec::new();
        let mut failed = false;
        let (mut sequence, mut next) = Sequence::begin();
        while let Next::Perform(phase) = next {
            demand(
                performed.last().is_none_or(|last| *last < phase),
                "phases out of order",
            )?;
            demand(!failed, "goes on after a failure")?;
            let skipped = bug == Some(Bug::SkipsTheHealthCheck) && phase == DeployPhase::Health;
            let outcome = match skipped {
                true => Outcome::Done,
                false => self.perform(phase, story, new, bug, &performed)?,
            };
            if outcome == Outcome::Done && !skipped {
                performed.push(phase);
            }
            failed = outcome != Outcome::Done;
            next = twisted(bug, &mut sequence, outcome, phase);
        }
        let switched = performed.contains(&DeployPhase::Switch);
        match next {
            Next::Perform(_) => return Err("never ends".to_owned()),
            Next::Undo => {
                demand(failed && !switched, "undone for no reason, or too late")?;
                self.tell(new, Input::StartFailed);
                self.tell(new, Input::ProcessesStopped);
                demand(self.releases[new].phase() == Phase::Failed, "not undone")?;
                demand(
                    self.active == previous,
                    "the failed deploy cost the active release",
                )?;
            }
            Next::Finish => {
                demand(!failed, "finished in spite of a failure")?;
                demand(performed == DeployPhase::ALL, "finished half way")?;
            }
            Next::FinishDespiteFailure => demand(failed && switched, "no failure behind the switch")?,
        }
        if let Some(previous) = previous.filter(|_| switched) {
            let drain = Duration::from_millis(50);
            self.tell(previous, Input::Retired { drain });
            if story.drains {
                self.tell(previous, Input::Idle);
                self.tell(previous, Input::ProcessesStopped);
            }
        }
        self.look_around()
    }

    fn perform(
        &mut self,
        phase: DeployPhase,
        story: &Story,
        new: usize,
        bug: Option<Bug>,
        performed: &[DeployPhase],
    ) -> Result<Outcome, String> {
        let position = DeployPhase::ALL.iter().position(|known| *known == phase);
        let interruptible = Sequence::may_interrupt(phase) || bug == Some(Bug::InterruptsTheSwitch);
        let cancelled = story.cancelled == position && interruptible;
        if phase == DeployPhase::Switch {
            demand(
                performed.contains(&DeployPhase::Health),
                "switches to what was never healthy",
            )?;
            // The switch does not fail; only a cancel could leave it half done.
            self.active = Some(new);
            self.tell(new, Input::Activated);
            return Ok(if cancelled {
                Outcome::Cancelled
            } else {
                Outcome::Done
            });
        }
        Ok(match story.failing == position {
            _ if cancelled => Outcome::Cancelled,
            true => Outcome::Failed,
            false => Outcome::Done,
        })
    }

    fn tell(&mut self, release: usize, input: Input) {
        self.now += 1;
        let now = Timestamp::from_ms(self.now);
        let moment = Moment {
            wall: now,
            steady: now,
        };
        self.releases[release].next(input, moment);
    }

    /// Between deploys exactly the release with the traffic is active.
    fn look_around(&self) -> Verdict {
        for (position, life) in self.releases.iter().enumerate() {
            let active = self.active == Some(position);
            demand(
                active == (life.phase() == Phase::Active),
                "traffic and activity are apart",
            )?;
        }
        Ok(())
    }
}

fn twisted(bug: Option<Bug>, sequence: &mut Sequence, outcome: Outcome, phase: DeployPhase) -> Next {
    let outcome = match bug {
        Some(Bug::GoesOnAfterAFailure) => Outcome::Done,
        _ => outcome,
    };
    match (bug, sequence.next(outcome)) {
        (Some(Bug::UndoesBehindTheSwitch), Next::FinishDespiteFailure) => Next::Undo,
        (Some(Bug::FinishesWhatFailedBefore), Next::Undo) => Next::FinishDespiteFailure,
        (Some(Bug::RepeatsAPhase), Next::Perform(DeployPhase::Proxied)) => Next::Perform(phase),
        (Some(Bug::StopsHalfWay), Next::Perform(DeployPhase::Singletons)) => Next::Finish,
        (_, next) => next,
    }
}

fn any_story() -> impl Strategy<Value = Story> {
    let phase = || proptest::option::weighted(0.4, 0..DeployPhase::ALL.len());
    (phase(), phase(), any::<bool>()).prop_map(|(failing, cancelled, drains)| Story {
        failing,
        cancelled,
        drains,
    })
}

fn run(bug: Option<Bug>) -> Result<(), TestError<Vec<Story>>> {
    let config = Config {
        cases: 5000,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = match bug {
        Some(_) => TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
        None => TestRunner::new(config),
    };
    runner.run(&vec(any_story(), 0..12), |stories| {
        let mut world = World::default();
        let verdict = stories.iter().try_for_each(|story| world.deploy(story, bug));
        verdict.map_err(TestCaseError::fail)
    })
}

#[test]
fn no_series_of_deploys_breaks_the_rules() {
    if let Err(broken) = run(None) {
        panic!("{broken}");
    }
}

#[test]
fn every_planted_bug_is_noticed_and_told_in_few_words() {
    for bug in BUGS {
        match run(Some(bug)) {
            Err(TestError::Fail(reason, stories)) => {
                println!("{bug:?}: {reason}: {stories:?}");
                assert!(stories.len() <= 2, "{bug:?} was not shrunk: {stories:?}");
            }
            other => panic!("{bug:?} was not noticed: {other:?}"),
        }
    }
}
