//! Single stories of a process's life, step by step.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::{Action, AfterStop, Hook, Input, Life, Rules, StartReason, State, StopStage};
use crate::clock::Timestamp;
use crate::config::{GracefulStop, Lifecycle, RestartPolicy};

const NOW: Timestamp = Timestamp::EPOCH;
const GRACE: Duration = Duration::from_millis(300);

fn rules() -> Rules {
    Rules {
        restart_delay: Duration::from_millis(100),
        restart: RestartPolicy {
            max_restarts: None,
            window: None,
            backoff_factor: 1.0,
            max_delay: None,
        },
        stop_signal: Signal::SIGTERM,
        graceful_stop: GracefulStop::After(GRACE),
        hooks: Lifecycle {
            quiet_command: None,
            drain_command: None,
            drain_timeout: Duration::ZERO,
            stop_command: None,
        },
        memory: None,
    }
}

/// A life that has heard all of `inputs`, and what the last of them led to.
fn after(rules: Rules, restarts_allowed: bool, inputs: &[Input]) -> (Life, Vec<Action>) {
    let mut life = Life::new(rules, restarts_allowed);
    let mut last = Vec::new();
    for input in inputs {
        last = life.next(input.clone(), NOW);
    }
    (life, last)
}

const START: Input = Input::Start(StartReason::Deploy);
const ALONE: Input = Input::LeaderExited { alone: true };
const LEFT_OTHERS: Input = Input::LeaderExited { alone: false };

fn stage(life: &Life) -> Option<(StopStage, AfterStop)> {
    match life.state() {
        State::Stopping(stop) => Some((stop.stage, stop.then)),
        _ => None,
    }
}

#[test]
fn a_failed_spawn_is_never_repeated_without_a_pause() {
    let impatient = Rules {
        restart_delay: Duration::ZERO,
        ..rules()
    };
    let (life, actions) = after(impatient.clone(), true, &[START, Input::SpawnFailed]);
    assert!(matches!(life.state(), State::Backoff { .. }), "{actions:?}");
    // A crash is, if the config says so.
    let (life, _) = after(impatient, true, &[START, Input::Spawned, ALONE]);
    assert_eq!(
        *life.state(),
        State::Starting {
            reason: StartReason::Crash
        }
    );
}

#[test]
fn an_exit_just_before_restarts_are_allowed_is_made_up_for() {
    let (mut life, _) = after(rules(), false, &[START, Input::Spawned, ALONE]);
    assert_eq!(
        *life.state(),
        State::Failed {
            held_back: Some(Duration::ZERO)
        }
    );
    life.next(Input::AllowRestarts(true), NOW);
    assert!(matches!(life.state(), State::Backoff { .. }));
    // What has failed for good, or was stopped, stays as it is.
    let never = Rules {
        restart: RestartPolicy {
            max_restarts: Some(0),
            ..rules().restart
        },
        ..rules()
    };
    let allow = [Input::AllowRestarts(false), Input::AllowRestarts(true)];
    let (life, _) = after(
        never,
        true,
        &[&[START, Input::Spawned, ALONE][..], &allow].concat(),
    );
    assert_eq!(*life.state(), State::Failed { held_back: None });
    let (life, _) = after(
        rules(),
        false,
        &[
            START,
            Input::Spawned,
            ALONE,
            Input::Stop,
            Input::AllowRestarts(true),
        ],
    );
    assert_eq!(*life.state(), State::Stopped);
}

#[test]
fn too_much_memory_leads_to_a_graceful_restart_that_is_not_counted_as_a_crash() {
    let no_restart = Rules {
        restart: RestartPolicy {
            max_restarts: Some(0),
            ..rules().restart
        },
        ..rules()
    };
    let grown = [START, Input::Spawned, Input::MemoryExceeded];
    let (mut life, actions) = after(no_restart, true, &grown);
    assert!(actions.contains(&Action::Signal(Signal::SIGTERM)));
    let actions = life.next(ALONE, NOW);
    assert_eq!(actions.last(), Some(&Action::Spawn(StartReason::Memory)));
    // A retired release's process is not started again on its own account, not even when the stop is under way.
    let (life, _) = after(rules(), false, &grown);
    assert!(matches!(life.state(), State::Running { .. }));
    let retired = [&grown[..], &[Input::AllowRestarts(false), ALONE]].concat();
    assert_eq!(*after(rules(), true, &retired).0.state(), State::Stopped);
    // A measurement that comes late changes nothing.
    for late in [vec![START], vec![START, Input::Spawned, ALONE], vec![]] {
        let (mut life, _) = after(rules(), true, &late);
        let before = life.clone();
        assert_eq!(life.next(Input::MemoryExceeded, NOW), []);
        assert_eq!(life, before);
    }
}

#[test]
fn a_restart_during_a_spawn_starts_it_again() {
    // What is being spawned may be made from an older definition.
    let restarted = [START, Input::Restart(StartReason::Deploy)];
    let (mut life, actions) = after(rules(), true, &restarted);
    assert_eq!(actions, []);
    let actions = life.next(Input::Spawned, NOW);
    assert!(actions.contains(&Action::Signal(Signal::SIGTERM)));
    let actions = life.next(ALONE, NOW);
    assert_eq!(actions.last(), Some(&Action::Spawn(StartReason::Deploy)));
}

#[test]
fn a_drain_without_a_command_does_not_wait_for_an_exit_that_was_before_it() {
    let draining = Rules {
        hooks: Lifecycle {
            quiet_command: Some("quiet".to_owned()),
            drain_timeout: Duration::from_secs(3600),
            ..rules().hooks
        },
        ..rules()
    };
    let quieted = [START, Input::Spawned, Input::Stop, LEFT_OTHERS];
    let (mut life, _) = after(draining, true, &quieted);
    let actions = life.next(Input::HookEnded { well: true }, NOW);
    assert_eq!(
        stage(&life),
        Some((StopStage::Terminating, AfterStop::Rest)),
        "{actions:?}"
    );
}

#[test]
fn the_stop_sequence_goes_through_every_step() {
    let all = Rules {
        hooks: Lifecycle {
            quiet_command: Some("quiet".to_owned()),
            drain_command: Some("drain".to_owned()),
            drain_timeout: Duration::from_millis(50),
            stop_command: Some("stop".to_owned()),
        },
        ..rules()
    };
    let (mut life, actions) = after(all, true, &[START, Input::Spawned, Input::Stop]);
    assert_eq!(actions.last(), Some(&Action::RunHook(Hook::Quiet, GRACE)));
    // A hook that fails holds nothing up.
    let actions = life.next(Input::HookEnded { well: false }, NOW);
    assert_eq!(actions, [Action::RunHook(Hook::Drain, Duration::from_millis(50))]);
    let actions = life.next(Input::HookEnded { well: true }, NOW);
    assert!(actions.contains(&Action::RunHook(Hook::Stop, GRACE)));
    assert!(actions.contains(&Action::Wake(NOW.plus(GRACE))));
    let actions = life.next(Input::HookEnded { well: false }, NOW);
    assert_eq!(actions, [Action::Signal(Signal::SIGTERM)]);
    let actions = life.next(Input::TimeUp, NOW);
    assert_eq!(actions, [Action::EndHook, Action::Sleep, Action::Kill]);
    let actions = life.next(Input::AllGone, NOW);
    assert_eq!(actions.last(), Some(&Action::Rest));
    assert_eq!(*life.state(), State::Stopped);
}

#[test]
fn an_endless_grace_is_never_killed_and_can_be_cut_short() {
    let endless = Rules {
        graceful_stop: GracefulStop::Indefinite,
        hooks: Lifecycle {
            stop_command: Some("stop".to_owned()),
            ..rules().hooks
        },
        ..rules()
    };
    let (mut life, actions) = after(endless, true, &[START, Input::Spawned, Input::Stop]);
    assert!(actions.contains(&Action::RunHook(Hook::Stop, Duration::from_secs(30))));
    assert!(actions.contains(&Action::Sleep));
    assert_eq!(
        life.next(Input::Refresh(Box::new(rules())), NOW),
        [Action::Wake(NOW.plus(GRACE))]
    );
}

#[test]
fn stop_and_start_meet_at_the_end_of_a_stop() {
    let stopping = [START, Input::Spawned, Input::Stop];
    for (more, then) in [
        (vec![Input::Stop], AfterStop::Rest),
        (vec![START], AfterStop::Start(StartReason::Deploy)),
        (vec![START, Input::Stop], AfterStop::Rest),
        (
            vec![Input::Restart(StartReason::Manual)],
            AfterStop::Start(StartReason::Manual),
        ),
    ] {
        let (life, actions) = after(rules(), true, &[&stopping[..], &more].concat());
        assert_eq!(actions, [], "{more:?}");
        assert_eq!(stage(&life), Some((StopStage::Terminating, then)));
    }
}

#[test]
fn a_pending_restart_is_cancelled_by_a_stop_and_by_retirement() {
    for end in [Input::Stop, Input::AllowRestarts(false)] {
        let (life, actions) = after(rules(), true, &[START, Input::Spawned, ALONE, end]);
        assert_eq!(actions, [Action::Sleep, Action::Rest]);
        assert_eq!(*life.state(), State::Stopped);
    }
}

#[test]
fn a_start_by_hand_clears_both_counts() {
    let once = Rules {
        restart: RestartPolicy {
            max_restarts: Some(1),
            backoff_factor: 3.0,
            ..rules().restart
        },
        ..rules()
    };
    let crash_twice = [Input::Spawned, ALONE, Input::TimeUp, Input::Spawned, ALONE];
    let (mut life, actions) = after(once, true, &[&[START][..], &crash_twice].concat());
    assert!(actions.contains(&Action::ReportLimit));
    life.next(Input::Restart(StartReason::Manual), NOW);
    life.next(Input::Spawned, NOW);
    assert!(
        life.next(ALONE, NOW)
            .contains(&Action::ReportBackoff(Duration::from_millis(100)))
    );
}

#[test]
fn what_a_dead_leader_left_behind_goes_before_anything_is_started() {
    let (mut life, actions) = after(rules(), true, &[START, Input::Spawned, LEFT_OTHERS]);
    assert!(actions.contains(&Action::Signal(Signal::SIGTERM)));
    assert!(matches!(life.state(), State::Stopping(_)));
    life.next(Input::AllGone, NOW);
    assert!(matches!(life.state(), State::Backoff { .. }));
}
