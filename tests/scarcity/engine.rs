//! The engine gets no descriptors, or no memory.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::process::Command;

use crate::limits::{answers, engine, lift, limit, recovers, serving, status, worker};
use crate::place::{has_users, wait_until};

#[test]
fn without_descriptors_it_waits() {
    if !has_users() {
        return;
    }
    let place = serving();
    let (before, pid) = (worker(&place), engine(&place));
    let port = status(&place).unwrap()["proxy"]["port"].clone();
    limit(&place, pid, "NOFILE", "4");
    let get =
        format!("http.get('http://127.0.0.1:{port}/', (r) => process.exit(r.statusCode === 200 ? 0 : 1))");
    let mut client = Command::new("node").args(["-e", &get]).spawn().unwrap();
    wait_until("the daemon says so", || {
        place.log().contains("proxy accepting paused")
    });
    let asks = UnixStream::connect(place.shared("shop.sock"));
    assert!(asks.is_ok(), "clients of the control socket wait in its queue");
    lift(&place, pid, "NOFILE");
    assert!(client.wait().unwrap().success(), "it waited and was answered");
    // It is over when connections have been accepted for a while.
    wait_until("the daemon says so", || {
        answers(&place) && place.log().contains("proxy accepting resumed")
    });
    assert_eq!(engine(&place), pid);
    assert_eq!(worker(&place)["pid"], before["pid"]);
    recovers(&place);
}

#[test]
fn without_memory_another_one_goes_on() {
    if !has_users() {
        return;
    }
    let place = serving();
    let (before, pid) = (worker(&place), engine(&place));
    limit(&place, pid, "AS", "1000000");
    // It needs memory for what it is asked, and ends for lack of it.
    let mut client = UnixStream::connect(place.shared("shop.sock")).unwrap();
    let padding = "x".repeat(1_000_000);
    // The engine may end before it has read everything.
    let _ = writeln!(client, "{{\"command\":\"status\",\"padding\":\"{padding}\"}}");
    wait_until("another one is there", || {
        status(&place).is_some_and(|status| status["engine"]["pid"] != pid)
    });
    wait_until("the daemon says so", || place.log().contains("engine restarted"));
    assert_eq!(worker(&place)["pid"], before["pid"], "no process was restarted");
    assert!(answers(&place));
    recovers(&place);
}
