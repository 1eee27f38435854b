//! Programs that say too much, or nothing, or too late.

use rollbridge::process::{Condition, StartReason};
use serde_json::json;

use crate::cage::Cage;

#[tokio::test]
async fn one_that_closes_its_output_goes_on_running() {
    let cage = Cage::start("echo up; exec >&- 2>&-; exec sleep 1000", json!({})).await;
    cage.says("up").await;
    let pid = cage.process.status().pid.unwrap();
    cage.eventually(|_| {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
        command.starts_with(b"sleep")
    })
    .await;
    assert_eq!(cage.process.status().condition, Condition::Running);
    assert_eq!(cage.process.status().restarts, 0);
    cage.stop().await;
}

#[tokio::test]
async fn one_that_writes_a_line_of_100_mb_costs_next_to_nothing() {
    const CEILING_BYTES: u64 = 64 * 1024 * 1024;
    let before = own_rss_bytes();
    let cage = Cage::start(
        "echo begun; head -c 100000000 /dev/zero | tr '\\0' x; echo; echo written; exec sleep 1000",
        json!({}),
    )
    .await;
    cage.says("written").await;
    let grown = own_rss_bytes().saturating_sub(before);
    assert!(grown < CEILING_BYTES, "grown by {grown} bytes");
    let lines = cage.lines();
    assert_eq!(lines.len(), 3);
    assert!(lines[1].len() < 70_000 && lines[1].starts_with("xxxx"));
    cage.stop().await;
}

#[tokio::test]
async fn the_last_words_of_one_that_dies_at_once_are_never_lost() {
    let command = "echo out; echo err >&2; printf 'last words'; exit 9";
    let cage = Cage::build(
        command,
        json!({ "restart": { "maxRestarts": 0 }, "outputLines": 3 }),
    );
    for round in 1..=100 {
        cage.process.start(StartReason::Manual).await.unwrap();
        cage.status(|status| status.condition == Condition::Failed).await;
        let newest = cage.process.logs().last().unwrap().seq;
        let mut lines = cage.lines();
        lines.sort();
        assert_eq!(lines, ["err", "last words", "out"], "round {round}");
        assert_eq!(newest, 3 * round);
    }
    cage.stop().await;
}

#[tokio::test]
async fn the_last_words_of_one_that_outlives_its_leader_are_kept_too() {
    // The leader ends once the other one is prepared for what it is told then.
    let cage = Cage::start(
        "trap 'exit 0' USR1; (trap 'echo last; exit' TERM; kill -USR1 $$; while :; do sleep 0.02; done) & \
         wait",
        json!({ "restart": { "maxRestarts": 0 } }),
    )
    .await;
    cage.status(|status| status.condition == Condition::Failed).await;
    assert!(cage.lines().contains(&"last".to_owned()), "{:?}", cage.lines());
    cage.stop().await;
}

#[tokio::test]
async fn one_that_floods_us_holds_up_neither_others_nor_its_own_stop() {
    let cage = Cage::start("yes 'the same line again'", json!({})).await;
    cage.eventually(|cage| cage.lines().len() == 50).await;
    let other = Cage::start("echo quick; exec sleep 1000", json!({})).await;
    other.says("quick").await;
    other.stop().await;
    cage.stop().await;
}

fn own_rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kib: u64 = line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}
