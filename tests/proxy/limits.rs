//! Bounds: connections, idle time, heads.

use std::time::Duration;

use crate::stage::{End, Stage, Upstream, wait_until, within};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test]
async fn the_newest_connection_beyond_the_limit_is_refused_politely() {
    let stage = Stage::with(|settings| settings.max_connections = 2);
    let mut first = stage.client_sending(GET).await;
    let mut second = stage.client_sending(GET).await;
    assert_eq!(first.message().await.0.status(), 503);
    assert_eq!(second.message().await.0.status(), 503);

    let mut third = stage.client_sending(GET).await;
    let (head, body) = third.message().await;
    assert_eq!((head.status(), head.get("connection")), (503, Some("close")));
    assert_eq!(body, "too many connections\n");
    assert_eq!(third.end().await, (String::new(), End::Fin));

    drop(first);
    // The place is free as soon as the proxy has seen the client leave.
    let mut fourth;
    loop {
        fourth = stage.client_sending(GET).await;
        let (head, body) = fourth.message().await;
        assert_eq!(head.status(), 503);
        if body != "too many connections\n" {
            break;
        }
    }
    second.send(GET).await;
    assert_eq!(second.message().await.0.status(), 503);
}

#[tokio::test]
async fn an_idle_client_is_closed() {
    let stage = Stage::with(|settings| settings.client_idle_timeout = Duration::from_millis(100));
    let mut used = stage.client_sending(GET).await;
    assert_eq!(used.message().await.0.status(), 503);
    assert_eq!(used.end().await, (String::new(), End::Fin));
}

#[tokio::test]
async fn without_idle_time_a_connection_still_has_one_request() {
    let stage = Stage::with(|settings| settings.client_idle_timeout = Duration::ZERO);
    let upstream = Upstream::listen().await;
    stage.proxy.switch(Some(upstream.route.clone())).await;
    let mut client = stage.client().await;
    // An exchange on another connection: the proxy has had every opportunity to close this one.
    let mut other = stage.client_sending(GET).await;
    let (mut wire, _) = upstream.request().await;
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let (head, body) = other.message().await;
    assert_eq!((head.status(), head.get("connection")), (200, Some("close")));
    assert_eq!(body, "ok");
    assert_eq!(other.end().await, (String::new(), End::Fin));

    client.send(GET).await;
    let (mut wire, _) = upstream.request().await;
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(client.message().await.0.status(), 200);
    assert_eq!(client.end().await, (String::new(), End::Fin));
}

#[tokio::test]
async fn a_request_under_way_is_not_idle() {
    let stage = Stage::with(|settings| settings.client_idle_timeout = Duration::from_millis(50));
    let upstream = Upstream::listen().await;
    stage.proxy.switch(Some(upstream.route.clone())).await;
    let mut client = stage.client_sending(GET).await;
    let (mut wire, _) = upstream.request().await;
    // Twice the idle time passes while the answer is awaited, and again while it is under way.
    tokio::time::sleep(Duration::from_millis(100)).await;
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n").await;
    assert_eq!(client.head().await.status(), 200);
    tokio::time::sleep(Duration::from_millis(100)).await;
    wire.send("ok").await;
    assert_eq!(client.exactly(2).await, "ok");
}

#[tokio::test]
async fn a_client_that_sends_a_byte_now_and_then_is_given_up() {
    let stage = Stage::with(|settings| settings.head_timeout = Duration::from_millis(400));
    let upstream = Upstream::listen().await;
    stage.proxy.switch(Some(upstream.route.clone())).await;
    for used in [false, true] {
        let mut client = stage.client().await;
        if used {
            client.send(GET).await;
            let (mut wire, _) = upstream.request().await;
            wire.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
                .await;
            client.message().await;
        }
        // At this pace the head would take three times as long as it may.
        let mut bytes = GET.bytes().cycle();
        let answer = within(async {
            loop {
                client.try_send([bytes.next().unwrap()]).await;
                let pause = Duration::from_millis(40);
                if let Ok(head) = tokio::time::timeout(pause, client.head_or_end()).await {
                    break head;
                }
            }
        })
        .await;
        assert_eq!(answer.map(|head| head.status()), Some(408), "used {used}");
        client.end().await;
    }
}

#[tokio::test]
async fn empty_lines_are_no_request_for_ever() {
    let stage = Stage::with(|settings| settings.head_timeout = Duration::from_millis(400));
    let mut client = stage.client().await;
    let mut bytes = "\r\n".bytes().cycle();
    within(async {
        loop {
            client.try_send([bytes.next().unwrap()]).await;
            let pause = Duration::from_millis(40);
            if tokio::time::timeout(pause, client.end()).await.is_ok() {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn heads_are_bounded() {
    let (stage, upstream) = Stage::with_upstream().await;
    let many = "X-Field: 1\r\n".repeat(129);
    let long = format!("X-Long: {}\r\n", "x".repeat(65 * 1024));
    for fields in [many, long] {
        let mut client = stage
            .client_sending(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"))
            .await;
        assert_eq!(client.head().await.status(), 431);
        client.end().await;
    }
    let fine = format!("X-Long: {}\r\n", "x".repeat(60 * 1024));
    let _client = stage
        .client_sending(format!("GET / HTTP/1.1\r\nHost: a\r\n{fine}\r\n"))
        .await;
    upstream.request().await;
    wait_until("the request is counted", || upstream.connections().http() == 1).await;
}
