//! Connections of plain requests that another proxy goes on with: nobody is refused or cut, and no byte is lost, doubled
//! or out of place.

use std::time::Duration;

use rollbridge::proxy::{Settings, Stage as Reached};
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};

use crate::pair::{Pair, adopt};
use crate::stage::{Dormant, Upstream, Wire, idle, settings, wait_until, within};
use crate::support::patience;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Plays the upstream of one request that has come on `wire`.
async fn answer(wire: &mut Wire) {
    wire.head().await;
    wire.send(OK).await;
}

/// Asserts that the client is answered on its connection, by the proxy whose upstream connection is new.
async fn assert_served(client: &mut Wire, upstream: &Upstream) -> Wire {
    client.send(GET).await;
    let mut wire = upstream.accept().await;
    answer(&mut wire).await;
    assert_eq!(client.message().await.0.status(), 200);
    wire
}

#[tokio::test]
async fn a_client_between_two_requests_does_not_notice() {
    let upstream = Upstream::listen().await;
    let pair = Pair::to(upstream.address()).await;
    let mut client = pair.client().await;
    let mut quiet = pair.client().await;
    let mut first = assert_served(&mut client, &upstream).await;

    assert_eq!(pair.hand_over().await.len(), 2);
    // What the old proxy kept for later requests is of no use any more.
    within(pair.old.proxy.shutdown()).await;
    first.is_cut().await;
    let mut wire = assert_served(&mut client, &upstream).await;
    quiet.send(GET).await;
    answer(&mut wire).await;
    assert_eq!(quiet.message().await.0.status(), 200);
    idle(pair.new_route.connections()).await;
}

#[tokio::test]
async fn a_head_is_read_on_where_it_was_left() {
    let upstream = Upstream::listen().await;
    for cut in [1, 10, GET.len() - 1] {
        let pair = Pair::to(upstream.address()).await;
        let mut client = pair.client_sending(&GET[..cut]).await;
        // To and fro, until the beginning has been read.
        loop {
            match &pair.hand_over().await[0].stage {
                Reached::Resting(resting) if resting.unread == GET.as_bytes()[..cut] => break,
                stage => assert!(matches!(stage, Reached::Resting(resting) if resting.unread.is_empty())),
            }
            pair.hand_back().await;
        }
        client.send(&GET[cut..]).await;
        let (mut wire, head) = upstream.request().await;
        assert_eq!(head.start, "GET / HTTP/1.1");
        wire.send(OK).await;
        assert_eq!(client.message().await.0.status(), 200);
    }
}

#[tokio::test]
async fn requests_that_have_come_already_are_answered_in_order() {
    let upstream = Upstream::listen().await;
    let pair = Pair::to(upstream.address()).await;
    let one = |path: &str| format!("POST /{path} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    let pipeline = [one("1"), one("2"), one("3")].concat();
    let mut client = pair.client_sending(&pipeline[..pipeline.len() - 1]).await;
    let (mut wire, head) = upstream.request().await;
    assert_eq!(head.start, "POST /1 HTTP/1.1");
    wire.exactly(3).await;

    let mut handed = pair.begin().await;
    wire.send(OK).await;
    assert_eq!(pair.pass_on(&mut handed).await.len(), 1);
    assert_eq!(client.message().await.0.status(), 200);
    let mut wire = upstream.accept().await;
    assert_eq!(wire.head().await.start, "POST /2 HTTP/1.1");
    assert_eq!(wire.exactly(3).await, "abc");
    wire.send(OK).await;
    assert_eq!(client.message().await.0.status(), 200);
    client.send("c").await;
    assert_eq!(wire.head().await.start, "POST /3 HTTP/1.1");
    assert_eq!(wire.exactly(3).await, "abc");
    wire.send(OK).await;
    assert_eq!(client.message().await.0.status(), 200);
}

#[tokio::test]
async fn a_request_under_way_is_served_to_its_end() {
    let upstream = Upstream::listen().await;
    let pair = Pair::to(upstream.address()).await;
    let block = "0123456789abcdef".repeat(4096);
    let head = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        block.len() * 8
    );
    let mut client = pair.client_sending(head + &block).await;
    let (mut wire, _) = upstream.request().await;
    let mut handed = pair.begin().await;
    for _ in 0..7 {
        client.send(&block).await;
        assert!(wire.exactly(block.len()).await == block);
    }
    wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    assert!(wire.exactly(block.len()).await == block);
    let answered = client.head().await;
    let answering = async {
        for _ in 0..8 {
            wire.send(format!("{:x}\r\n{block}\r\n", block.len())).await;
        }
        assert!(handed.try_recv().is_err(), "the answer has not ended");
        assert_eq!(pair.old_route.connections().http(), 1);
        wire.send("0\r\nX-Sum: 1\r\n\r\n").await;
    };
    let (body, ()) = tokio::join!(client.body(&answered), answering);
    assert!(body.content == block.repeat(8));
    assert_eq!(body.trailers, [("x-sum".to_owned(), "1".to_owned())]);
    assert_eq!(pair.pass_on(&mut handed).await.len(), 1);
    idle(pair.old_route.connections()).await;
    assert_served(&mut client, &upstream).await;
}

#[tokio::test]
async fn a_client_that_waits_for_100_gets_it() {
    let upstream = Upstream::listen().await;
    let pair = Pair::to(upstream.address()).await;
    let mut client = pair
        .client_sending("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        .await;
    let (mut wire, head) = upstream.request().await;
    assert_eq!(head.get("expect"), Some("100-continue"));
    let mut handed = pair.begin().await;
    wire.send("HTTP/1.1 100 Continue\r\n\r\n").await;
    assert_eq!(client.head().await.status(), 100);
    client.send("body").await;
    assert_eq!(wire.exactly(4).await, "body");
    wire.send(OK).await;
    assert_eq!(client.message().await.0.status(), 200);
    assert_eq!(pair.pass_on(&mut handed).await.len(), 1);
    assert_served(&mut client, &upstream).await;
}

#[tokio::test]
async fn a_held_request_waits_on_with_its_body() {
    for framing in [
        "Content-Length: 8\r\n\r\nhalf",
        "Transfer-Encoding: chunked\r\n\r\n8\r\nhalf",
    ] {
        let dormant = Dormant::new();
        let pair = Pair::to(dormant.address).await;
        let mut client = pair
            .client_sending(format!(
                "POST /held?a=b HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.0.0.1\r\n{framing}"
            ))
            .await;
        wait_until("the request is counted", || {
            pair.old_route.connections().http() == 1
        })
        .await;
        let states = pair.hand_over().await;
        assert!(matches!(states[0].stage, Reached::Held(_)), "{states:?}");
        idle(pair.old_route.connections()).await;
        wait_until("the request is counted", || {
            pair.new_route.connections().http() == 1
        })
        .await;
        let shown = within(pair.new.proxy.connections()).await;
        assert_eq!(
            (shown[0].method.as_str(), shown[0].path.as_str()),
            ("POST", "/held")
        );
        assert_eq!(shown[0].number, states[0].number);

        client.send("done").await;
        let upstream = dormant.wake();
        let (mut wire, head) = upstream.request().await;
        assert_eq!(head.start, "POST /held?a=b HTTP/1.1");
        assert_eq!(head.get("x-forwarded-for"), Some("10.0.0.1, 127.0.0.1"));
        if framing.starts_with('C') {
            assert_eq!(wire.exactly(8).await, "halfdone");
        } else {
            client.send("\r\n0\r\n\r\n").await;
            assert_eq!(wire.body(&head).await.content, "halfdone");
        }
        wire.send(OK).await;
        assert_eq!(client.message().await.0.status(), 200);
        client.send(GET).await;
        answer(&mut wire).await;
        assert_eq!(client.message().await.0.status(), 200);
    }
}

#[tokio::test]
async fn a_request_whose_upstream_died_is_held_on() {
    let upstream = Upstream::listen().await;
    let address = upstream.address();
    let pair = Pair::to(address).await;
    let mut client = pair.client_sending(GET).await;
    let (wire, _) = upstream.request().await;
    drop((upstream.into_listener(), wire));
    // It is sent again in vain, and is then to be held.
    let states = pair.hand_over().await;
    assert!(matches!(states[0].stage, Reached::Held(_)), "{states:?}");
    // The new proxy holds it as well.
    pair.hand_back().await;
    wait_until("it is back", || pair.old_route.connections().http() == 1).await;

    let listener = TcpListener::bind(address).await.unwrap();
    let mut wire = Wire::new(within(listener.accept()).await.unwrap().0);
    assert_eq!(wire.head().await.start, "GET / HTTP/1.1");
    wire.send(OK).await;
    assert_eq!(client.message().await.0.status(), 200);
}

#[tokio::test]
async fn holding_time_goes_on() {
    let dormant = Dormant::new();
    let pair = Pair::with(dormant.address, |settings| {
        settings.hold_timeout = Duration::from_millis(1500);
    })
    .await;
    let mut client = pair.client_sending(GET).await;
    wait_until("the request is counted", || {
        pair.old_route.connections().http() == 1
    })
    .await;
    let began = Instant::now();
    // For ever, if it began anew each time.
    while timeout(Duration::from_millis(300), client.stream().readable())
        .await
        .is_err()
    {
        assert!(began.elapsed() < patience(), "it is held for ever");
        pair.hand_over().await;
        pair.hand_back().await;
    }
    assert_eq!(client.message().await.0.status(), 502);
}

#[tokio::test]
async fn what_was_handed_over_can_be_taken_back() {
    let upstream = Upstream::listen().await;
    let pair = Pair::to(upstream.address()).await;
    let mut client = pair.client_sending(&GET[..5]).await;
    let mut busy = pair.client_sending(GET).await;
    let (mut wire, _) = upstream.request().await;

    let mut handed = pair.begin().await;
    let given_up = within(handed.recv()).await.unwrap();
    // It waits in the queue of the listener, which nobody accepts from.
    let mut late = pair.old.client().await;
    within(pair.old.proxy.take_back()).await;
    assert!(within(handed.recv()).await.is_none(), "the rest stays");
    adopt(&pair.old.proxy, given_up, &pair.old_route);

    wire.send(OK).await;
    assert_eq!(busy.message().await.0.status(), 200);
    client.send(&GET[5..]).await;
    answer(&mut wire).await;
    assert_eq!(client.message().await.0.status(), 200);
    late.send(GET).await;
    answer(&mut wire).await;
    assert_eq!(late.message().await.0.status(), 200);
}

#[tokio::test]
async fn without_anybody_to_hand_over_to_connections_stay() {
    let upstream = Upstream::listen().await;
    let pair = Pair::to(upstream.address()).await;
    let mut client = pair.client_sending(GET).await;
    let (mut wire, _) = upstream.request().await;
    drop(pair.old.proxy.hand_over());
    wire.send(OK).await;
    assert_eq!(client.message().await.0.status(), 200);
    client.send(GET).await;
    answer(&mut wire).await;
    assert_eq!(client.message().await.0.status(), 200);
}

#[tokio::test]
async fn adopted_connections_count() {
    let upstream = Upstream::listen().await;
    let pair = Pair::to(upstream.address()).await;
    let _clients = [pair.client().await, pair.client().await];
    pair.new.proxy.configure(Settings {
        max_connections: 3,
        ..settings()
    });
    assert_eq!(pair.hand_over().await.len(), 2);
    within(pair.new.proxy.take_back()).await;
    let mut fourth = pair.new.client().await;
    assert_eq!(fourth.message().await.0.status(), 503);
    // What is being refused is there until it has gone, and is not handed over.
    let mut handed = pair.new.proxy.hand_over();
    for _ in 0..3 {
        assert!(within(handed.recv()).await.is_some());
    }
    drop(fourth);
    assert!(within(handed.recv()).await.is_none());
}

#[tokio::test]
async fn a_proxy_that_has_ended_hands_nothing_over() {
    let upstream = Upstream::listen().await;
    let pair = Pair::to(upstream.address()).await;
    within(pair.old.proxy.shutdown()).await;
    assert_eq!(pair.hand_over().await, []);
    within(pair.old.proxy.take_back()).await;
}
