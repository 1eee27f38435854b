//! Bodies flow as they come, and no faster than the reader reads.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::stage::{Stage, idle, within};

/// Far more than the socket buffers along the way hold.
const BODY_BYTES: usize = 64 * 1024 * 1024;
/// A writer that cannot write for this long has met backpressure.
const STALL: Duration = Duration::from_millis(500);

#[tokio::test]
async fn every_event_arrives_as_it_is_sent() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage
        .client_sending("GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    let (mut wire, _) = upstream.request().await;
    wire.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    assert_eq!(client.head().await.get("content-type"), Some("text/event-stream"));
    for event in 0..5 {
        wire.send(format!("9\r\ndata: {event}\n\n\r\n")).await;
        assert_eq!(
            client.until("\n\n\r\n").await,
            format!("9\r\ndata: {event}\n\n\r\n")
        );
        assert_eq!(upstream.connections().http(), 1);
    }
    wire.send("0\r\n\r\n").await;
    assert_eq!(client.until("0\r\n\r\n").await, "0\r\n\r\n");
    idle(upstream.connections()).await;
}

#[tokio::test]
async fn an_upload_streams_while_the_answer_is_under_way() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage
        .client_sending("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    let (mut wire, _) = upstream.request().await;
    wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    client.head().await;
    for _ in 0..3 {
        client.send("4\r\nping\r\n").await;
        assert_eq!(wire.until("ping\r\n").await, "4\r\nping\r\n");
        wire.send("4\r\npong\r\n").await;
        assert_eq!(client.until("pong\r\n").await, "4\r\npong\r\n");
    }
    client.send("0\r\n\r\n").await;
    wire.until("0\r\n\r\n").await;
    wire.send("0\r\n\r\n").await;
    client.until("0\r\n\r\n").await;
    idle(upstream.connections()).await;
}

#[tokio::test]
async fn a_slow_upstream_slows_the_client_down() {
    let (stage, upstream) = Stage::with_upstream().await;
    let head = format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {BODY_BYTES}\r\n\r\n");
    let client = stage.client_sending(head).await;
    let (wire, _) = upstream.request().await;
    flows_no_faster_than_it_is_read(client.into_stream(), wire.into_stream()).await;
}

#[tokio::test]
async fn a_slow_client_slows_the_upstream_down() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.client_sending("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let (mut wire, _) = upstream.request().await;
    wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY_BYTES}\r\n\r\n"))
        .await;
    client.head().await;
    flows_no_faster_than_it_is_read(wire.into_stream(), client.into_stream()).await;
    idle(upstream.connections()).await;
}

/// Writes a body until nothing more goes through, then reads, and checks that all of it arrives.
async fn flows_no_faster_than_it_is_read(mut from: TcpStream, mut to: TcpStream) {
    let block = vec![b'x'; 64 * 1024];
    let mut written = 0;
    while let Ok(progress) = timeout(STALL, from.write(&block)).await {
        written += progress.unwrap();
        assert!(
            written < BODY_BYTES / 2,
            "the proxy buffers: {written} bytes were taken that nobody has read"
        );
    }
    let writing = async {
        while written < BODY_BYTES {
            let next = block.len().min(BODY_BYTES - written);
            written += from.write(&block[..next]).await.unwrap();
        }
    };
    let reading = async {
        let (mut read, mut buffer) = (0, vec![0; 256 * 1024]);
        while read < BODY_BYTES {
            let length = to.read(&mut buffer).await.unwrap();
            assert!(length > 0, "the end after {read} bytes");
            read += length;
        }
    };
    within(async { tokio::join!(writing, reading) }).await;
}
