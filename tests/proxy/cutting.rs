//! Ends that come too early: from the client, from the upstream, and from a release that is closed.

use std::time::Duration;

use rollbridge::proxy::Cut;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::stage::{End, Stage, idle, within};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_cancels_its_request() {
    let (stage, upstream) = Stage::with_upstream().await;
    for reset in [false, true] {
        let client = stage.client_sending(GET).await;
        let (mut wire, _) = upstream.request().await;
        assert_eq!(upstream.connections().http(), 1);
        if reset {
            client.reset()
        } else {
            drop(client)
        }
        wire.is_cut().await;
        idle(upstream.connections()).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_during_the_answer_cancels_its_request() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.client_sending(GET).await;
    let (mut wire, _) = upstream.request().await;
    wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        .await;
    client.until("abc\r\n").await;
    drop(client);
    wire.is_cut().await;
    idle(upstream.connections()).await;
}

#[tokio::test]
async fn a_client_that_leaves_during_its_upload_cancels_its_request() {
    let (stage, upstream) = Stage::with_upstream().await;
    for framing in [
        "Content-Length: 100\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n3\r\n",
    ] {
        let client = stage
            .client_sending(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}abc"))
            .await;
        let (mut wire, _) = upstream.request().await;
        wire.until("abc").await;
        drop(client);
        let (rest, _) = wire.end().await;
        assert!(
            !rest.contains("0\r\n\r\n"),
            "a truncated upload must not look complete: {rest:?}"
        );
        idle(upstream.connections()).await;
    }
}

#[tokio::test]
async fn an_upstream_that_dies_cuts_the_client() {
    let (stage, upstream) = Stage::with_upstream().await;
    for framing in [
        "Content-Length: 100\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n3\r\n",
    ] {
        for reset in [false, true] {
            let mut client = stage.client_sending(GET).await;
            let (mut wire, _) = upstream.request().await;
            wire.send(format!("HTTP/1.1 200 OK\r\n{framing}abc")).await;
            client.until("abc").await;
            if reset {
                wire.reset()
            } else {
                drop(wire)
            }
            let (rest, _) = client.end().await;
            assert!(
                !rest.contains("0\r\n\r\n"),
                "a truncated body must not look complete: {rest:?}"
            );
            idle(upstream.connections()).await;
        }
    }
}

#[tokio::test]
async fn what_came_before_the_cut_still_arrives() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.client_sending(GET).await;
    let (mut wire, _) = upstream.request().await;
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
        .await;
    drop(wire);
    client.until("abc").await;
    client.is_cut().await;
}

#[tokio::test]
async fn a_client_that_reads_to_the_end_gets_a_reset_instead_of_an_end() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.client_sending("GET / HTTP/1.0\r\n\r\n").await;
    let (mut wire, _) = upstream.request().await;
    wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        .await;
    client.until("abc").await;
    drop(wire);
    assert_eq!(client.end().await.1, End::Reset);
}

#[tokio::test]
async fn closing_a_release_cuts_answers_and_refuses_what_has_none() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut waiting = stage.client_sending(GET).await;
    let (mut first, _) = upstream.request().await;
    let mut streaming = stage.client_sending(GET).await;
    let (mut second, _) = upstream.request().await;
    second
        .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        .await;
    streaming.until("abc\r\n").await;
    stage.proxy.switch(None).await;

    assert_eq!(
        upstream.connections().close(),
        Cut {
            http: 2,
            websocket: 0
        }
    );
    assert_eq!(waiting.message().await.0.status(), 502);
    streaming.is_cut().await;
    first.is_cut().await;
    second.is_cut().await;
    idle(upstream.connections()).await;
    // The connection of the refused request is still good.
    waiting.send(GET).await;
    assert_eq!(waiting.message().await.0.status(), 503);
}

#[tokio::test]
async fn closing_a_release_cuts_an_answer_nobody_reads() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.client_sending(GET).await;
    let (mut wire, _) = upstream.request().await;
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        .await;
    client.head().await;
    let mut stream = wire.into_stream();
    let block = vec![b'x'; 64 * 1024];
    // Until every buffer on the way is full.
    while timeout(Duration::from_millis(200), stream.write_all(&block))
        .await
        .is_ok()
    {}
    assert_eq!(
        upstream.connections().close(),
        Cut {
            http: 1,
            websocket: 0
        }
    );
    within(async { while stream.write_all(&block).await.is_ok() {} }).await;
    idle(upstream.connections()).await;
}

#[tokio::test]
async fn a_shutdown_closes_everything() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut quiet = stage.client().await;
    let mut waiting = stage.client_sending(GET).await;
    let (mut wire, _) = upstream.request().await;
    within(stage.proxy.shutdown()).await;
    quiet.is_cut().await;
    waiting.is_cut().await;
    wire.is_cut().await;
    idle(upstream.connections()).await;
    assert!(
        tokio::net::TcpStream::connect(stage.proxy.local_address())
            .await
            .is_err()
    );
    // Both are harmless afterwards.
    within(stage.proxy.switch(None)).await;
    within(stage.proxy.shutdown()).await;
}
