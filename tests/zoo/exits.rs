//! Programs that go too soon.

use rollbridge::process::Condition;
use serde_json::json;

use crate::cage::Cage;

#[tokio::test]
async fn one_that_leaves_its_children_behind_is_cleared_away_before_it_comes_again() {
    let cage = Cage::start(
        "sleep 1000 & setsid sleep 1000 & echo gone",
        json!({ "restartDelayMs": 0, "restart": { "maxRestarts": 3 } }),
    )
    .await;
    cage.status(|status| status.condition == Condition::Failed).await;
    assert_eq!(cage.process.status().restarts, 3);
    assert_eq!(cage.survivors(), Vec::<String>::new());
    assert!(cage.heard("restart limit reached"));
    cage.stop().await;
}

#[tokio::test]
async fn one_that_ends_well_at_once_again_and_again_uses_up_its_budget() {
    let cage = Cage::start(
        "exit 0",
        json!({ "restartDelayMs": 0, "restart": { "maxRestarts": 20 } }),
    )
    .await;
    let status = cage.status(|status| status.condition == Condition::Failed).await;
    assert_eq!(status.restarts, 20);
    assert_eq!(status.last_exit.and_then(|exit| exit.code()), Some(0));
    let exits = cage
        .messages()
        .iter()
        .filter(|word| *word == "process exited")
        .count();
    assert_eq!(exits, 21);
    cage.stop().await;
}

#[tokio::test]
async fn one_that_ends_at_once_for_ever_can_still_be_stopped() {
    let cage = Cage::start("exit 1", json!({ "restartDelayMs": 0 })).await;
    cage.status(|status| status.restarts > 50).await;
    cage.stop().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn every_signal_is_told_by_its_name() {
    for (number, name) in [(9, "SIGKILL"), (34, "SIGRTMIN"), (40, "SIGRTMIN+6")] {
        let cage = Cage::start(
            &format!("kill -{number} $$"),
            json!({ "restart": { "maxRestarts": 0 } }),
        )
        .await;
        let status = cage.status(|status| status.condition == Condition::Failed).await;
        let exit = status.last_exit.expect("it has ended");
        assert_eq!(exit.signal_name().as_deref(), Some(name), "{exit}");
        cage.stop().await;
    }
}
