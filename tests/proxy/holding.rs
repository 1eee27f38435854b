//! Requests whose upstream is away: held, sent again, or refused.

use std::time::Duration;

use crate::stage::{Dormant, Stage, Upstream, idle, wait_until, within};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn without_a_route_clients_are_told_to_come_back() {
    let stage = Stage::start();
    let mut client = stage.client().await;
    for (accept, content_type) in [
        ("*/*", "text/plain; charset=utf-8"),
        ("application/json", "application/json"),
    ] {
        client
            .send(format!("GET / HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\n\r\n"))
            .await;
        let (head, body) = client.message().await;
        assert_eq!(head.status(), 503);
        assert_eq!(head.get("retry-after"), Some("1"));
        assert_eq!(head.get("content-type"), Some(content_type));
        assert!(body.contains("no release is active"), "{body}");
    }
}

#[tokio::test]
async fn a_request_waits_for_its_upstream_to_come_back() {
    let stage = Stage::start();
    let dormant = Dormant::new();
    stage.proxy.switch(Some(dormant.route.clone())).await;
    let mut client = stage.client_sending(POST).await;
    wait_until("the request is counted", || {
        dormant.route.connections().http() == 1
    })
    .await;

    let upstream = dormant.wake();
    let (mut wire, head) = upstream.request().await;
    assert_eq!(head.start, "POST / HTTP/1.1");
    assert_eq!(wire.exactly(4).await, "body");
    wire.send(OK).await;
    assert_eq!(client.message().await.0.status(), 200);
    idle(upstream.connections()).await;
}

#[tokio::test]
async fn a_waiting_request_follows_the_route() {
    let stage = Stage::start();
    let dormant = Dormant::new();
    stage.proxy.switch(Some(dormant.route.clone())).await;
    let mut client = stage.client_sending(POST).await;
    wait_until("the request is counted", || {
        dormant.route.connections().http() == 1
    })
    .await;

    let upstream = Upstream::listen().await;
    stage.proxy.switch(Some(upstream.route.clone())).await;
    let (mut wire, _) = upstream.request().await;
    idle(dormant.route.connections()).await;
    assert_eq!(upstream.connections().http(), 1);
    wire.send(OK).await;
    assert_eq!(client.message().await.0.status(), 200);
}

#[tokio::test]
async fn a_waiting_request_is_refused_when_the_route_goes() {
    let stage = Stage::start();
    let dormant = Dormant::new();
    stage.proxy.switch(Some(dormant.route.clone())).await;
    let mut client = stage.client_sending(GET).await;
    wait_until("the request is counted", || {
        dormant.route.connections().http() == 1
    })
    .await;
    stage.proxy.switch(None).await;
    assert_eq!(client.message().await.0.status(), 503);
    idle(dormant.route.connections()).await;
}

#[tokio::test]
async fn waiting_ends_after_the_hold_timeout() {
    for hold_timeout in [Duration::ZERO, Duration::from_millis(100)] {
        let stage = Stage::with(|settings| settings.hold_timeout = hold_timeout);
        let dormant = Dormant::new();
        stage.proxy.switch(Some(dormant.route.clone())).await;
        let mut client = stage.client_sending(GET).await;
        assert_eq!(client.message().await.0.status(), 502);
        idle(dormant.route.connections()).await;
    }
}

#[tokio::test]
async fn waiting_ends_at_once_when_the_upstream_has_failed() {
    let stage = Stage::start();
    let dormant = Dormant::new();
    stage.proxy.switch(Some(dormant.route.clone())).await;
    let mut client = stage.client_sending(GET).await;
    wait_until("the request is counted", || {
        dormant.route.connections().http() == 1
    })
    .await;
    dormant.route.connections().set_failed(true);
    assert_eq!(client.message().await.0.status(), 502);
    client.send(GET).await;
    assert_eq!(client.message().await.0.status(), 502);

    dormant.route.connections().set_failed(false);
    client.send(GET).await;
    let (mut wire, _) = dormant.wake().request().await;
    wire.send(OK).await;
    assert_eq!(client.message().await.0.status(), 200);
}

#[tokio::test]
async fn only_so_many_requests_wait() {
    let stage = Stage::with(|settings| settings.max_held_requests = 1);
    let dormant = Dormant::new();
    stage.proxy.switch(Some(dormant.route.clone())).await;
    let (answered, mut answers) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..3 {
        let (mut client, answered) = (stage.client_sending(GET).await, answered.clone());
        tokio::spawn(async move { answered.send(client.message().await.0).unwrap() });
    }
    // Whichever comes first waits; the two others are answered before the upstream is there.
    for _ in 0..2 {
        let head = within(answers.recv()).await.unwrap();
        assert_eq!((head.status(), head.get("retry-after")), (503, Some("1")));
    }
    let (mut wire, _) = dormant.wake().request().await;
    wire.send(OK).await;
    assert_eq!(within(answers.recv()).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_client_that_leaves_stops_waiting() {
    let stage = Stage::start();
    let dormant = Dormant::new();
    stage.proxy.switch(Some(dormant.route.clone())).await;
    let client = stage.client_sending(GET).await;
    wait_until("the request is counted", || {
        dormant.route.connections().http() == 1
    })
    .await;
    drop(client);
    idle(dormant.route.connections()).await;
}

#[tokio::test]
async fn a_pooled_connection_that_was_closed_is_not_used() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.client_sending(GET).await;
    let (mut wire, _) = upstream.request().await;
    for request in [GET, POST, POST] {
        wire.send(OK).await;
        assert_eq!(client.message().await.0.status(), 200);
        idle(upstream.connections()).await;
        drop(wire);
        client.send(request).await;
        wire = upstream.request().await.0;
    }
}

#[tokio::test]
async fn an_idempotent_request_survives_the_death_of_its_connection() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.client_sending(GET).await;
    // First a fresh connection dies under the request, then a pooled one.
    drop(upstream.request().await);
    let (mut wire, _) = upstream.request().await;
    wire.send(OK).await;
    assert_eq!(client.message().await.0.status(), 200);
    idle(upstream.connections()).await;

    client.send(GET).await;
    wire.head().await;
    drop(wire);
    let (mut wire, head) = upstream.request().await;
    assert_eq!(head.start, "GET / HTTP/1.1");
    wire.send(OK).await;
    assert_eq!(client.message().await.0.status(), 200);
}

#[tokio::test]
async fn a_post_is_never_sent_twice() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.client_sending(POST).await;
    let (mut wire, _) = upstream.request().await;
    wire.exactly(4).await;
    drop(wire);
    assert_eq!(client.message().await.0.status(), 502);
    idle(upstream.connections()).await;
    // What the upstream sees next is the next request.
    client.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(upstream.request().await.1.start, "GET /next HTTP/1.1");
}

#[tokio::test]
async fn an_answer_that_is_not_http_is_not_asked_for_twice() {
    let (stage, upstream) = Stage::with_upstream().await;
    for answer in ["this is not HTTP\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-"] {
        let mut client = stage.client_sending(GET).await;
        let (mut wire, _) = upstream.request().await;
        wire.send(answer).await;
        drop(wire);
        assert_eq!(client.message().await.0.status(), 502, "{answer}");
    }
    let listener = upstream.into_listener();
    let none_waiting = tokio::time::timeout(Duration::from_millis(50), listener.accept());
    assert!(within(none_waiting).await.is_err());
}
