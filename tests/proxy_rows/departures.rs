//! Rows about a side that leaves in the middle.

use std::time::Duration;

use crate::contender::judge;
use crate::stage::Stage;
use crate::support::End;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test]
async fn a_client_that_resets_while_it_waits_cancels_its_request() {
    let (stage, upstream) = Stage::start().await;
    let mut times = Vec::new();
    for _ in 0..20 {
        let client = stage.client_sending(GET).await;
        let (mut wire, _) = upstream.request().await;
        client.reset();
        times.push(wire.is_cut_soon().await);
    }
    tell("a reset", times);
}

#[tokio::test]
async fn a_client_that_closes_while_it_waits_cancels_its_request() {
    let (stage, upstream) = Stage::start().await;
    let mut client = stage.client_sending(GET).await;
    let (mut wire, _) = upstream.request().await;
    client.half_close().await;
    let mut times = vec![wire.is_cut_soon().await];
    for _ in 0..19 {
        let client = stage.client_sending(GET).await;
        let (mut wire, _) = upstream.request().await;
        drop(client);
        times.push(wire.is_cut_soon().await);
    }
    tell("a close", times);
}

/// Prints how long the upstream had to wait for the news, for `--nocapture`. The goal is about 100 ms.
#[expect(clippy::print_stdout, reason = "a figure for whoever asks for it")]
fn tell(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
    println!("the upstream heard of {what} after {median:?}, at most {longest:?}");
}

#[tokio::test]
async fn a_client_that_leaves_in_its_request_cancels_it() {
    let (stage, upstream) = Stage::start().await;
    for reset in [false, true] {
        for (framing, body) in [
            ("Content-Length: 10", "half"),
            ("Transfer-Encoding: chunked", "4\r\nhalf\r\n"),
        ] {
            let mut client = stage
                .client_sending(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n{body}"))
                .await;
            let (mut wire, _) = upstream.request().await;
            wire.until("half").await;
            if reset {
                client.reset();
            } else {
                client.half_close().await;
            }
            let (rest, _) = wire.end().await;
            assert!(!rest.contains("0\r\n\r\n"), "the body looks complete: {rest:?}");
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_in_its_answer_cancels_it() {
    let (stage, upstream) = Stage::start().await;
    let mut client = stage.client_sending(GET).await;
    let (mut wire, _) = upstream.request().await;
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        .await;
    client.until("half").await;
    client.reset();
    wire.is_cut_soon().await;
}

#[tokio::test]
async fn a_client_that_said_close_may_half_close_and_is_answered() {
    let (stage, upstream) = Stage::start().await;
    let requests = [
        "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ];
    let mut failures = Vec::new();
    for request in requests {
        let mut client = stage.client_sending(request).await;
        let (mut wire, _) = upstream.request().await;
        client.half_close().await;
        // An exchange on another connection: the proxy has had every opportunity to give up this one.
        let mut other = stage.client_sending(GET).await;
        let (mut others, _) = upstream.request().await;
        others
            .send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            .await;
        other.message().await;
        wire.try_send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
            .await;
        drop(wire);
        let (answer, _) = client.end().await;
        if !answer.ends_with("\r\n\r\nok") {
            failures.push(format!("{request:?} was answered by {answer:?}"));
        }
    }
    judge(requests.len(), &failures);
}

#[tokio::test]
async fn a_truncated_answer_never_looks_complete() {
    let (stage, upstream) = Stage::start().await;
    let mut failures = Vec::new();
    for (framing, body) in [
        ("Content-Length: 10", "half"),
        ("Transfer-Encoding: chunked", "4\r\nhalf\r\n"),
        ("Connection: close", "half"),
    ] {
        for reset in [false, true] {
            // Without a length, a FIN is the proper end.
            if framing == "Connection: close" && !reset {
                continue;
            }
            let mut client = stage.client_sending(GET).await;
            let (mut wire, _) = upstream.request().await;
            wire.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{body}"))
                .await;
            let head = client.head().await;
            client.until("half").await;
            if reset {
                wire.reset();
            } else {
                drop(wire);
            }
            let (rest, end) = client.end().await;
            let is_delimited =
                head.get("content-length").is_some() || head.get("transfer-encoding").is_some();
            if rest.contains("0\r\n\r\n") || (!is_delimited && end == End::Fin) {
                failures.push(format!("{framing}, reset {reset}: {rest:?}"));
            }
        }
    }
    judge(5, &failures);
}
