//! Rows about upgraded connections.

use crate::stage::Stage;
use crate::support::Upstream;
use crate::support::{End, Wire};

const REQUEST: &str = "GET /socket HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// A client and its upstream with an open tunnel between them.
async fn tunnel() -> (Stage, Upstream, Wire, Wire) {
    let (stage, upstream) = Stage::start().await;
    let mut client = stage.client_sending(REQUEST).await;
    let (mut wire, head) = upstream.request().await;
    assert_eq!(head.get("upgrade"), Some("websocket"));
    wire.send(SWITCH).await;
    assert_eq!(client.head().await.status(), 101);
    (stage, upstream, client, wire)
}

#[tokio::test]
async fn any_protocol_is_upgraded_and_early_bytes_are_kept() {
    let (stage, upstream) = Stage::start().await;
    for protocol in ["websocket", "acme/7"] {
        let mut client = stage
            .client_sending(format!(
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nearly client"
            ))
            .await;
        let (mut wire, head) = upstream.request().await;
        assert_eq!(head.get("upgrade"), Some(protocol));
        let connection = head.get("connection").map(str::to_ascii_lowercase);
        assert_eq!(connection.as_deref(), Some("upgrade"));
        wire.send(format!(
            "HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\nX-Own: 1\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nearly upstream"
        ))
        .await;
        let head = client.head().await;
        assert_eq!((head.status(), head.get("x-own")), (101, Some("1")));
        assert_eq!(head.get("upgrade"), Some(protocol));
        assert_eq!(client.exactly(14).await, "early upstream");
        assert_eq!(wire.exactly(12).await, "early client");
        client.send("ping").await;
        assert_eq!(wire.exactly(4).await, "ping");
        wire.send("pong").await;
        assert_eq!(client.exactly(4).await, "pong");
    }
}

#[tokio::test]
async fn the_fin_of_an_upgraded_client_is_passed_on_as_a_fin() {
    let (_stage, _upstream, mut client, mut wire) = tunnel().await;
    client.send("bye").await;
    client.half_close().await;
    assert_eq!(wire.end().await, ("bye".to_owned(), End::Fin));
    wire.send("still here").await;
    assert_eq!(client.exactly(10).await, "still here");
    drop(wire);
    assert_eq!(client.end().await, (String::new(), End::Fin));
}

#[tokio::test]
async fn the_fin_of_an_upgraded_upstream_is_passed_on_as_a_fin() {
    let (_stage, _upstream, mut client, mut wire) = tunnel().await;
    wire.send("bye").await;
    wire.half_close().await;
    assert_eq!(client.end().await, ("bye".to_owned(), End::Fin));
    client.send("still here").await;
    assert_eq!(wire.exactly(10).await, "still here");
    drop(client);
    assert_eq!(wire.end().await, (String::new(), End::Fin));
}

#[tokio::test]
async fn a_reset_closes_both_sides_of_an_upgraded_connection() {
    let (_stage, _upstream, client, mut wire) = tunnel().await;
    client.reset();
    wire.is_cut_soon().await;
    let (_stage, _upstream, mut client, wire) = tunnel().await;
    wire.reset();
    client.is_cut_soon().await;
}

#[tokio::test]
async fn a_refused_upgrade_is_an_ordinary_answer() {
    let (stage, upstream) = Stage::start().await;
    let mut client = stage.client_sending(REQUEST).await;
    let (mut wire, _) = upstream.request().await;
    wire.send("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
        .await;
    drop(wire);
    let (head, body) = client.message().await;
    assert_eq!((head.status(), body.as_str()), (426, "no"));
    // The connection goes on as HTTP.
    client.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(upstream.request().await.1.start, "GET /next HTTP/1.1");
}
