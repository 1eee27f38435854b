//! Rows about header fields and targets.

use crate::contender::Contender;
use crate::contender::judge;
use crate::stage::Stage;

const WITH_FORWARDED: &str = "GET / HTTP/1.1\r\nHost: inner.test\r\nX-Forwarded-For: 203.0.113.9\r\n\
    X-Forwarded-Proto: https\r\nX-Forwarded-Host: outer.test\r\nX-Forwarded-Port: 443\r\n\
    Forwarded: for=203.0.113.9\r\n\r\n";

#[tokio::test]
async fn hop_by_hop_fields_of_a_request_are_dropped() {
    let (stage, upstream) = Stage::start().await;
    let _client = stage
        .client_sending(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Secret, keep-alive\r\nX-Secret: 1\r\n\
             Keep-Alive: timeout=9\r\nTE: trailers, deflate\r\nProxy-Authorization: Basic x\r\n\
             Proxy-Connection: keep-alive\r\nX-Open: 2\r\n\r\n",
        )
        .await;
    let (_wire, head) = upstream.request().await;
    let names = [
        "x-secret",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
    ];
    let present = names.iter().filter(|name| !head.all(name).is_empty());
    let mut failures: Vec<String> = present.map(|name| format!("{name} was passed on")).collect();
    if head.get("te") != Some("trailers") {
        failures.push(format!("TE became {:?}", head.get("te")));
    }
    judge(5, &failures);
    assert_eq!(head.get("x-open"), Some("2"));
}

#[tokio::test]
async fn hop_by_hop_fields_of_an_answer_are_dropped() {
    let (stage, upstream) = Stage::start().await;
    let mut client = stage.client_sending("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let (mut wire, _) = upstream.request().await;
    wire.send(
        "HTTP/1.1 200 OK\r\nConnection: close, X-Inner\r\nX-Inner: 1\r\nKeep-Alive: timeout=5\r\n\
         Proxy-Connection: close\r\nX-Outer: 2\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    let (head, _) = client.message().await;
    let names = ["x-inner", "keep-alive", "proxy-connection"];
    let present = names.iter().filter(|name| !head.all(name).is_empty());
    let failures: Vec<String> = present.map(|name| format!("{name} was passed on")).collect();
    judge(3, &failures);
    assert_eq!(head.get("x-outer"), Some("2"));
}

#[tokio::test]
async fn forwarded_fields_of_a_trusted_peer_are_kept_and_extended() {
    let (stage, upstream) = Stage::start().await;
    let _client = stage.client_sending(WITH_FORWARDED).await;
    let (_wire, head) = upstream.request().await;
    let chain = head.all("x-forwarded-for").join(", ");
    assert_eq!(chain, "203.0.113.9, 127.0.0.1");
    assert_eq!(head.get("x-forwarded-proto"), Some("https"));
    assert_eq!(head.get("x-forwarded-host"), Some("outer.test"));
    assert_eq!(head.get("x-forwarded-port"), Some("443"));
    assert_eq!(head.get("forwarded"), Some("for=203.0.113.9"));
}

#[tokio::test]
async fn forwarded_fields_of_a_stranger_are_replaced() {
    let (stage, upstream) = Stage::with(false, |_| ()).await;
    let _client = stage.client_sending(WITH_FORWARDED).await;
    let (_wire, head) = upstream.request().await;
    let port = stage.port().to_string();
    assert_eq!(head.get("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(head.get("x-forwarded-proto"), Some("http"));
    assert_eq!(head.get("x-forwarded-host"), Some("inner.test"));
    assert_eq!(head.get("x-forwarded-port"), Some(port.as_str()));
    assert_eq!(head.get("forwarded"), None);
}

#[tokio::test]
async fn host_and_other_fields_are_passed_unchanged() {
    let (stage, upstream) = Stage::start().await;
    let mut client = stage
        .client_sending("GET /a%20b?c=%zz HTTP/1.1\r\nHost: Shop.Test:8443\r\nCookie: a=1\r\nX-Twice: 1\r\nX-Twice: 2\r\nX-Empty:\r\n\r\n")
        .await;
    let (mut wire, head) = upstream.request().await;
    assert_eq!(head.start, "GET /a%20b?c=%zz HTTP/1.1");
    assert_eq!(head.get("host"), Some("Shop.Test:8443"));
    assert_eq!(head.get("cookie"), Some("a=1"));
    assert_eq!(head.all("x-twice"), ["1", "2"]);
    assert_eq!(head.get("x-empty"), Some(""));
    wire.send("HTTP/1.1 299 Odd Reason\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 2\r\n\r\nok")
        .await;
    let (head, body) = client.message().await;
    assert_eq!(
        (head.start.as_str(), body.as_str()),
        ("HTTP/1.1 299 Odd Reason", "ok")
    );
    assert_eq!(head.all("set-cookie"), ["a", "b"]);
}

#[tokio::test]
async fn connect_is_refused() {
    let (stage, upstream) = Stage::start().await;
    let mut client = stage
        .client_sending("CONNECT b.test:443 HTTP/1.1\r\nHost: b.test:443\r\n\r\n")
        .await;
    tokio::select! {
        head = client.head() => assert!(Contender::chosen().refuses_with(head.status(), 405), "{head:?}"),
        _ = upstream.accept_some_time() => panic!("CONNECT reached the upstream"),
    }
}

#[tokio::test]
async fn absolute_targets_arrive_in_origin_form() {
    let (stage, upstream) = Stage::start().await;
    let cases = [
        ("GET http://b.test:81/x?y=1", "GET /x?y=1 HTTP/1.1", "b.test:81"),
        ("GET http://b.test", "GET / HTTP/1.1", "b.test"),
    ];
    for (line, expected, host) in cases {
        let mut client = stage
            .client_sending(format!("{line} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .await;
        let (mut wire, head) = upstream.request().await;
        // Nobody has a reason to try again.
        wire.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            .await;
        client.message().await;
        assert_eq!((head.start.as_str(), head.get("host")), (expected, Some(host)));
    }
}

#[tokio::test]
async fn options_of_the_whole_server_is_passed() {
    let (stage, upstream) = Stage::start().await;
    let _client = stage
        .client_sending("OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .await;
    let (_wire, head) = upstream.request().await;
    assert_eq!(head.start, "OPTIONS * HTTP/1.1");
}
