//! What reaches the upstream, and what comes back.

use crate::stage::{End, Stage, Upstream, idle};

#[tokio::test]
async fn a_request_and_its_answer_pass_unchanged() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage
        .client_sending(
            "POST /a%20b?c=d HTTP/1.1\r\nHost: Example.test:99\r\nX-Own: 1\r\nContent-Length: 5\r\n\r\nhello",
        )
        .await;

    let (mut wire, head) = upstream.request().await;
    assert_eq!(head.start, "POST /a%20b?c=d HTTP/1.1");
    assert_eq!(head.get("host"), Some("Example.test:99"));
    assert_eq!(head.get("x-own"), Some("1"));
    assert_eq!(head.get("content-length"), Some("5"));
    assert_eq!(wire.exactly(5).await, "hello");
    assert_eq!(upstream.connections().http(), 1);
    wire.send(
        "HTTP/1.1 201 Made\r\nX-Answer: 2\r\nContent-Length: 3\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\nbye",
    )
    .await;

    let (head, body) = client.message().await;
    assert_eq!((head.status(), body.as_str()), (201, "bye"));
    assert_eq!(head.get("x-answer"), Some("2"));
    assert_eq!(head.get("date"), None);
    assert_eq!(
        head.fields.iter().filter(|field| field.0 == "set-cookie").count(),
        2
    );
    idle(upstream.connections()).await;
}

#[tokio::test]
async fn connections_are_reused_on_both_sides() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.client().await;
    client.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let (mut wire, _) = upstream.request().await;
    for round in 1..=5 {
        if round > 1 {
            client
                .send(format!("GET /{round} HTTP/1.1\r\nHost: a\r\n\r\n"))
                .await;
            assert_eq!(wire.head().await.start, format!("GET /{round} HTTP/1.1"));
        }
        wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
            .await;
        assert_eq!(client.head().await.get("transfer-encoding"), Some("chunked"));
        client.until("0\r\n\r\n").await;
        // The connection is back in the pool soon after its response has ended.
        idle(upstream.connections()).await;
    }
}

#[tokio::test]
async fn an_upstream_that_keeps_connections_for_a_second_gets_a_new_one_each_time() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.client().await;
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let (mut wire, _) = upstream.request().await;
        wire.send("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 0\r\n\r\n")
            .await;
        assert_eq!(client.message().await.0.get("keep-alive"), None);
        wire.is_cut().await;
    }
}

#[tokio::test]
async fn hop_by_hop_headers_stay_on_their_hop() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage
        .client_sending(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Secret, keep-alive\r\nX-Secret: 1\r\nKeep-Alive: timeout=9\r\n\
             TE: trailers, deflate\r\nProxy-Authorization: Basic x\r\nProxy-Connection: keep-alive\r\n\
             Upgrade: h2c\r\nX-Open: 2\r\n\r\n",
        )
        .await;
    let (mut wire, head) = upstream.request().await;
    for name in [
        "connection",
        "x-secret",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "upgrade",
    ] {
        assert_eq!(head.get(name), None, "{name}");
    }
    assert_eq!(head.get("te"), Some("trailers"));
    assert_eq!(head.get("x-open"), Some("2"));

    wire.send(
        "HTTP/1.1 200 OK\r\nConnection: close, X-Inner\r\nX-Inner: 1\r\nKeep-Alive: timeout=5\r\n\
         Proxy-Authenticate: Basic\r\nUpgrade: h2c\r\nX-Outer: 2\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    let (head, _) = client.message().await;
    for name in [
        "connection",
        "x-inner",
        "keep-alive",
        "proxy-authenticate",
        "upgrade",
    ] {
        assert_eq!(head.get(name), None, "{name}");
    }
    assert_eq!(head.get("x-outer"), Some("2"));
}

#[tokio::test]
async fn forwarded_headers_of_a_trusted_peer_are_kept_and_extended() {
    let (stage, upstream) = Stage::with_upstream().await;
    let _client = stage.client_sending(WITH_FORWARDED).await;
    let (_wire, head) = upstream.request().await;
    assert_eq!(head.get("x-forwarded-for"), Some("203.0.113.9, 127.0.0.1"));
    assert_eq!(head.get("x-forwarded-proto"), Some("https"));
    assert_eq!(head.get("x-forwarded-host"), Some("outer.test"));
    assert_eq!(head.get("x-forwarded-port"), Some("443"));
    assert_eq!(head.get("forwarded"), Some("for=203.0.113.9"));
}

#[tokio::test]
async fn forwarded_headers_of_a_stranger_are_replaced() {
    let stage = Stage::with(|settings| settings.trusted_proxies.clear());
    let upstream = Upstream::listen().await;
    stage.proxy.switch(Some(upstream.route.clone())).await;
    let _client = stage.client_sending(WITH_FORWARDED).await;
    let (_wire, head) = upstream.request().await;
    let port = stage.proxy.local_address().port().to_string();
    assert_eq!(head.get("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(head.get("x-forwarded-proto"), Some("http"));
    assert_eq!(head.get("x-forwarded-host"), Some("inner.test"));
    assert_eq!(head.get("x-forwarded-port"), Some(port.as_str()));
    assert_eq!(head.get("forwarded"), None);
}

const WITH_FORWARDED: &str = "GET / HTTP/1.1\r\nHost: inner.test\r\nX-Forwarded-For: 203.0.113.9\r\n\
    X-Forwarded-Proto: https\r\nX-Forwarded-Host: outer.test\r\nX-Forwarded-Port: 443\r\n\
    Forwarded: for=203.0.113.9\r\n\r\n";

#[tokio::test]
async fn chunked_bodies_and_their_trailers_pass_both_ways() {
    let (stage, upstream) = Stage::with_upstream().await;
    for method in ["POST", "GET"] {
        let mut client = stage
            .client_sending(format!(
                "{method} / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n\
                 3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n"
            ))
            .await;
        let (mut wire, head) = upstream.request().await;
        assert_eq!(head.get("transfer-encoding"), Some("chunked"));
        assert_eq!(head.get("trailer"), Some("X-Sum"));
        let body = wire.until("\r\n\r\n").await.to_ascii_lowercase();
        assert_eq!(body, "3\r\nabc\r\n0\r\nx-sum: 7\r\n\r\n");

        wire.send(
            "HTTP/1.1 200 OK\r\nTrailer: X-End\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
             2\r\nok\r\n0\r\nX-End: 8\r\n\r\n",
        )
        .await;
        assert_eq!(client.head().await.get("trailer"), Some("X-End"));
        let body = client.until("\r\n\r\n").await.to_ascii_lowercase();
        assert_eq!(body, "2\r\nok\r\n0\r\nx-end: 8\r\n\r\n");
        idle(upstream.connections()).await;
    }
}

#[tokio::test]
async fn answers_without_a_body_have_none() {
    let (stage, upstream) = Stage::with_upstream().await;
    let cases = [
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n",
            Some("1234"),
        ),
        ("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", None),
        ("GET", "HTTP/1.1 204 No Content\r\n", None),
        ("GET", "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n", None),
    ];
    for (method, answer, length) in cases {
        let mut client = stage.client().await;
        for _ in 0..2 {
            // The second request on the same connection shows that nothing stood between the two answers.
            client
                .send(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"))
                .await;
            let (mut wire, _) = upstream.request().await;
            wire.send(format!("{answer}Connection: close\r\n\r\n")).await;
            let head = client.head().await;
            assert!(answer.contains(&head.status().to_string()), "{answer} {head:?}");
            assert_eq!(head.get("content-length"), length, "{method} {answer}");
        }
    }
}

#[tokio::test]
async fn an_http_1_0_client_gets_an_unchunked_answer_and_the_end() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.client_sending("GET /old HTTP/1.0\r\n\r\n").await;
    let (mut wire, head) = upstream.request().await;
    assert_eq!(head.start, "GET /old HTTP/1.1");
    assert!(head.get("host").is_some());
    wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        .await;
    let head = client.head().await;
    assert_eq!(head.get("transfer-encoding"), None);
    assert_eq!(client.end().await, ("abcde".to_owned(), End::Fin));
}

#[tokio::test]
async fn an_http_1_0_client_keeps_its_connection_when_it_asks() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.client().await;
    for _ in 0..2 {
        client
            .send("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
            .await;
        let (mut wire, _) = upstream.request().await;
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
            .await;
        let (head, body) = client.message().await;
        assert_eq!(head.get("connection"), Some("keep-alive"));
        assert_eq!(body, "ok");
    }
}

#[tokio::test]
async fn an_http_1_0_upstream_is_understood() {
    let (stage, upstream) = Stage::with_upstream().await;
    let mut client = stage.client_sending("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let (mut wire, _) = upstream.request().await;
    wire.send("HTTP/1.0 200 OK\r\n\r\nuntil the end").await;
    drop(wire);
    let head = client.head().await;
    assert_eq!(head.start, "HTTP/1.1 200 OK");
    let body = client.until("0\r\n\r\n").await.to_ascii_lowercase();
    assert_eq!(body, "d\r\nuntil the end\r\n0\r\n\r\n");
}

#[tokio::test]
async fn targets_arrive_in_origin_form() {
    let (stage, upstream) = Stage::with_upstream().await;
    let cases = [
        ("GET http://b.test:81/x?y=1", "GET /x?y=1 HTTP/1.1", "b.test:81"),
        ("GET http://b.test", "GET / HTTP/1.1", "b.test"),
        ("OPTIONS *", "OPTIONS * HTTP/1.1", "a.test"),
    ];
    for (line, expected, host) in cases {
        let _client = stage
            .client_sending(format!("{line} HTTP/1.1\r\nHost: a.test\r\n\r\n"))
            .await;
        let (_wire, head) = upstream.request().await;
        assert_eq!(head.start, expected);
        assert_eq!(head.get("host"), Some(host));
    }
}

#[tokio::test]
async fn what_is_refused_never_reaches_the_upstream() {
    let (stage, upstream) = Stage::with_upstream().await;
    let cases = [
        ("CONNECT b.test:443 HTTP/1.1\r\nHost: b.test:443\r\n\r\n", 405),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
            400,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
            400,
        ),
        (
            "GET / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    ];
    for (request, status) in cases {
        let mut client = stage.client_sending(request).await;
        assert_eq!(client.head().await.status(), status, "{request}");
        if status == 400 {
            client.end().await;
        }
    }
    // The first request the upstream ever sees is this one.
    let _client = stage
        .client_sending("GET /first HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    assert_eq!(upstream.request().await.1.start, "GET /first HTTP/1.1");
}
