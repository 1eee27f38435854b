//! Upgraded connections: tunnels for any protocol.

use rollbridge::proxy::Cut;

use crate::stage::{End, Head, Stage, Upstream, Wire, idle, wait_until};

const REQUEST: &str = "GET /socket HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// A client and its upstream with an open tunnel between them.
async fn tunnel() -> (Stage, Upstream, Wire, Wire) {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.client_sending(REQUEST).await;
    let (mut wire, _) = upstream.request().await;
    wire.send(SWITCH).await;
    assert_switched(&client.head().await, "websocket");
    // It is counted as what it has become before it is no longer counted as a request.
    wait_until("the upgrade is counted", || {
        upstream.connections().websocket() == 1 && upstream.connections().http() == 0
    })
    .await;
    (stage, upstream, client, wire)
}

fn assert_switched(head: &Head, protocol: &str) {
    assert_eq!(head.status(), 101);
    assert_eq!(
        head.get("connection").map(str::to_ascii_lowercase).as_deref(),
        Some("upgrade")
    );
    assert_eq!(head.get("upgrade"), Some(protocol));
}

#[tokio::test]
async fn any_protocol_is_forwarded_with_its_early_bytes() {
    let (stage, upstream) = Stage::with_upstream().await;
    for protocol in ["websocket", "acme/7"] {
        let mut client = stage
            .client_sending(format!(
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\nearly client"
            ))
            .await;
        let (mut wire, head) = upstream.request().await;
        assert_eq!(head.get("upgrade"), Some(protocol));
        assert_eq!(head.get("connection"), Some("Upgrade"));
        wire.send(format!(
            "HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\nX-Own: 1\r\n\r\nearly upstream"
        ))
        .await;
        let head = client.head().await;
        assert_switched(&head, protocol);
        assert_eq!(head.get("x-own"), Some("1"));
        assert_eq!(client.exactly(14).await, "early upstream");
        assert_eq!(wire.exactly(12).await, "early client");
        client.send("ping").await;
        assert_eq!(wire.exactly(4).await, "ping");
        wire.send("pong").await;
        assert_eq!(client.exactly(4).await, "pong");
    }
    idle(upstream.connections()).await;
}

#[tokio::test]
async fn a_half_close_is_passed_on_as_one() {
    let (_stage, upstream, mut client, mut wire) = tunnel().await;
    client.send("last words").await;
    client.half_close().await;
    assert_eq!(wire.end().await, ("last words".to_owned(), End::Fin));
    assert_eq!(upstream.connections().websocket(), 1);
    wire.send("an answer after the end").await;
    wire.half_close().await;
    assert_eq!(
        client.end().await,
        ("an answer after the end".to_owned(), End::Fin)
    );
    idle(upstream.connections()).await;
}

#[tokio::test]
async fn a_reset_from_either_side_closes_both() {
    let (_stage, upstream, client, mut wire) = tunnel().await;
    client.reset();
    wire.is_cut().await;
    idle(upstream.connections()).await;

    let (_stage, upstream, mut client, wire) = tunnel().await;
    wire.reset();
    client.is_cut().await;
    idle(upstream.connections()).await;
}

#[tokio::test]
async fn a_refused_upgrade_is_an_ordinary_response() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.client_sending(REQUEST).await;
    let (mut wire, _) = upstream.request().await;
    wire.send("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno").await;
    let (head, body) = client.message().await;
    assert_eq!((head.status(), body.as_str()), (403, "no"));
    idle(upstream.connections()).await;
    client.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(wire.head().await.start, "GET /next HTTP/1.1");
}

#[tokio::test]
async fn a_switch_of_protocols_nobody_asked_for_is_an_error() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.client_sending("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let (mut wire, _) = upstream.request().await;
    wire.send(SWITCH).await;
    assert_eq!(client.message().await.0.status(), 502);
    wire.is_cut().await;
    idle(upstream.connections()).await;
}

#[tokio::test]
async fn closing_the_release_closes_both_sides() {
    let (stage, upstream, mut client, mut wire) = tunnel().await;
    let other = Upstream::listen().await;
    stage.proxy.switch(Some(other.route.clone())).await;
    client.send("still open").await;
    assert_eq!(wire.exactly(10).await, "still open");

    assert_eq!(
        upstream.connections().close(),
        Cut {
            http: 0,
            websocket: 1
        }
    );
    client.is_cut().await;
    wire.is_cut().await;
    idle(upstream.connections()).await;
}
