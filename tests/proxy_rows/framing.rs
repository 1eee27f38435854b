//! Rows about what is too ambiguous to be passed on.

use tokio::time::timeout;

use crate::contender::{Contender, judge};
use crate::stage::Stage;
use crate::support::{Upstream, patience, within};

/// Requests that two readers could understand in two ways.
const AMBIGUOUS: &[(&str, &str)] = &[
    (
        "both lengths",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "differing Content-Length fields",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
    ),
    (
        "differing lengths in one field",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 2\r\n\r\nx",
    ),
    (
        "a signed length",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx",
    ),
    (
        "a hexadecimal length",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\nx",
    ),
    (
        "an empty length",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n",
    ),
    (
        "a length beyond 64 bits",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551617\r\n\r\nx",
    ),
    (
        "chunked not last",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunked twice",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "an unknown coding alone",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "Transfer-Encoding on HTTP/1.0",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("two Host fields", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    ("no Host on HTTP/1.1", "GET / HTTP/1.1\r\nX-Other: a\r\n\r\n"),
    (
        "a bare LF after the request line",
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
    ),
    (
        "a bare LF after a field",
        "GET / HTTP/1.1\r\nHost: a\nX-B: c\r\n\r\n",
    ),
    (
        "a bare LF before the end",
        "GET / HTTP/1.1\r\nHost: a\r\nX-B: c\n\r\n",
    ),
    (
        "a bare CR in a value",
        "GET / HTTP/1.1\r\nHost: a\r\nX-B: c\rX-D: e\r\n\r\n",
    ),
    (
        "a zero byte in a value",
        "GET / HTTP/1.1\r\nHost: a\r\nX-B: c\0d\r\n\r\n",
    ),
    ("space before the colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
    (
        "space before the colon of a length",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 1\r\n\r\nx",
    ),
    (
        "a folded field",
        "GET / HTTP/1.1\r\nHost: a\r\nX-B: c\r\n folded\r\n\r\n",
    ),
    ("a Host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    ("a Host with two ports", "GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n"),
    ("a fragment in the target", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
];

#[tokio::test]
async fn ambiguous_requests_are_refused() {
    let (stage, upstream) = Stage::start().await;
    let mut failures = Vec::new();
    for (number, (name, request)) in AMBIGUOUS.iter().enumerate() {
        // A mark in the target tells a request that got through from an earlier one that is tried again.
        let mark = format!("/{number}-");
        let mut client = stage.client_sending(request.replacen('/', &mark, 1)).await;
        let outcome = within(async {
            tokio::select! {
                biased;
                () = arrival(&upstream, &mark) => Err("reached the upstream".to_owned()),
                head = client.head_or_end() => match head.map(|head| head.status()) {
                    Some(status) if Contender::chosen().refuses_with(status, 400) => Ok(()),
                    other => Err(format!("was answered by {other:?}")),
                },
            }
        })
        .await;
        match outcome {
            Ok(()) => drop(client.end().await),
            Err(why) => failures.push(format!("{name}: {why}")),
        }
    }
    judge(AMBIGUOUS.len(), &failures);
    // The first request that the upstream ever sees is this one.
    let _client = stage
        .client_sending("GET /first HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    assert_eq!(upstream.request().await.1.start, "GET /first HTTP/1.1");
}

/// Returns when a request with `mark` has arrived; answers it, so that nobody tries again.
async fn arrival(upstream: &Upstream, mark: &str) {
    loop {
        let mut wire = upstream.accept_some_time().await;
        let Some(head) = wire.until_or_end("\r\n\r\n").await else {
            continue;
        };
        wire.try_send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            .await;
        if head.contains(mark) {
            return;
        }
    }
}

#[tokio::test]
async fn a_broken_chunk_never_becomes_a_complete_body() {
    let (stage, upstream) = Stage::start().await;
    let cases = [
        ("no number", "zz\r\nabc\r\n0\r\n\r\n"),
        ("a sign", "+3\r\nabc\r\n0\r\n\r\n"),
        ("too large a number", "10000000000000003\r\nabc\r\n0\r\n\r\n"),
        ("no line end after the data", "3\r\nabcde\r\n0\r\n\r\n"),
        ("a bare LF after the size", "3\nabc\r\n0\r\n\r\n"),
        ("a bare LF after the data", "3\r\nabc\n0\r\n\r\n"),
        ("an extension without a name", "3;\r\nabc\r\n0\r\n\r\n"),
        ("a bare CR in an extension", "3;a\rb\r\nabc\r\n0\r\n\r\n"),
        (
            "a length among the trailers",
            "3\r\nabc\r\n0\r\nContent-Length: 3\r\n\r\n",
        ),
    ];
    let mut failures = Vec::new();
    for (name, body) in cases {
        let mut client = stage
            .client_sending(format!(
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}"
            ))
            .await;
        let read = timeout(patience(), async {
            tokio::select! {
                biased;
                mut wire = upstream.accept_some_time() => wire.until_or_end("0\r\n\r\n").await,
                _ = client.end() => None,
            }
        })
        .await;
        match read {
            Ok(None) => {}
            Ok(Some(text)) => failures.push(format!("{name}: the upstream read {text:?}")),
            Err(_) => failures.push(format!("{name}: the upstream was left waiting")),
        }
    }
    judge(cases.len(), &failures);
}
