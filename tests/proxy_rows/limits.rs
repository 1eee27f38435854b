//! Rows about bounds on heads, time and connections.

use std::time::Duration;

use tokio::time::timeout;

use crate::contender::Contender;
use crate::contender::judge;
use crate::stage::Stage;
use crate::support::{End, within};

#[tokio::test]
async fn heads_are_bounded_by_size_and_by_fields() {
    let (stage, upstream) = Stage::start().await;
    let cases = [
        ("129 fields", "X-Field: 1\r\n".repeat(129)),
        (
            "more than 64 KiB",
            format!("X-Long: {}\r\n", "x".repeat(65 * 1024)),
        ),
    ];
    let mut failures = Vec::new();
    for (name, fields) in &cases {
        let mut client = stage.client().await;
        client
            .try_send(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"))
            .await;
        let outcome = within(async {
            tokio::select! {
                biased;
                _ = upstream.accept_some_time() => None,
                head = client.head_or_end() => head.map(|head| head.status()),
            }
        })
        .await;
        let is_refused = outcome.is_some_and(|status| Contender::chosen().refuses_with(status, 431));
        if !is_refused {
            failures.push(format!("{name}: {outcome:?}"));
        }
    }
    judge(cases.len(), &failures);
}

#[tokio::test]
async fn heads_within_the_bounds_are_passed() {
    let (stage, upstream) = Stage::start().await;
    let long = format!("X-Long: {}\r\n", "x".repeat(60 * 1024));
    for fields in [long, "X-Field: 1\r\n".repeat(120)] {
        let mut client = stage
            .client_sending(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"))
            .await;
        let (mut wire, _) = upstream.request().await;
        wire.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
            .await;
        assert_eq!(client.message().await.1, "ok");
    }
}

#[tokio::test]
async fn a_head_that_is_not_complete_in_time_is_given_up() {
    // The others have the 30 seconds that this project's daemon has too.
    let head_timeout = Duration::from_millis(500);
    let (stage, _upstream) = Stage::with(true, |settings| settings.head_timeout = head_timeout).await;
    let mut client = stage.client_sending("GET / HTTP/1.1\r\nHos").await;
    let outcome = timeout(Duration::from_secs(50), client.until_or_end("\r\n\r\n"))
        .await
        .expect("the proxy waits for ever");
    let answer = outcome.unwrap_or_default();
    assert!(
        answer.starts_with("HTTP/1.1 408 ") || answer.starts_with("HTTP/1.0 408 "),
        "{answer:?}"
    );
    client.end().await;
}

#[tokio::test]
async fn the_newest_connection_beyond_the_limit_is_refused_politely() {
    Contender::must_be_rollbridge();
    let (stage, _upstream) = Stage::with(true, |settings| settings.max_connections = 2).await;
    stage.own().switch(None).await;
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut first = stage.client_sending(get).await;
    let mut second = stage.client_sending(get).await;
    first.message().await;
    second.message().await;
    let mut third = stage.client_sending(get).await;
    let (head, _) = third.message().await;
    assert_eq!((head.status(), head.get("connection")), (503, Some("close")));
    assert_eq!(third.end().await, (String::new(), End::Fin));
    // Those that are there go on.
    second.send(get).await;
    assert_eq!(second.message().await.0.status(), 503);
}
