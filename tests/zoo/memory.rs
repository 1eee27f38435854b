//! Programs that grow.

use rollbridge::process::{Condition, StartReason};
use serde_json::json;

use crate::cage::Cage;

const MIB: u64 = 1024 * 1024;

#[tokio::test]
async fn one_that_grows_without_bound_is_restarted() {
    // `tail` keeps what it reads until it finds the end of a line, and there is none. The memory is not the leader's.
    let cage = Cage::start(
        "echo up; (head -c 150000000 /dev/zero; exec sleep 1000) | tail",
        json!({
            "memory": { "limitBytes": 100 * MIB, "warnBytes": 20 * MIB, "checkIntervalMs": 20 },
            "restart": { "maxRestarts": 0 },
        }),
    )
    .await;
    let status = cage.status(|status| status.memory_restarts == 2).await;
    assert!(status.last_memory_restart_at.is_some());
    let status = cage.status(|status| status.condition == Condition::Running).await;
    assert_eq!(status.last_start_reason, Some(StartReason::Memory));
    assert_eq!(status.restarts, 0);
    assert!(cage.heard("memory limit exceeded"));
    cage.stop().await;
}

#[tokio::test]
async fn one_without_a_limit_is_measured_when_asked() {
    let cage = Cage::start("(head -c 30000000 /dev/zero; exec sleep 1000) | tail", json!({})).await;
    let begun = std::time::Instant::now();
    loop {
        let usage = cage.usage().await;
        let largest = usage.members.iter().max_by_key(|member| member.rss_bytes);
        if usage.rss_bytes > 25 * MIB {
            assert_eq!(largest.unwrap().command, "tail");
            break;
        }
        assert!(begun.elapsed() < crate::cage::PATIENCE, "{usage:?}");
    }
    cage.stop().await;
    assert_eq!(cage.usage().await.members, []);
}
