//! Programs that do not want to go.

use serde_json::json;

use crate::cage::Cage;

#[tokio::test]
async fn one_that_ignores_its_signal_is_killed() {
    let cage = Cage::start(
        "trap '' TERM; echo up; while :; do sleep 1; done",
        json!({ "gracefulStopMs": 100 }),
    )
    .await;
    cage.says("up").await;
    cage.stop().await;
    assert!(cage.heard("process killed"));
}

#[tokio::test]
async fn one_that_forks_away_is_found_by_its_token() {
    // Forked twice, with a session of its own each time: neither parent nor group nor session lead back.
    let away = "(setsid sh -c 'setsid sh -c \"echo away; exec sleep 1000\" &' &) ; exec sleep 1000";
    let cage = Cage::start(away, json!({ "gracefulStopMs": 5000 })).await;
    cage.says("away").await;
    cage.has_members(2).await;
    // In the very moment of its exec one holds nothing.
    while !cage
        .usage()
        .await
        .members
        .iter()
        .all(|member| member.rss_bytes > 0)
    {
        tokio::task::yield_now().await;
    }
    cage.stop().await;
    assert!(!cage.heard("process killed"));
}

#[tokio::test]
async fn one_that_forks_while_it_is_killed_is_hunted_down() {
    // Every generation starts the next in a session of its own and ends soon; beside it the group fills up.
    let folder = tempfile::tempdir().unwrap();
    let generation = folder.path().join("generation");
    std::fs::write(
        &generation,
        "trap '' TERM; [ $1 -gt 0 ] || exec sleep 1000; setsid sh \"$0\" $(($1 - 1)) & sleep 0.05\n",
    )
    .unwrap();
    let command = format!(
        "trap '' TERM; sh {} 400 & i=0; while [ $i -lt 400 ]; do i=$((i + 1)); sleep 1000 & sleep 0.02; \
         [ $i -eq 5 ] && echo forking; done; wait",
        generation.display()
    );
    let cage = Cage::start(&command, json!({ "gracefulStopMs": 50 })).await;
    cage.says("forking").await;
    cage.stop().await;
    assert!(cage.heard("process killed"));
}

#[tokio::test]
async fn one_that_was_halted_is_woken_to_act_on_its_signal() {
    let cage = Cage::start(
        "trap 'echo bye; exit 0' TERM; echo up; kill -STOP $$; while :; do sleep 0.05; done",
        json!({ "gracefulStopMs": 600000 }),
    )
    .await;
    cage.says("up").await;
    let pid = cage.process.status().pid.unwrap();
    cage.eventually(|_| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.contains(") T ")
    })
    .await;
    cage.stop().await;
    assert!(cage.lines().contains(&"bye".to_owned()));
    assert!(!cage.heard("process killed"));
}

#[tokio::test]
async fn one_that_was_halted_and_ignores_its_signal_is_killed() {
    let cage = Cage::start(
        "trap '' TERM; echo up; kill -STOP $$; while :; do sleep 1; done",
        json!({ "gracefulStopMs": 100 }),
    )
    .await;
    cage.says("up").await;
    cage.stop().await;
    assert!(cage.heard("process killed"));
}

#[tokio::test]
async fn one_with_a_zombie_child_stops_like_any_other() {
    // The shell becomes a sleep that never asks about the child it inherits.
    let cage = Cage::start("sleep 0.01 & echo up; exec sleep 1000", json!({})).await;
    cage.says("up").await;
    cage.eventually(|cage| cage.survivors().len() == 1).await;
    cage.has_members(1).await;
    cage.stop().await;
    assert!(!cage.heard("process killed"));
}

#[tokio::test]
async fn a_stop_command_that_hangs_holds_nothing_up() {
    let fields = json!({
        "gracefulStopMs": 100,
        "lifecycle": { "quietCommand": "trap '' TERM; sleep 1000", "stopCommand": "sleep 1000 & sleep 1000" },
    });
    let cage = Cage::start("echo up; exec sleep 1000", fields).await;
    cage.says("up").await;
    cage.stop_with_hooks().await;
    assert!(cage.heard("hook failed"));
}

impl Cage {
    /// Hooks carry the mark too, and are ended beside the stop: they may outlast it by a moment.
    async fn stop_with_hooks(&self) {
        self.process.stop().await;
        self.eventually(|cage| cage.survivors().is_empty()).await;
    }
}
