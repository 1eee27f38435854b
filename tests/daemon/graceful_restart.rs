//! The web process is stopped and started again because of its memory, while its clients go on asking.

use serde_json::json;

use crate::support::{Process, Setup, wait_until};

#[test]
fn a_web_process_that_is_stopped_gets_no_further_request_on_old_connections() {
    ends_while_it_is_asked("");
}

#[test]
fn nor_on_connections_that_it_has_accepted_since() {
    ends_while_it_is_asked("300");
}

/// It would never end as long as it is asked, for it waits for its connections.
fn ends_while_it_is_asked(late: &str) {
    let app = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/daemon/apps/lingering.js");
    let web = Process::web()
        .running(&format!("exec node '{app}' {late}"))
        .set("health", json!({ "path": "/" }))
        .set(
            "memory",
            json!({ "limitBytes": 180 << 20, "checkIntervalMs": 50 }),
        )
        .set("gracefulStopMs", "indefinite");
    let daemon = Setup::new().process(web).proxy("holdTimeoutMs", 60_000).start();
    daemon.deploy("v1").succeeds();
    let mut wire = daemon.wire();
    let first = wire.get("/").body;
    assert_eq!(wire.get("/grow").body, first);
    wait_until("the next process answers", || {
        let reply = wire.get("/");
        assert_eq!(reply.status, 200);
        reply.body != first
    });
    assert_eq!(daemon.events_of("memory limit exceeded").len(), 1);
    assert!(daemon.events_of("process killed").is_empty());
}
