//! Rows about connections to the upstream: reuse, retry, holding.

use std::time::Duration;

use rollbridge::proxy::Route;
use tokio::time::{Instant, timeout};

use crate::contender::Contender;
use crate::contender::judge;
use crate::stage::Stage;
use crate::support::Dormant;
use crate::support::within;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn upstream_connections_are_reused() {
    let (stage, upstream) = Stage::start().await;
    let mut client = stage.client_sending(GET).await;
    let (mut wire, _) = upstream.request().await;
    wire.send(OK).await;
    client.message().await;
    for _ in 0..5 {
        client.send(POST).await;
        assert_eq!(wire.message().await.1, "body");
        wire.send(OK).await;
        assert_eq!(client.message().await.1, "ok");
    }
}

#[tokio::test]
async fn idle_upstream_connections_close_before_node_would() {
    let (stage, upstream) = Stage::start().await;
    let mut client = stage.client_sending(GET).await;
    let (mut wire, _) = upstream.request().await;
    wire.send(OK).await;
    client.message().await;
    let idle_since = Instant::now();
    assert_eq!(timeout(Duration::from_secs(5), wire.end()).await.unwrap().0, "");
    // Closing at once would be no keep-alive.
    assert!(idle_since.elapsed() > Duration::from_millis(500));
}

#[tokio::test]
async fn an_announced_idle_time_is_not_exhausted() {
    let (stage, upstream) = Stage::start().await;
    let mut client = stage.client_sending(GET).await;
    let (mut wire, _) = upstream.request().await;
    wire.send("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=2\r\nContent-Length: 2\r\n\r\nok")
        .await;
    client.message().await;
    let closed = timeout(Duration::from_secs(2), wire.end()).await;
    assert_eq!(closed.expect("the connection is kept for too long").0, "");
}

#[tokio::test]
async fn a_connection_that_ended_while_idle_is_not_used() {
    let (stage, upstream) = Stage::start().await;
    let mut client = stage.client().await;
    for _ in 0..20 {
        client.send(POST).await;
        let (mut wire, head) = upstream.request().await;
        wire.body(&head).await;
        wire.send(OK).await;
        drop(wire);
        let (head, _) = client.message().await;
        assert_eq!(head.status(), 200);
    }
}

#[tokio::test]
async fn a_get_whose_connection_dies_unanswered_is_sent_again() {
    let (stage, upstream) = Stage::start().await;
    let put = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
    let mut failures = Vec::new();
    for request in [GET, put] {
        for reset in [false, true] {
            let mut client = stage.client_sending(request).await;
            let (mut wire, head) = upstream.request().await;
            wire.body(&head).await;
            if reset {
                wire.reset();
            } else {
                drop(wire);
            }
            let again = timeout(Duration::from_secs(2), upstream.request()).await;
            let Ok((mut wire, head)) = again else {
                failures.push(format!("{request:?}, reset {reset}"));
                continue;
            };
            let body = wire.body(&head).await;
            assert_eq!(body.content, if request == put { "body" } else { "" });
            wire.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
                .await;
            assert_eq!(client.message().await.1, "ok");
        }
    }
    judge(4, &failures);
}

#[tokio::test]
async fn a_post_is_never_sent_twice() {
    let (stage, upstream) = Stage::start().await;
    for method in ["POST", "PATCH"] {
        // On a fresh connection, and on one that has served before.
        for reused in [false, true] {
            let mut client = stage.client().await;
            let request = POST.replace("POST", method);
            let (mut wire, head) = if reused {
                client.send(GET).await;
                let (mut wire, _) = upstream.request().await;
                wire.send(OK).await;
                client.message().await;
                client.send(&request).await;
                let head = wire.head().await;
                (wire, head)
            } else {
                client.send(&request).await;
                upstream.request().await
            };
            assert_eq!(wire.body(&head).await.content, "body");
            drop(wire);
            within(async {
                tokio::select! {
                    biased;
                    _ = upstream.accept_some_time() => panic!("{method} was sent twice, reused {reused}"),
                    head = client.head_or_end() => {
                        let status = head.map(|head| head.status());
                        let contender = Contender::chosen();
                        // HAProxy closes a connection that has served before, so that the client decides.
                        let is_refused = match status {
                            Some(status) => contender.refuses_with(status, 502),
                            None => contender == Contender::Haproxy && reused,
                        };
                        assert!(is_refused, "{status:?}");
                    }
                }
            })
            .await;
        }
    }
}

#[tokio::test]
async fn a_post_takes_no_connection_that_was_idle_for_over_a_second() {
    let (stage, upstream) = Stage::start().await;
    for method in ["POST", "PATCH"] {
        let mut client = stage.client_sending(GET).await;
        let (mut idle, _) = upstream.request().await;
        idle.send(OK).await;
        client.message().await;
        tokio::time::sleep(Duration::from_millis(1100)).await;
        client.send(POST.replace("POST", method)).await;
        within(async {
            tokio::select! {
                biased;
                head = idle.head_or_end() => assert!(head.is_none(), "{method} came on the old connection"),
                mut wire = upstream.accept() => {
                    let (_, body) = wire.message().await;
                    assert_eq!(body, "body");
                    wire.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok").await;
                    assert_eq!(client.message().await.1, "ok");
                }
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_refused_request_waits_for_its_upstream() {
    for request in [GET, POST] {
        let dormant = Dormant::new();
        let stage = Stage::before(dormant.address, true, |_| ()).await;
        let mut client = stage.client_sending(request).await;
        // Whoever does not wait has answered by now.
        let early = timeout(Duration::from_millis(300), client.head_or_end()).await;
        assert!(early.is_err(), "was answered by {early:?}");
        let (mut wire, head) = dormant.wake().request().await;
        wire.body(&head).await;
        wire.send(OK).await;
        assert_eq!(client.message().await.1, "ok");
    }
}

#[tokio::test]
async fn waiting_has_an_end() {
    let dormant = Dormant::new();
    let stage = Stage::before(dormant.address, true, |settings| {
        settings.hold_timeout = Duration::from_millis(200);
    })
    .await;
    let mut client = stage.client_sending(GET).await;
    let head = client.head().await;
    assert!(Contender::chosen().refuses_with(head.status(), 502), "{head:?}");
}

#[tokio::test]
async fn a_waiting_request_follows_the_route() {
    Contender::must_be_rollbridge();
    let dormant = Dormant::new();
    let stage = Stage::before(dormant.address, true, |_| ()).await;
    let mut client = stage.client_sending(POST).await;
    let early = timeout(Duration::from_millis(100), client.head_or_end()).await;
    assert!(early.is_err(), "was answered by {early:?}");
    let next = Dormant::new();
    let route = Route::new(next.address);
    let upstream = next.wake();
    stage.own().switch(Some(route)).await;
    let (mut wire, head) = upstream.request().await;
    assert_eq!(wire.body(&head).await.content, "body");
    wire.send(OK).await;
    assert_eq!(client.message().await.1, "ok");
}

#[tokio::test]
async fn only_so_many_requests_wait_and_one_that_leaves_makes_room() {
    Contender::must_be_rollbridge();
    let dormant = Dormant::new();
    let stage = Stage::before(dormant.address, true, |settings| settings.max_held_requests = 1).await;
    let mut first = stage.client_sending(GET).await;
    let early = timeout(Duration::from_millis(100), first.head_or_end()).await;
    assert!(early.is_err(), "was answered by {early:?}");
    let mut second = stage.client_sending(GET).await;
    assert_eq!(second.message().await.0.status(), 503);
    first.reset();
    // The place is free as soon as the proxy has noticed.
    within(async {
        loop {
            let mut third = stage.client_sending(GET).await;
            if timeout(Duration::from_millis(300), third.message())
                .await
                .is_err()
            {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_failed_process_is_not_waited_for() {
    Contender::must_be_rollbridge();
    let dormant = Dormant::new();
    let stage = Stage::before(dormant.address, true, |_| ()).await;
    let route = Route::new(dormant.address);
    route.connections().set_failed(true);
    stage.own().switch(Some(route)).await;
    let mut client = stage.client_sending(GET).await;
    assert_eq!(client.message().await.0.status(), 502);
}

#[tokio::test]
async fn without_a_release_clients_are_told_to_come_back() {
    Contender::must_be_rollbridge();
    let (stage, _upstream) = Stage::start().await;
    stage.own().switch(None).await;
    let mut client = stage.client().await;
    for (accept, kind) in [("*/*", "text/plain"), ("application/json", "application/json")] {
        client
            .send(format!("GET / HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\n\r\n"))
            .await;
        let (head, body) = client.message().await;
        assert_eq!(head.status(), 503);
        assert!(head.get("retry-after").is_some());
        assert!(head.get("content-type").unwrap().starts_with(kind));
        assert!(!body.is_empty() && body.len() < 200, "{body}");
    }
}
