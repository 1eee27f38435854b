//! Switches of the route, at rest and under load.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use rollbridge::proxy::Route;
use tokio::net::TcpListener;

use crate::stage::{Stage, Upstream, Wire, idle, within};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const CLIENTS: usize = 32;
const SWITCHES: usize = 20;

#[tokio::test]
async fn an_open_connection_sends_its_next_request_to_the_new_release() {
    let (stage, old) = Stage::with_upstream().await;
    let new = Upstream::listen().await;
    let mut client = stage.client_sending(GET).await;
    let (mut wire, _) = old.request().await;
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold").await;
    assert_eq!(client.message().await.1, "old");

    stage.proxy.switch(Some(new.route.clone())).await;
    // Idle connections to the old release go soon.
    wire.is_cut().await;
    client.send(GET).await;
    let (mut wire, _) = new.request().await;
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew").await;
    assert_eq!(client.message().await.1, "new");

    stage.proxy.switch(None).await;
    client.send(GET).await;
    assert_eq!(client.message().await.0.status(), 503);
}

#[tokio::test]
async fn a_request_under_way_stays_with_its_release() {
    let (stage, old) = Stage::with_upstream().await;
    let new = Upstream::listen().await;
    let mut client = stage.client_sending(GET).await;
    let (mut wire, _) = old.request().await;
    stage.proxy.switch(Some(new.route.clone())).await;
    assert_eq!((old.connections().http(), new.connections().http()), (1, 0));
    wire.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold").await;
    assert_eq!(client.message().await.1, "old");
    idle(old.connections()).await;
    wire.is_cut().await;
}

#[tokio::test]
async fn a_long_request_does_not_keep_the_old_releases_idle_connections() {
    let stage = Stage::with(|settings| settings.workers = 1);
    let (old, new) = (Upstream::listen().await, Upstream::listen().await);
    stage.proxy.switch(Some(old.route.clone())).await;
    let mut long = stage.client_sending(GET).await;
    let (mut busy, _) = old.request().await;
    let mut short = stage.client_sending(GET).await;
    let (mut spare, _) = old.request().await;
    spare
        .send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold")
        .await;
    assert_eq!(short.message().await.1, "old");
    // The same connection once more: it has been in the pool.
    short.send(GET).await;
    spare.head().await;
    spare
        .send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold")
        .await;
    assert_eq!(short.message().await.1, "old");

    let switched = std::time::Instant::now();
    stage.proxy.switch(Some(new.route.clone())).await;
    spare.is_cut().await;
    assert!(
        switched.elapsed() < std::time::Duration::from_secs(3),
        "closed by the switch, not by its age"
    );
    busy.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold").await;
    assert_eq!(long.message().await.1, "old");
}

#[tokio::test]
async fn the_proxy_serves_other_runtimes() {
    let (stage, upstream) = Stage::with_upstream().await;
    let stage = Arc::new(stage);
    let elsewhere = std::thread::spawn({
        let (stage, route) = (Arc::clone(&stage), upstream.route.clone());
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                stage.proxy.switch(None).await;
                stage.proxy.switch(Some(route.clone())).await;
                route.connections().wait_idle().await;
            });
        }
    });
    within(tokio::task::spawn_blocking(move || elsewhere.join().unwrap()))
        .await
        .unwrap();
    let _client = stage.client_sending(GET).await;
    upstream.request().await;
}

#[tokio::test]
async fn no_request_fails_while_routes_change_under_load() {
    let stage = Stage::start();
    let addresses = [answering("one").await, answering("two").await];
    let mut current = Route::new(addresses[0]);
    stage.proxy.switch(Some(current.clone())).await;

    let done = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let (mut client, done) = (stage.client().await, Arc::clone(&done));
        clients.push(tokio::spawn(async move {
            let mut served = 0;
            while !done.load(SeqCst) {
                ask(&mut client).await;
                served += 1;
            }
            served
        }));
    }

    let mut observer = stage.client().await;
    for round in 0..SWITCHES {
        let (index, expected) = if round % 2 == 0 { (1, "two") } else { (0, "one") };
        let next = Route::new(addresses[index]);
        stage.proxy.switch(Some(next.clone())).await;
        let old = std::mem::replace(&mut current, next);
        assert_eq!(ask(&mut observer).await, expected, "switch {round}");
        let mut newcomer = stage.client().await;
        assert_eq!(ask(&mut newcomer).await, expected, "switch {round}");
        idle(old.connections()).await;
        // Once empty it stays empty: nobody is counted on an older route.
        assert_eq!(ask(&mut observer).await, expected, "switch {round}");
        assert_eq!(old.connections().http(), 0, "switch {round}");
    }

    done.store(true, SeqCst);
    let mut served = 0;
    for client in clients {
        served += within(client).await.unwrap();
    }
    assert!(served >= CLIENTS, "{served} requests");
    idle(current.connections()).await;
}

async fn ask(client: &mut Wire) -> String {
    client.send(GET).await;
    let (head, body) = client.message().await;
    assert_eq!(head.status(), 200, "{body}");
    body
}

/// An upstream that answers every request with its name.
async fn answering(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let mut wire = Wire::new(listener.accept().await.unwrap().0);
            tokio::spawn(async move {
                while wire.skip_head().await {
                    wire.send(format!(
                        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}",
                        name.len()
                    ))
                    .await;
                }
            });
        }
    });
    address
}
