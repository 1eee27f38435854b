//! Deploys in a row under traffic that tolerates nothing.

use crate::support::{Process, Setup, Traffic, wait_until};

const DEPLOYS: usize = 20;
const REQUESTERS: usize = 32;
const TUNNELS: usize = 8;

#[test]
fn twenty_deploys_lose_no_request_and_cut_no_tunnel() {
    let daemon = Setup::with_web().process(Process::companion("worker")).start();
    daemon.deploy("v0").succeeds();
    let traffic = Traffic::start(daemon.proxy_address(), REQUESTERS, TUNNELS);
    wait_until("the tunnels are open", || traffic.tunnels() == TUNNELS);
    for number in 1..=DEPLOYS {
        let requests = traffic.requests();
        daemon.deploy(&format!("v{number}")).succeeds();
        traffic.promise(number);
        wait_until("every client has been answered anew", || {
            traffic.requests() >= requests + REQUESTERS && traffic.tunnels() == TUNNELS * (number + 1)
        });
    }
    traffic.ends_without_a_failure();

    wait_until("every old release is over", || {
        daemon.events_of("release stopped").len() == DEPLOYS
    });
    for drained in daemon.events_of("release drained") {
        assert_eq!(
            (&drained["cutHttp"], &drained["cutWebsocket"]),
            (&0.into(), &0.into()),
            "{drained}"
        );
    }
    assert_eq!(daemon.living().len(), 2, "one web process and one worker");
}
