//! Somebody else answers on the port of a release: it is told, and the deploy goes on.

use std::process::{Child, Command, Stdio};

use crate::support::{Daemon, Process, Setup, is_alive, wait_until};

const APP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/daemon/apps/web.js");

/// An app that no daemon started.
struct Stranger(Child);

impl Stranger {
    fn on(port: u64) -> Stranger {
        let app = Command::new("node")
            .arg(APP)
            .env("ROLLBRIDGE_PORT", port.to_string())
            .env("ROLLBRIDGE_RELEASE_ID", "stranger")
            .stdin(Stdio::null())
            .spawn();
        Stranger(app.expect("node is there"))
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).expect("a pid fits its own type")
    }

    fn command(&self) -> String {
        let name = std::fs::read_to_string(format!("/proc/{}/comm", self.pid()));
        name.expect("it runs").trim().to_owned()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Deploys v1, whose web process leaves its port to a stranger.
fn deploy_beside_a_stranger(web: &str) -> (Daemon, Stranger) {
    let daemon = Setup::new()
        .env("APP", APP)
        .process(Process::web().running(web))
        .start();
    let mut deploy = daemon.begin_deploy("v1");
    wait_until("the web process is started", || daemon.process_is_up("v1", "web"));
    let port = daemon.release("v1")["ports"]["web"].as_u64().expect("a port");
    let stranger = Stranger::on(port);
    deploy.answer().succeeds();

    let events = daemon.events_of("stranger on port");
    assert_eq!(events.len(), 1, "{events:?}");
    let event = &events[0];
    assert_eq!(
        (&event["releaseId"], &event["processId"]),
        (&"v1".into(), &"web".into())
    );
    assert_eq!(
        (&event["port"], &event["pid"]),
        (&port.into(), &stranger.pid().into())
    );
    assert_eq!(event["command"], stranger.command());
    assert_eq!(daemon.get("/").body, "stranger");
    (daemon, stranger)
}

#[test]
#[cfg_attr(feature = "portable", ignore = "only Linux tells who listens on a port")]
fn one_beside_a_web_process_that_listens_nowhere() {
    let (daemon, stranger) = deploy_beside_a_stranger("exec sleep 1000");
    daemon.stop().succeeds();
    daemon.leaves_nothing_running();
    assert!(is_alive(stranger.pid()), "it is none of the daemon's business");
}

#[test]
#[cfg_attr(feature = "portable", ignore = "only Linux tells who listens on a port")]
fn one_beside_a_web_process_that_listens_elsewhere() {
    deploy_beside_a_stranger("ROLLBRIDGE_PORT=0 exec node $APP");
}

#[test]
#[cfg_attr(feature = "portable", ignore = "only Linux tells who listens on a port")]
fn no_stranger_is_whatever_belongs_to_the_web_process() {
    let family = [
        "exec node $APP",
        "node $APP & wait",
        "(node $APP &) ; exec sleep 1000",
        "setsid node $APP & wait",
        "(setsid node $APP &) ; exec sleep 1000",
    ];
    for web in family {
        let daemon = Setup::new()
            .env("APP", APP)
            .process(Process::web().running(web))
            .start();
        daemon.deploy("v1").succeeds();
        assert_eq!(daemon.get("/").body, "v1");
        assert!(daemon.events_of("stranger on port").is_empty(), "{web}");
        daemon.stop().succeeds();
        daemon.leaves_nothing_running();
    }
}
