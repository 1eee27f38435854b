//! The real loop, a made-up host, a paused clock: when is what done?

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::fake_host::FakeHost;
use super::stage::{Stage, launch_of};
use crate::process::{Condition, StartError, StartReason};

/// How late an action may come: looks for members are some milliseconds apart.
const LOOKS_MS: u128 = 120;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[tokio::test(start_paused = true)]
async fn a_start_and_a_stop() {
    let host = FakeHost::new();
    let stage = Stage::new(host.clone(), json!({ "command": "app" }));
    stage.process.start(StartReason::Deploy).await.unwrap();
    sleep(ms(1000)).await;
    stage.process.stop().await;
    assert_eq!(
        host.journal(),
        ["0 spawn app", "1000 SIGTERM app", "1000 forget app"]
    );
    let status = stage.process.status();
    assert_eq!((status.condition, status.pid), (Condition::Stopped, None));
    assert_eq!(
        stage.messages(),
        ["process started", "process stopping", "process exited"]
    );
}

#[tokio::test(start_paused = true)]
async fn who_ignores_the_signal_is_killed_after_the_grace() {
    let host = FakeHost::new();
    let stage = Stage::new(
        host.clone(),
        json!({ "command": "stubborn", "gracefulStopMs": 300 }),
    );
    stage.process.start(StartReason::Deploy).await.unwrap();
    stage.process.stop().await;
    assert_eq!(
        host.journal(),
        [
            "0 spawn stubborn",
            "0 SIGTERM stubborn",
            "300 SIGKILL stubborn",
            "300 forget stubborn"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn an_indefinite_grace_is_never_ended_by_us() {
    let host = FakeHost::new();
    let stage = Stage::new(
        host.clone(),
        json!({ "command": "stubborn exit:90000000:0", "gracefulStopMs": "indefinite" }),
    );
    stage.process.start(StartReason::Deploy).await.unwrap();
    stage.process.stop().await;
    assert_eq!(
        host.journal(),
        [
            "0 spawn stubborn exit:90000000:0",
            "0 SIGTERM stubborn exit:90000000:0",
            "90000000 forget stubborn exit:90000000:0"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn crashes_back_off_until_the_budget_is_used_up() {
    let host = FakeHost::new();
    let fields = json!({
        "command": "exit:10:1",
        "restartDelayMs": 100,
        "restart": { "maxRestarts": 3, "backoffFactor": 2, "maxDelayMs": 350 },
    });
    let stage = Stage::new(host.clone(), fields);
    stage.process.start(StartReason::Deploy).await.unwrap();
    let backoff = stage
        .process
        .wait_for(|status| status.condition == Condition::Backoff)
        .await;
    assert!(backoff.next_restart_at.is_some());
    let failed = stage
        .process
        .wait_for(|status| status.condition == Condition::Failed)
        .await;
    assert_eq!((failed.restarts, failed.next_restart_at), (3, None));
    let spawns: Vec<String> = host
        .journal()
        .into_iter()
        .filter(|line| line.contains("spawn"))
        .collect();
    assert_eq!(
        spawns,
        [
            "0 spawn exit:10:1",
            "110 spawn exit:10:1",
            "320 spawn exit:10:1",
            "680 spawn exit:10:1"
        ]
    );
    assert_eq!(stage.messages().last().unwrap(), "restart limit reached");
    // By hand it is revived, with a budget as on the first day.
    stage.process.restart(StartReason::Manual).await.unwrap();
    stage
        .process
        .wait_for(|status| status.condition == Condition::Failed)
        .await;
    assert_eq!(stage.process.status().restarts, 6);
}

#[tokio::test(start_paused = true)]
async fn a_long_uptime_starts_the_back_off_anew() {
    let host = FakeHost::new();
    let fields = json!({
        "command": "exit:60000:1",
        "restartDelayMs": 100,
        "restart": { "maxRestarts": 3, "backoffFactor": 2 },
    });
    let stage = Stage::new(host.clone(), fields);
    stage.process.start(StartReason::Deploy).await.unwrap();
    stage
        .process
        .wait_for(|status| status.condition == Condition::Failed)
        .await;
    let spawns: Vec<String> = host
        .journal()
        .into_iter()
        .filter(|line| line.contains("spawn"))
        .collect();
    assert_eq!(
        spawns.last().unwrap(),
        "180300 spawn exit:60000:1",
        "every delay was the first: {spawns:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_command_that_cannot_be_spawned_is_told_at_once_and_tried_again_in_peace() {
    let host = FakeHost::new();
    let fields = json!({ "command": "broken", "restartDelayMs": 0, "restart": { "maxRestarts": 2 } });
    let stage = Stage::new(host.clone(), fields);
    let error = stage.process.start(StartReason::Deploy).await.unwrap_err();
    assert!(matches!(error, StartError::Spawn { .. }), "{error}");
    stage
        .process
        .wait_for(|status| status.condition == Condition::Failed)
        .await;
    assert_eq!(
        host.journal(),
        [
            "0 cannot spawn broken",
            "100 cannot spawn broken",
            "200 cannot spawn broken"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_start_that_fails_is_told_of_the_release_that_was_tried() {
    let host = FakeHost::new();
    let stage = Stage::new(host.clone(), json!({ "command": "app" }));
    stage.process.start(StartReason::Deploy).await.unwrap();
    for (release_id, command, rendered) in [
        ("v2", "broken {{releaseId}}", "broken v2"),
        ("v3", "{{env.UNSET_ANYWHERE}}", "{{env.UNSET_ANYWHERE}}"),
    ] {
        let next = launch_of(release_id, json!({ "command": command, "restartDelayMs": 60000 }));
        stage.process.refresh(next);
        stage.process.restart(StartReason::Deploy).await.unwrap_err();
        let status = stage
            .process
            .wait_for(|status| status.condition == Condition::Backoff)
            .await;
        assert_eq!((&*status.release_id, &*status.command), (release_id, rendered));
        for message in ["process spawn failed", "process restart scheduled"] {
            let told = stage.told(message);
            assert_eq!(told.last().unwrap()["releaseId"], release_id, "{message}");
        }
    }
    // What ended was told of the release it had been started from.
    assert_eq!(stage.told("process exited")[0]["releaseId"], "v1");
}

#[tokio::test(start_paused = true)]
async fn hooks_run_in_their_order_and_within_their_bounds() {
    let host = FakeHost::new();
    let fields = json!({
        "command": "app stubborn",
        "gracefulStopMs": 500,
        "lifecycle": {
            "quietCommand": "quiet exit:20:0",
            "drainCommand": "drain exit:30:0",
            "drainTimeoutMs": 1000,
            "stopCommand": "stop exit:40:1",
        },
    });
    let stage = Stage::new(host.clone(), fields);
    stage.process.start(StartReason::Deploy).await.unwrap();
    stage.process.stop().await;
    let journal = host.journal();
    let of_the_app: Vec<&String> = journal
        .iter()
        .filter(|line| line.contains("app") || line.contains(" spawn"))
        .collect();
    assert_eq!(
        of_the_app,
        [
            "0 spawn app stubborn",
            "0 spawn quiet exit:20:0",
            "20 spawn drain exit:30:0",
            "50 spawn stop exit:40:1",
            // The stop command failed, so the signal takes its place.
            "90 SIGTERM app stubborn",
            "550 SIGKILL app stubborn",
            "550 forget app stubborn",
        ]
    );
    assert!(stage.messages().contains(&"hook failed".to_owned()));
    let asked: Vec<_> = stage
        .told("process stopping")
        .iter()
        .map(|data| data["signal"].clone())
        .collect();
    assert_eq!(asked, ["stopCommand", "SIGTERM"]);
    assert_eq!(stage.told("process killed")[0]["afterMs"], 500);
}

#[tokio::test(start_paused = true)]
async fn hooks_that_hang_are_ended_and_told_and_hold_nothing_up() {
    let host = FakeHost::new();
    let fields = json!({
        "command": "app",
        "gracefulStopMs": 500,
        "lifecycle": { "quietCommand": "quiet stubborn", "drainCommand": "drain stubborn", "drainTimeoutMs": 1000 },
    });
    let stage = Stage::new(host.clone(), fields);
    stage.process.start(StartReason::Deploy).await.unwrap();
    stage.process.stop().await;
    assert!(host.journal().contains(&"1500 SIGTERM app".to_owned()));
    let failed = stage
        .messages()
        .iter()
        .filter(|word| *word == "hook failed")
        .count();
    assert_eq!(failed, 2);
    sleep(ms(1000)).await;
    assert!(
        host.journal()
            .iter()
            .any(|line| line.ends_with("forget drain stubborn")),
        "{:?}",
        host.journal()
    );
}

#[tokio::test(start_paused = true)]
async fn a_hook_is_ended_with_the_process_it_waits_for() {
    let host = FakeHost::new();
    let fields = json!({
        "command": "app exit:100:0",
        "gracefulStopMs": 60000,
        "lifecycle": { "drainCommand": "drain", "drainTimeoutMs": 60000 },
    });
    let stage = Stage::new(host.clone(), fields);
    stage.process.start(StartReason::Deploy).await.unwrap();
    let begun = Instant::now();
    stage.process.stop().await;
    assert!(begun.elapsed().as_millis() <= 100 + LOOKS_MS);
    assert!(!stage.messages().contains(&"hook failed".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_stop_while_a_spawn_is_under_way_waits_for_it() {
    let host = FakeHost::slow(ms(50));
    let stage = Stage::new(host.clone(), json!({ "command": "app" }));
    let starting = {
        let process = stage.process.clone();
        tokio::spawn(async move { process.start(StartReason::Deploy).await })
    };
    sleep(ms(10)).await;
    stage.process.stop().await;
    assert_eq!(stage.process.status().condition, Condition::Stopped);
    assert_eq!(
        host.journal(),
        ["50 spawn app", "50 SIGTERM app", "50 forget app"]
    );
    starting.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stop_cancels_a_pending_restart() {
    let host = FakeHost::new();
    let stage = Stage::new(
        host.clone(),
        json!({ "command": "exit:10:0", "restartDelayMs": 500 }),
    );
    stage.process.start(StartReason::Deploy).await.unwrap();
    stage
        .process
        .wait_for(|status| status.condition == Condition::Backoff)
        .await;
    stage.process.stop().await;
    sleep(ms(3_600_000)).await;
    assert_eq!(host.journal(), ["0 spawn exit:10:0", "10 forget exit:10:0"]);
    // Retirement does the same.
    stage.process.start(StartReason::Manual).await.unwrap();
    stage
        .process
        .wait_for(|status| status.condition == Condition::Backoff)
        .await;
    stage.process.allow_restarts(false);
    stage
        .process
        .wait_for(|status| status.condition == Condition::Stopped)
        .await;
    sleep(ms(3_600_000)).await;
    assert_eq!(host.journal().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_stop_during_a_restart_leaves_it_stopped_and_tells_at_once() {
    let host = FakeHost::new();
    let stage = Stage::new(
        host.clone(),
        json!({ "command": "stubborn", "gracefulStopMs": 300 }),
    );
    stage.process.start(StartReason::Deploy).await.unwrap();
    let begun = Instant::now();
    let restart = stage.process.restart(StartReason::Manual);
    let stop = async {
        sleep(ms(100)).await;
        stage.process.stop().await;
    };
    let told = async {
        let outcome = restart.await;
        (outcome, begun.elapsed())
    };
    let ((outcome, after), ()) = tokio::join!(told, stop);
    assert!(matches!(outcome, Err(StartError::Stopped { .. })), "{outcome:?}");
    assert_eq!(after, ms(100));
    sleep(ms(3_600_000)).await;
    assert_eq!(
        host.journal(),
        [
            "0 spawn stubborn",
            "0 SIGTERM stubborn",
            "300 SIGKILL stubborn",
            "300 forget stubborn"
        ]
    );
    assert_eq!(stage.process.status().condition, Condition::Stopped);
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_was_asked_for_before_the_spawn_comes_in_time() {
    let host = FakeHost::new();
    let stage = Stage::new(host.clone(), json!({ "command": "app" }));
    // Both are asked before the supervisor hears of either.
    let (outcome, ()) = tokio::join!(stage.process.restart(StartReason::Manual), stage.process.stop());
    assert!(matches!(outcome, Err(StartError::Stopped { .. })), "{outcome:?}");
    assert_eq!(host.journal(), [""; 0]);
    assert_eq!(stage.process.status().condition, Condition::Stopped);
    // What is asked for after the stop is done all the same.
    let (first, (), last) = tokio::join!(
        stage.process.restart(StartReason::Manual),
        stage.process.stop(),
        stage.process.start(StartReason::Manual)
    );
    assert!(first.is_err());
    last.unwrap();
    assert_eq!(host.journal(), ["0 spawn app"]);
}

#[tokio::test(start_paused = true)]
async fn two_stops_share_one_sequence_and_a_start_waits_for_it() {
    let host = FakeHost::new();
    let stage = Stage::new(
        host.clone(),
        json!({ "command": "stubborn", "gracefulStopMs": 300 }),
    );
    stage.process.start(StartReason::Deploy).await.unwrap();
    let stop = || {
        let process = stage.process.clone();
        tokio::spawn(async move { process.stop().await })
    };
    let (first, second) = (stop(), stop());
    sleep(ms(100)).await;
    // Both stops are answered although a start follows at once.
    stage.process.start(StartReason::Manual).await.unwrap();
    first.await.unwrap();
    second.await.unwrap();
    assert_eq!(
        host.journal(),
        [
            "0 spawn stubborn",
            "0 SIGTERM stubborn",
            "300 SIGKILL stubborn",
            "300 forget stubborn",
            "300 spawn stubborn",
        ]
    );
    assert_eq!(stage.process.status().condition, Condition::Running);
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_leader_left_behind_is_gone_before_the_next_spawn() {
    let host = FakeHost::new();
    let fields =
        json!({ "command": "exit:10:0 others:2 stubborn", "restartDelayMs": 0, "gracefulStopMs": 200 });
    let stage = Stage::new(host.clone(), fields);
    stage.process.start(StartReason::Deploy).await.unwrap();
    stage.process.wait_for(|status| status.restarts == 1).await;
    let journal = host.journal();
    assert_eq!(journal[1], "10 SIGTERM exit:10:0 others:2 stubborn");
    assert_eq!(journal[2], "210 SIGKILL exit:10:0 others:2 stubborn");
    assert!(
        journal[3].ends_with("forget exit:10:0 others:2 stubborn"),
        "{journal:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn memory_is_measured_while_it_runs_and_leads_to_a_restart() {
    let host = FakeHost::new();
    let fields = json!({
        "command": "app",
        "memory": { "limitBytes": 1000, "warnBytes": 500, "checkIntervalMs": 5000 },
    });
    let stage = Stage::new(host.clone(), fields);
    host.set_rss_bytes(600);
    sleep(ms(20_000)).await;
    assert!(host.journal().is_empty(), "nothing runs, nothing is measured");
    stage.process.start(StartReason::Deploy).await.unwrap();
    sleep(ms(20_001)).await;
    let measured = host
        .journal()
        .iter()
        .filter(|line| line.ends_with("measure"))
        .count();
    assert_eq!(measured, 4);
    let warnings = |stage: &Stage| {
        stage
            .messages()
            .iter()
            .filter(|word| *word == "memory warning")
            .count()
    };
    assert_eq!(warnings(&stage), 1);
    host.set_rss_bytes(1001);
    stage.process.wait_for(|status| status.memory_restarts == 1).await;
    host.set_rss_bytes(0);
    let status = stage
        .process
        .wait_for(|status| status.condition == Condition::Running)
        .await;
    assert_eq!(status.last_start_reason, Some(StartReason::Memory));
    assert_eq!(
        (status.restarts, status.last_memory_restart_at.is_some()),
        (0, true)
    );
    assert!(stage.messages().contains(&"memory limit exceeded".to_owned()));
    stage.process.stop().await;
    let before = host.journal().len();
    sleep(ms(60_000)).await;
    assert_eq!(host.journal().len(), before, "nothing runs, nothing is measured");
}

#[tokio::test(start_paused = true)]
async fn without_any_handle_left_it_is_stopped() {
    let host = FakeHost::new();
    let stage = Stage::new(host.clone(), json!({ "command": "app" }));
    stage.process.start(StartReason::Deploy).await.unwrap();
    drop(stage);
    sleep(ms(1000)).await;
    assert_eq!(host.journal(), ["0 spawn app", "0 SIGTERM app", "0 forget app"]);
}
