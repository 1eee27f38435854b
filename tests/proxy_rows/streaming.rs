//! Rows about bodies under way: nothing is kept back, and nothing is gathered.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::stage::Stage;
use crate::support::within;

/// More than socket buffers on the way can hold, at the largest size the kernel gives them.
const LARGE: usize = 48 * 1024 * 1024;
/// What may be on the way while the reader does not read: four socket buffers and the proxy's own.
const ON_THE_WAY: usize = 24 * 1024 * 1024;

#[tokio::test]
async fn every_event_is_forwarded_as_it_comes() {
    let (stage, upstream) = Stage::start().await;
    let mut client = stage
        .client_sending("GET / HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n")
        .await;
    let (mut wire, _) = upstream.request().await;
    wire.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    // The head comes before there is any event.
    client.head().await;
    for event in ["data: one\n\n", "data: two\n\n", "data: three\n\n"] {
        wire.send(format!("{:x}\r\n{event}\r\n", event.len())).await;
        client.until(event).await;
    }
}

#[tokio::test]
async fn every_piece_of_a_request_is_forwarded_as_it_comes() {
    let (stage, upstream) = Stage::start().await;
    let mut client = stage
        .client_sending("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n")
        .await;
    client.send("one").await;
    let (mut wire, _) = upstream.request().await;
    assert_eq!(wire.exactly(3).await, "one");
    client.send("two").await;
    assert_eq!(wire.exactly(3).await, "two");
}

#[tokio::test]
async fn a_large_answer_is_streamed_with_backpressure() {
    let (stage, upstream) = Stage::start().await;
    let client = stage.client_sending("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let (mut wire, _) = upstream.request().await;
    wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"))
        .await;
    let mut client = client;
    client.head().await;
    passes_with_backpressure(wire.into_stream(), client.into_stream()).await;
}

#[tokio::test]
async fn a_large_request_is_streamed_with_backpressure() {
    let (stage, upstream) = Stage::start().await;
    let client = stage
        .client_sending(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n"
        ))
        .await;
    let (wire, _) = upstream.request().await;
    passes_with_backpressure(client.into_stream(), wire.into_stream()).await;
}

/// Writes `LARGE` bytes while nobody reads, then reads and compares them.
async fn passes_with_backpressure(mut from: TcpStream, mut to: TcpStream) {
    let piece = vec![0; 64 * 1024];
    let mut sent = 0;
    let mut sum = Sum::default();
    while sent < LARGE {
        let most = piece.len().min(LARGE - sent);
        let numbered = Sum::pattern(sent, most);
        // Half a second without progress: the way is full.
        match timeout(Duration::from_millis(500), from.write(&numbered)).await {
            Ok(written) => {
                let written = written.unwrap();
                sum.add(&numbered[..written]);
                sent += written;
            }
            Err(_) => break,
        }
        assert!(sent <= ON_THE_WAY, "{sent} bytes were taken while nobody read");
    }
    let writer = tokio::spawn(async move {
        while sent < LARGE {
            let numbered = Sum::pattern(sent, piece.len().min(LARGE - sent));
            let written = from.write(&numbered).await.unwrap();
            sum.add(&numbered[..written]);
            sent += written;
        }
        (from, sum)
    });
    let mut received = Sum::default();
    let mut buffer = vec![0; 256 * 1024];
    while received.length < LARGE {
        let read = within(to.read(&mut buffer)).await.unwrap();
        assert!(read > 0, "the end after {} bytes", received.length);
        received.add(&buffer[..read]);
    }
    let (_from, sum) = within(writer).await.unwrap();
    assert_eq!(received, sum);
}

/// Length and checksum of a stream.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    length: usize,
    value: u64,
}

impl Sum {
    /// Bytes that tell where in the stream they are.
    fn pattern(at: usize, length: usize) -> Vec<u8> {
        (at..at + length)
            .map(|index| (index / 251 + index) as u8)
            .collect()
    }

    fn add(&mut self, bytes: &[u8]) {
        self.length += bytes.len();
        for byte in bytes {
            self.value = self.value.wrapping_mul(31).wrapping_add(u64::from(*byte));
        }
    }
}
