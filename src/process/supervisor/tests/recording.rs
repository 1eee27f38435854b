//! What the supervisors of this thread told their machines, and what they were told by them.

use std::cell::RefCell;

use crate::clock::Timestamp;
use crate::process::lifecycle::{Action, Input};

/// One input with its time, and the actions it led to.
pub type Entry = (Input, Timestamp, Vec<Action>);

thread_local! {
    static ENTRIES: RefCell<Vec<Entry>> = const { RefCell::new(Vec::new()) };
}

pub fn record(input: Input, now: Timestamp, actions: &[Action]) {
    ENTRIES.with_borrow_mut(|entries| entries.push((input, now, actions.to_vec())));
}

#[cfg(target_os = "linux")]
mod replay {
    use std::sync::Arc;

    use serde_json::json;

    use super::super::stage::{Stage, launch};
    use super::ENTRIES;
    use crate::keeper::KeeperHost;
    use crate::process::lifecycle::{Life, Rules};
    use crate::process::{Condition, StartReason};

    /// A real process with hooks crashes, leaves others behind, is restarted by hand and by its policy, and is stopped
    /// although it ignores its signal. A fresh machine told the same things at the same times asks for the same.
    #[tokio::test]
    async fn a_recorded_run_leads_a_fresh_machine_to_the_same_actions() {
        ENTRIES.take();
        let fields = json!({
            "command": "trap '' TERM; sleep 1000 & echo up; sleep 0.05; exit 3",
            "restartDelayMs": 20,
            "restart": { "maxRestarts": 2 },
            "gracefulStopMs": 50,
            "lifecycle": { "quietCommand": "echo quiet", "drainCommand": "exit 1", "drainTimeoutMs": 1000 },
        });
        let host = Arc::new(KeeperHost::in_this_process().expect("a thread"));
        let stage = Stage::new(host, fields.clone());
        stage.process.start(StartReason::Deploy).await.unwrap();
        stage.process.restart(StartReason::Manual).await.unwrap();
        stage
            .process
            .wait_for(|status| status.condition == Condition::Failed)
            .await;
        stage.process.restart(StartReason::Manual).await.unwrap();
        stage.process.stop().await;
        assert_eq!(stage.process.status().restarts, 2);

        let recorded = ENTRIES.take();
        assert!(recorded.len() > 15, "{recorded:?}");
        let mut life = Life::new(Rules::of(launch(fields).definition()), true);
        for (input, at, actions) in recorded {
            assert_eq!(life.next(input.clone(), at), actions, "{input:?}");
        }
    }
}
