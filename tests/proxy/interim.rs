//! Answers before the answer, and bodies that wait for one.

use crate::stage::{End, Stage, idle};

const EXPECTING: &str = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";

#[tokio::test]
async fn interim_answers_are_relayed() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.client_sending("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let (mut wire, _) = upstream.request().await;
    wire.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
        .await;
    let early = client.head().await;
    assert_eq!((early.status(), early.get("link")), (103, Some("</a.css>")));
    wire.send("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await;
    assert_eq!(client.head().await.status(), 102);
    assert_eq!(client.message().await.1, "ok");
    idle(upstream.connections()).await;
}

#[tokio::test]
async fn an_http_1_0_client_sees_only_the_answer() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.client_sending("GET / HTTP/1.0\r\n\r\n").await;
    let (mut wire, _) = upstream.request().await;
    wire.send("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await;
    let (head, body) = client.message().await;
    assert_eq!((head.status(), body.as_str()), (200, "ok"));
    assert_eq!(client.end().await, (String::new(), End::Fin));
}

#[tokio::test]
async fn the_upstream_asks_for_the_body() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.client_sending(EXPECTING).await;
    let (mut wire, head) = upstream.request().await;
    assert_eq!(head.get("expect"), Some("100-continue"));
    wire.send("HTTP/1.1 100 Continue\r\n\r\n").await;
    assert_eq!(client.head().await.status(), 100);
    client.send("hello").await;
    assert_eq!(wire.exactly(5).await, "hello");
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let (head, _) = client.message().await;
    assert_eq!((head.status(), head.get("connection")), (200, None));
    // Both connections are good for another request.
    idle(upstream.connections()).await;
    client.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(wire.head().await.start, "GET /next HTTP/1.1");
}

#[tokio::test]
async fn an_upstream_that_does_not_want_the_body_ends_the_connection() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.client_sending(EXPECTING).await;
    let (mut wire, _) = upstream.request().await;
    wire.send("HTTP/1.1 401 Who?\r\nContent-Length: 2\r\n\r\nno")
        .await;
    let (head, body) = client.message().await;
    assert_eq!((head.status(), head.get("connection")), (401, Some("close")));
    assert_eq!(body, "no");
    assert_eq!(client.end().await, (String::new(), End::Fin));
    wire.is_cut().await;
    idle(upstream.connections()).await;
}

#[tokio::test]
async fn an_early_answer_to_an_upload_arrives_whole() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage
        .client_sending("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nsome of it")
        .await;
    let (mut wire, _) = upstream.request().await;
    wire.send("HTTP/1.1 413 Too Much\r\nContent-Length: 8\r\n\r\ntoo much")
        .await;
    let (head, body) = client.message().await;
    assert_eq!((head.status(), body.as_str()), (413, "too much"));
    assert_eq!(client.end().await, (String::new(), End::Fin));
    idle(upstream.connections()).await;
}
