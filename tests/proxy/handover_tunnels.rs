//! Upgraded connections that another proxy goes on with.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use rollbridge::proxy::{Connections, Cut, OpenTunnel, Phase, Stage as Reached};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::sleep;

use crate::pair::Pair;
use crate::stage::{End, Upstream, Wire, idle, wait_until, within};

const REQUEST: &str =
    "GET /socket?key=secret HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// The client and the upstream of an open tunnel through the old proxy.
async fn tunnel(pair: &Pair, upstream: &Upstream) -> (Wire, Wire) {
    let mut client = pair.client_sending(REQUEST).await;
    let (mut wire, _) = upstream.request().await;
    wire.send(SWITCH).await;
    assert_eq!(client.head().await.status(), 101);
    (client, wire)
}

async fn only_tunnel(pair: &Pair) -> OpenTunnel {
    let states = pair.hand_over().await;
    match &states[..] {
        [state] => match &state.stage {
            Reached::Tunnel(tunnel) => tunnel.clone(),
            other => panic!("no tunnel: {other:?}"),
        },
        other => panic!("not one: {other:?}"),
    }
}

async fn counted(connections: &Arc<Connections>) {
    wait_until("the tunnel is counted", || connections.websocket() == 1).await;
}

#[tokio::test]
async fn a_tunnel_goes_on_and_is_still_known() {
    let upstream = Upstream::listen().await;
    let pair = Pair::to(upstream.address()).await;
    let (mut client, mut wire) = tunnel(&pair, &upstream).await;
    client.send("ping").await;
    assert_eq!(wire.exactly(4).await, "ping");
    let before = within(pair.old.proxy.connections()).await;

    let state = only_tunnel(&pair).await;
    assert_eq!(state.route, pair.old_route.connections().id());
    // It is counted here at once, and there no more.
    assert_eq!(pair.new_route.connections().websocket(), 1);
    idle(pair.old_route.connections()).await;
    within(pair.old.proxy.shutdown()).await;

    wire.send("pong").await;
    assert_eq!(client.exactly(4).await, "pong");
    client.send("more").await;
    assert_eq!(wire.exactly(4).await, "more");
    let after = within(pair.new.proxy.connections()).await;
    let (before, after) = (&before[0], &after[0]);
    assert_eq!(after.route, pair.new_route.connections().id());
    assert_eq!((after.number, after.peer), (before.number, before.peer));
    assert_eq!((after.method.as_str(), after.path.as_str()), ("GET", "/socket"));
    // An age is handed over in whole milliseconds.
    assert!(after.is_upgraded && after.age + Duration::from_millis(1) > before.age);
    assert_eq!(after.bytes_in, before.bytes_in + 4);
    assert!(after.bytes_out >= before.bytes_out + 4);

    assert!(within(pair.new.proxy.cut(after.number)).await);
    client.is_cut().await;
    wire.is_cut().await;
    idle(pair.new_route.connections()).await;
}

#[tokio::test]
async fn what_nobody_has_read_yet_arrives_with_the_end_behind_it() {
    let upstream = Upstream::listen().await;
    let pair = Pair::to(upstream.address()).await;
    let (client, wire) = tunnel(&pair, &upstream).await;
    let (client_in, client_out) = client.into_stream().into_split();
    let (wire_in, wire_out) = wire.into_stream().into_split();
    let enough = Arc::new(AtomicBool::new(false));
    let up = tokio::spawn(write_numbers(client_out, Arc::clone(&enough)));
    let down = tokio::spawn(write_numbers(wire_out, Arc::clone(&enough)));
    let mut state = only_tunnel(&pair).await;
    // To and fro, until both directions are stuck in the proxy.
    while state.up.pending.is_empty() || state.down.pending.is_empty() {
        sleep(Duration::from_millis(20)).await;
        pair.hand_back().await;
        state = only_tunnel(&pair).await;
    }
    enough.store(true, SeqCst);
    let (from_up, from_down) = tokio::join!(read_numbers(wire_in), read_numbers(client_in));
    assert_eq!(within(up).await.unwrap().1, from_up);
    assert_eq!(within(down).await.unwrap().1, from_down);
    idle(pair.new_route.connections()).await;
}

/// Writes rising numbers until it is enough, and then a FIN. Says how many; the connection stays open.
async fn write_numbers(mut to: OwnedWriteHalf, enough: Arc<AtomicBool>) -> (OwnedWriteHalf, u32) {
    let mut next = 0;
    while !enough.load(SeqCst) {
        let numbers: Vec<u8> = (next..next + 25_000).flat_map(u32::to_be_bytes).collect();
        // For as long as nobody reads it waits.
        to.write_all(&numbers).await.unwrap();
        next += 25_000;
    }
    within(to.shutdown()).await.unwrap();
    (to, next)
}

/// Reads rising numbers up to the FIN, and says how many.
async fn read_numbers(mut from: OwnedReadHalf) -> u32 {
    let mut numbers = (0..).flat_map(u32::to_be_bytes);
    let mut piece = vec![0; 64 * 1024];
    let mut bytes = 0;
    loop {
        let length = within(from.read(&mut piece)).await.unwrap();
        if length == 0 {
            break;
        }
        assert!(
            piece[..length]
                .iter()
                .eq(numbers.by_ref().take(length).collect::<Vec<u8>>().iter())
        );
        bytes += length;
    }
    u32::try_from(bytes / 4).unwrap()
}

#[tokio::test]
async fn a_half_closed_tunnel_stays_half_open() {
    let upstream = Upstream::listen().await;
    for by_client in [true, false] {
        let pair = Pair::to(upstream.address()).await;
        let (client, wire) = tunnel(&pair, &upstream).await;
        let (mut first, mut last) = if by_client { (client, wire) } else { (wire, client) };
        first.send("last words").await;
        first.half_close().await;
        assert_eq!(last.end().await, ("last words".to_owned(), End::Fin));

        let state = only_tunnel(&pair).await;
        let (ended, open) = if by_client {
            (state.up, state.down)
        } else {
            (state.down, state.up)
        };
        assert_eq!((ended.phase, open.phase), (Phase::Ended, Phase::Open));
        last.send("an answer after the end").await;
        assert_eq!(first.exactly(23).await, "an answer after the end");
        assert_eq!(pair.new_route.connections().websocket(), 1);
        last.half_close().await;
        assert_eq!(first.end().await, (String::new(), End::Fin));
        idle(pair.new_route.connections()).await;
    }
}

#[tokio::test]
async fn an_upgrade_under_way_follows_with_its_early_bytes() {
    let upstream = Upstream::listen().await;
    let pair = Pair::to(upstream.address()).await;
    let mut client = pair.client_sending(format!("{REQUEST}early client")).await;
    let (mut wire, _) = upstream.request().await;
    let mut handed = pair.begin().await;
    wire.send(format!("{SWITCH}early upstream")).await;
    assert_eq!(pair.pass_on(&mut handed).await.len(), 1);
    assert_eq!(client.head().await.status(), 101);
    assert_eq!(client.exactly(14).await, "early upstream");
    assert_eq!(wire.exactly(12).await, "early client");
}

#[tokio::test]
async fn a_drain_waits_for_adopted_tunnels_and_cuts_them_in_the_end() {
    let upstream = Upstream::listen().await;
    let pair = Pair::to(upstream.address()).await;
    let (mut client, mut wire) = tunnel(&pair, &upstream).await;
    let mut handed = pair.begin().await;
    // The release is not the one that gets new requests, and the new proxy knows its route only from here.
    let other = Upstream::listen().await;
    within(pair.new.proxy.switch(Some(other.route.clone()))).await;
    assert_eq!(pair.pass_on(&mut handed).await.len(), 1);
    counted(pair.new_route.connections()).await;
    client.send("open").await;
    assert_eq!(wire.exactly(4).await, "open");
    let cut = pair.new_route.connections().close();
    assert_eq!(
        cut,
        Cut {
            http: 0,
            websocket: 1
        }
    );
    client.is_cut().await;
    wire.is_cut().await;
    idle(pair.new_route.connections()).await;
}

#[tokio::test]
async fn a_tunnel_of_no_release_is_closed() {
    let upstream = Upstream::listen().await;
    let pair = Pair::to(upstream.address()).await;
    let (mut client, mut wire) = tunnel(&pair, &upstream).await;
    let mut handed = pair.begin().await;
    let handed = within(handed.recv()).await.unwrap();
    // Somebody else's descriptor does not keep it open.
    let _other = TcpStream::from_std(handed.client.try_clone().unwrap().into()).unwrap();
    pair.new.proxy.adopt(handed, None);
    client.is_cut().await;
    wire.is_cut().await;
}
