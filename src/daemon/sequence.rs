//! The order of a deploy as a pure state machine, and what a failure in each phase leads to.
//!
//! Before the switch every failure is undone. From the switch on there is no way back: traffic is on the new release.

#[cfg(test)]
mod properties;

use crate::release::DeployPhase;

/// How a phase came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Well.
    Done,
    /// It failed.
    Failed,
    /// Somebody cancelled the deploy meanwhile.
    Cancelled,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Go through this phase and report its outcome.
    Perform(DeployPhase),
    /// Undo what this deploy started, and answer with the failure.
    Undo,
    /// Let the previous release drain, and answer.
    Finish,
    /// Let the previous release drain, and answer that something failed behind the switch.
    FinishDespiteFailure,
}

/// A deploy on its way through the phases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Positions in [`DeployPhase::ALL`] below this one are done.
    position: usize,
}

impl Sequence {
    /// The start of a deploy, with its first phase.
    pub fn begin() -> (Sequence, Next) {
        (Sequence { position: 0 }, Next::Perform(DeployPhase::ALL[0]))
    }

    /// Takes in how the current phase came out.
    pub fn next(&mut self, outcome: Outcome) -> Next {
        let phase = DeployPhase::ALL[self.position];
        let switched = phase > DeployPhase::Switch;
        match outcome {
            Outcome::Done if self.position + 1 == DeployPhase::ALL.len() => Next::Finish,
            Outcome::Done => {
                self.position += 1;
                Next::Perform(DeployPhase::ALL[self.position])
            }
            Outcome::Failed | Outcome::Cancelled if switched => Next::FinishDespiteFailure,
            Outcome::Failed | Outcome::Cancelled => Next::Undo,
        }
    }

    /// Whether a cancel may interrupt `phase`: the switch is one step, and what follows it must not be left half done.
    pub fn may_interrupt(phase: DeployPhase) -> bool {
        phase < DeployPhase::Switch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_through_every_phase_in_order() {
        let (mut sequence, mut next) = Sequence::begin();
        let mut performed = Vec::new();
        while let Next::Perform(phase) = next {
            performed.push(phase);
            next = sequence.next(Outcome::Done);
        }
        assert_eq!(performed, DeployPhase::ALL);
        assert_eq!(next, Next::Finish);
    }

    #[test]
    fn a_failure_is_undone_up_to_the_switch_and_never_behind_it() {
        for outcome in [Outcome::Failed, Outcome::Cancelled] {
            for (position, phase) in DeployPhase::ALL.into_iter().enumerate() {
                let next = Sequence { position }.next(outcome);
                let expected = match phase {
                    DeployPhase::Singletons => Next::FinishDespiteFailure,
                    _ => Next::Undo,
                };
                assert_eq!(next, expected, "{phase:?} {outcome:?}");
            }
        }
    }
}
