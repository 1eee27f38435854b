//! Proxies that hand over to each other under load: no request fails, no connection is refused or cut, and no byte of a
//! tunnel is lost, doubled or out of place.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use rollbridge::proxy::{Proxy, Route, Settings, Stage};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::support::{Wire, patience, within};

/// Of each kind.
const CLIENTS: usize = 16;
const TUNNELS: usize = 50;
const HANDOVERS: usize = 20;
/// Between two of them, so much has to happen of everything.
const STEPS: usize = 40;

/// What goes on, and until when.
#[derive(Clone, Default)]
struct Going {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    echoed: Arc<AtomicUsize>,
    open_tunnels: Arc<AtomicUsize>,
}

#[tokio::test]
async fn nobody_notices_twenty_handovers() {
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream_address = upstream.local_addr().unwrap();
    tokio::spawn(serve_all(upstream));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Each has a route of its own, as in another process.
    let start = || {
        let route = Route::new(upstream_address);
        let listener = listener.try_clone().unwrap();
        let proxy = Proxy::start(listener, settings(), Some(route.clone())).unwrap();
        (proxy, route)
    };
    let (mut proxy, mut route) = start();

    let going = Going::default();
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(keep_asking(address, number, going.clone()));
        clients.spawn(come_and_go(address, number, going.clone()));
    }
    for _ in 0..TUNNELS {
        clients.spawn(keep_talking(address, going.clone()));
    }
    happened(&mut clients, || going.open_tunnels.load(SeqCst) == TUNNELS).await;

    for _ in 0..HANDOVERS {
        let answered = going.answered.load(SeqCst) + STEPS;
        let echoed = going.echoed.load(SeqCst) + STEPS;
        happened(&mut clients, || {
            going.answered.load(SeqCst) >= answered && going.echoed.load(SeqCst) >= echoed
        })
        .await;
        let (next, next_route) = start();
        let mut handed = proxy.hand_over();
        while let Some(handed) = within(handed.recv()).await {
            let is_tunnel = matches!(handed.state.stage, Stage::Tunnel(_));
            next.adopt(handed, is_tunnel.then(|| next_route.clone()));
        }
        assert_eq!(
            (route.connections().http(), route.connections().websocket()),
            (0, 0)
        );
        assert_eq!(next_route.connections().websocket(), TUNNELS);
        within(proxy.shutdown()).await;
        (proxy, route) = (next, next_route);
    }

    going.stop.store(true, SeqCst);
    while let Some(ended) = within(clients.join_next()).await {
        ended.unwrap();
    }
    within(route.connections().wait_idle()).await;
    within(proxy.shutdown()).await;
}

fn settings() -> Settings {
    Settings {
        workers: 2,
        trusted_proxies: Vec::new(),
        max_connections: 1000,
        head_timeout: patience(),
        client_idle_timeout: patience(),
        hold_timeout: patience(),
        max_held_requests: 1000,
    }
}

/// Returns when the condition holds; the clients must go on meanwhile.
async fn happened(clients: &mut JoinSet<()>, condition: impl Fn() -> bool) {
    within(async {
        while !condition() {
            sleep(Duration::from_millis(1)).await;
            if let Some(ended) = clients.try_join_next() {
                ended.unwrap();
                panic!("a client has ended");
            }
        }
    })
    .await;
}

/// Requests in a row on one connection, some of them with large bodies.
async fn keep_asking(proxy: SocketAddr, number: usize, going: Going) {
    let mut client = Wire::new(within(TcpStream::connect(proxy)).await.unwrap());
    let mut count = number;
    while !going.stop.load(SeqCst) {
        count += 1;
        let content = format!("{number}-{count};").repeat(if count.is_multiple_of(8) { 10_000 } else { 1 });
        ask(&mut client, &content, count.is_multiple_of(16)).await;
        going.answered.fetch_add(1, SeqCst);
    }
}

/// Connections of one request each.
async fn come_and_go(proxy: SocketAddr, number: usize, going: Going) {
    while !going.stop.load(SeqCst) {
        let mut client = Wire::new(within(TcpStream::connect(proxy)).await.unwrap());
        ask(&mut client, &format!("once {number}"), false).await;
        going.answered.fetch_add(1, SeqCst);
    }
}

/// Sends a body and gets it back.
async fn ask(client: &mut Wire, content: &str, chunked: bool) {
    let (start, rest) = content.split_at(content.len() / 2);
    let (framing, end) = if chunked {
        let length = content.len();
        (
            format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n"),
            "\r\n0\r\n\r\n",
        )
    } else {
        (format!("Content-Length: {}\r\n\r\n", content.len()), "")
    };
    // Heads and bodies come in pieces.
    client.send("POST / HTTP/1.1\r\nHo").await;
    client.send(format!("st: a\r\n{framing}{start}")).await;
    client.send(format!("{rest}{end}")).await;
    let (head, body) = client.message().await;
    assert_eq!(head.status(), 200, "{body}");
    assert!(body == content, "{} bytes came back", body.len());
}

/// Numbers through a tunnel and back again.
async fn keep_talking(proxy: SocketAddr, going: Going) {
    let mut client = Wire::new(within(TcpStream::connect(proxy)).await.unwrap());
    client
        .send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: numbers\r\n\r\n")
        .await;
    assert_eq!(client.head().await.status(), 101);
    going.open_tunnels.fetch_add(1, SeqCst);
    let (from, to) = client.into_stream().into_split();
    let ((), ()) = tokio::join!(
        write_numbers(to, Arc::clone(&going.stop)),
        read_numbers(from, Arc::clone(&going.echoed))
    );
}

/// Writes rising numbers until it is to stop, and then a FIN.
async fn write_numbers(mut to: OwnedWriteHalf, stop: Arc<AtomicBool>) {
    let mut next = 0;
    while !stop.load(SeqCst) {
        let numbers: Vec<u8> = (next..next + 1000).flat_map(u32::to_be_bytes).collect();
        next += 1000;
        // Cut within numbers.
        for piece in numbers.chunks(1013) {
            within(to.write_all(piece)).await.unwrap();
        }
        // As fast as all can go together, others would hardly have their turn.
        sleep(Duration::from_millis(10)).await;
    }
    // Which is an odd one out, so that the end is known.
    within(to.write_u32(u32::MAX)).await.unwrap();
    within(to.shutdown()).await.unwrap();
}

/// Reads rising numbers up to the end of all.
async fn read_numbers(from: OwnedReadHalf, echoed: Arc<AtomicUsize>) {
    let mut from = BufReader::with_capacity(16 * 1024, from);
    let mut expected = 0;
    loop {
        let number = within(from.read_u32()).await.unwrap();
        if number == u32::MAX {
            break;
        }
        assert_eq!(number, expected);
        expected += 1;
        if expected % 1000 == 0 {
            echoed.fetch_add(1, SeqCst);
        }
    }
    assert!(within(from.fill_buf()).await.unwrap().is_empty());
}

/// An upstream that sends everything back.
async fn serve_all(listener: TcpListener) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(serve(Wire::new(stream)));
    }
}

async fn serve(mut wire: Wire) {
    while let Some(head) = wire.head_or_end().await {
        if head.get("upgrade").is_some() {
            wire.send("HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: numbers\r\n\r\n")
                .await;
            let (mut from, mut to) = wire.into_stream().into_split();
            // Whoever ends it has seen to it that all is there.
            let _ = tokio::io::copy(&mut from, &mut to).await;
            return;
        }
        let content = wire.body(&head).await.content;
        let length = content.len();
        wire.try_send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{content}"
        ))
        .await;
    }
}
