//! Requests two readers could understand differently, clients that half-close, and bodies that are kept for another
//! try.

use crate::stage::{End, Stage, idle};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn ambiguous_requests_never_reach_the_upstream() {
    let (stage, upstream) = Stage::with_upstream().await;
    for request in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5,5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhello\r\n0\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: 1\rY: 2\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n folded: 1\r\n\r\n",
    ] {
        let mut client = stage.client_sending(request).await;
        let (head, _) = client.message().await;
        assert_eq!(
            (head.status(), head.get("connection")),
            (400, Some("close")),
            "{request:?}"
        );
        assert_eq!(client.end().await, (String::new(), End::Fin), "{request:?}");
    }
    let _client = stage
        .client_sending("GET /first HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    assert_eq!(upstream.request().await.1.start, "GET /first HTTP/1.1");
}

#[tokio::test]
async fn a_body_that_turns_bad_ends_both_connections() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage
        .client_sending("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        .await;
    let (mut wire, _) = upstream.request().await;
    wire.until("abc\r\n").await;
    client.send("nonsense\r\n").await;
    assert_eq!(client.message().await.0.status(), 400);
    client.is_cut().await;
    wire.is_cut().await;
    idle(upstream.connections()).await;
}

#[tokio::test]
async fn requests_in_one_piece_are_answered_in_order() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage
        .client_sending(
            "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\
             GET /2 HTTP/1.1\r\nHost: a\r\n\r\n\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n",
        )
        .await;
    let (mut wire, head) = upstream.request().await;
    assert_eq!(head.start, "POST /1 HTTP/1.1");
    assert_eq!(wire.exactly(3).await, "abc");
    for next in ["GET /2 HTTP/1.1", "GET /3 HTTP/1.1"] {
        wire.send(OK).await;
        assert_eq!(client.message().await.1, "ok");
        assert_eq!(wire.head().await.start, next);
    }
}

#[tokio::test]
async fn a_head_may_come_byte_by_byte() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.client().await;
    for byte in GET.as_bytes().chunks(1) {
        client.send(byte).await;
        tokio::task::yield_now().await;
    }
    let (mut wire, _) = upstream.request().await;
    for byte in OK.as_bytes().chunks(1) {
        wire.send(byte).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(client.message().await.1, "ok");
}

#[tokio::test]
async fn only_clients_that_announce_the_end_may_half_close() {
    let (stage, upstream) = Stage::with_upstream().await;
    for request in [
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ] {
        let mut client = stage.client_sending(request).await;
        client.half_close().await;
        let (mut wire, _) = upstream.request().await;
        wire.send(OK).await;
        assert_eq!(client.message().await.1, "ok", "{request:?}");
        assert_eq!(client.end().await, (String::new(), End::Fin));
        idle(upstream.connections()).await;
        drop(wire);
    }
    let mut client = stage.client_sending(GET).await;
    let (mut wire, _) = upstream.request().await;
    client.half_close().await;
    wire.is_cut().await;
    client.is_cut().await;
    idle(upstream.connections()).await;
}

#[tokio::test]
async fn a_put_with_its_whole_body_at_hand_is_sent_again() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage
        .client_sending("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo")
        .await;
    let (mut wire, _) = upstream.request().await;
    client.send("dy").await;
    assert_eq!(wire.exactly(4).await, "body");
    drop(wire);
    let (mut wire, head) = upstream.request().await;
    assert_eq!(head.start, "PUT / HTTP/1.1");
    assert_eq!(wire.exactly(4).await, "body");
    wire.send(OK).await;
    assert_eq!(client.message().await.0.status(), 200);
}

#[tokio::test]
async fn a_body_too_large_to_keep_is_not_sent_again() {
    let (stage, upstream) = Stage::with_upstream().await;
    let body = "x".repeat(300 * 1024);
    let mut client = stage
        .client_sending(format!(
            "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
    let (mut wire, _) = upstream.request().await;
    wire.exactly(body.len()).await;
    drop(wire);
    assert_eq!(client.message().await.0.status(), 502);
    client.send(GET).await;
    assert_eq!(upstream.request().await.1.start, "GET / HTTP/1.1");
}
