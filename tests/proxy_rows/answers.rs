//! Rows about the parts of an answer: trailers, 1xx, no body, HTTP/1.0.

use crate::contender::judge;
use crate::stage::Stage;
use crate::support::End;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test]
async fn trailers_of_a_request_are_kept() {
    let (stage, upstream) = Stage::start().await;
    let _client = stage
        .client_sending(
            "POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n\
             3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n",
        )
        .await;
    let (mut wire, head) = upstream.request().await;
    assert_eq!(head.get("trailer"), Some("X-Sum"));
    let body = wire.body(&head).await;
    assert_eq!(body.content, "abc");
    assert_eq!(body.trailers, [("x-sum".to_owned(), "7".to_owned())]);
}

#[tokio::test]
async fn trailers_of_an_answer_are_kept() {
    let (stage, upstream) = Stage::start().await;
    let mut client = stage
        .client_sending("GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n")
        .await;
    let (mut wire, _) = upstream.request().await;
    wire.send(
        "HTTP/1.1 200 OK\r\nTrailer: X-End\r\nTransfer-Encoding: chunked\r\n\r\n\
         2\r\nok\r\n0\r\nX-End: 8\r\n\r\n",
    )
    .await;
    let head = client.head().await;
    assert_eq!(head.get("trailer"), Some("X-End"));
    let body = client.body(&head).await;
    assert_eq!(body.content, "ok");
    assert_eq!(body.trailers, [("x-end".to_owned(), "8".to_owned())]);
}

#[tokio::test]
async fn early_hints_and_other_1xx_are_relayed() {
    let (stage, upstream) = Stage::start().await;
    let mut client = stage.client_sending(GET).await;
    let (mut wire, _) = upstream.request().await;
    wire.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")
        .await;
    let hints = client.head().await;
    assert_eq!(hints.status(), 103);
    assert_eq!(hints.get("link"), Some("</a.css>; rel=preload"));
    wire.send("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await;
    assert_eq!(client.head().await.status(), 102);
    let (head, body) = client.message().await;
    assert_eq!((head.status(), body.as_str()), (200, "ok"));
}

#[tokio::test]
async fn the_upstream_decides_about_100_continue() {
    let (stage, upstream) = Stage::start().await;
    let mut client = stage
        .client_sending("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        .await;
    let mut wire = upstream.accept().await;
    let head = tokio::select! {
        biased;
        early = client.head() => panic!("{} before the upstream was asked", early.start),
        head = wire.head() => head,
    };
    assert_eq!(head.get("expect"), Some("100-continue"));
    wire.send("HTTP/1.1 100 Continue\r\n\r\n").await;
    assert_eq!(client.head().await.status(), 100);
    client.send("body").await;
    assert_eq!(wire.exactly(4).await, "body");
    wire.send("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
        .await;
    assert_eq!(client.message().await.0.status(), 201);
}

#[tokio::test]
async fn an_early_final_answer_replaces_100_continue() {
    let (stage, upstream) = Stage::start().await;
    let mut client = stage
        .client_sending("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        .await;
    let (mut wire, _) = upstream.request().await;
    wire.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno")
        .await;
    let (head, body) = client.message().await;
    assert_eq!((head.status(), body.as_str()), (401, "no"));
    client.end().await;
    assert_eq!(wire.end().await.0, "", "no body was sent, and none was invented");
}

#[tokio::test]
async fn answers_without_a_body_have_none() {
    let (stage, upstream) = Stage::start().await;
    let cases = [
        ("HEAD", "200 OK\r\nContent-Length: 1234\r\n", Some("1234")),
        ("HEAD", "200 OK\r\nTransfer-Encoding: chunked\r\n", None),
        ("GET", "204 No Content\r\n", None),
        ("GET", "304 Not Modified\r\nETag: \"x\"\r\n", None),
    ];
    for (method, answer, length) in cases {
        let mut client = stage.client().await;
        for _ in 0..2 {
            // The second answer on the connection shows that nothing followed the first one's head.
            client
                .send(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"))
                .await;
            let (mut wire, head) = upstream.request().await;
            assert!(head.start.starts_with(method));
            wire.send(format!("HTTP/1.1 {answer}Connection: close\r\n\r\n"))
                .await;
            drop(wire);
            let head = client.head().await;
            assert_eq!(head.status().to_string(), answer[..3]);
            assert_eq!(head.get("content-length"), length, "{method} {answer}");
        }
    }
}

#[tokio::test]
async fn an_http_1_0_client_gets_plain_bytes_and_the_end() {
    let (stage, upstream) = Stage::start().await;
    let mut client = stage.client_sending("GET /old HTTP/1.0\r\nHost: a\r\n\r\n").await;
    let (mut wire, _) = upstream.request().await;
    wire.send("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    wire.send("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n").await;
    let head = client.head().await;
    assert_eq!(head.status(), 200);
    assert_eq!(head.get("transfer-encoding"), None);
    assert_eq!(client.end().await, ("abcde".to_owned(), End::Fin));
}

#[tokio::test]
async fn an_http_1_0_client_keeps_its_connection_when_it_asks() {
    let (stage, upstream) = Stage::start().await;
    let mut client = stage.client().await;
    for _ in 0..2 {
        client
            .send("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
            .await;
        let (mut wire, _) = upstream.request().await;
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
            .await;
        let (head, body) = client.message().await;
        let kept = head.get("connection").map(str::to_ascii_lowercase);
        assert_eq!((kept.as_deref(), body.as_str()), (Some("keep-alive"), "ok"));
    }
}

#[tokio::test]
async fn an_answer_that_ends_with_the_connection_is_complete() {
    let (stage, upstream) = Stage::start().await;
    let mut failures = Vec::new();
    for version in ["1.0", "1.1"] {
        let mut client = stage.client_sending(GET).await;
        let (mut wire, _) = upstream.request().await;
        wire.send(format!(
            "HTTP/{version} 200 OK\r\nConnection: close\r\n\r\nuntil the end"
        ))
        .await;
        drop(wire);
        let head = client.head().await;
        let content = if head.get("transfer-encoding").is_some() {
            client.body(&head).await.content
        } else {
            client.end().await.0
        };
        if content != "until the end" {
            failures.push(format!("HTTP/{version}: {content:?}"));
        }
    }
    judge(2, &failures);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (stage, upstream) = Stage::start().await;
    let mut client = stage
        .client_sending(
            "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nxyGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
        )
        .await;
    for round in ["1", "2"] {
        let (mut wire, head) = upstream.request().await;
        assert!(head.start.contains(round), "{}", head.start);
        wire.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\n{round}"
        ))
        .await;
        drop(wire);
        assert_eq!(client.message().await.1, round);
    }
}
