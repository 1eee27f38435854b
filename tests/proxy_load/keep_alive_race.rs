//! An upstream that closes idle connections just as requests come.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::socket::{MsgFlags, recv};
use rollbridge::proxy::{Proxy, Route, Settings};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::support::{Wire, patience, within};

/// A race to run: how many clients send how many requests each, as many GETs as POSTs, how long they rest between two of
/// them, and after which idle time the upstream closes.
#[derive(Clone)]
struct Race {
    clients: usize,
    requests: usize,
    rest_micros: Range<u64>,
    idle_micros: Range<u64>,
}

/// What came of it.
struct Outcome {
    failed_posts: usize,
    others: Vec<String>,
}

/// How often the upstream has read each request.
type Ledger = Arc<Mutex<HashMap<String, usize>>>;

/// At any moment: what the upstream turns away unread is sent again. What it may have read is not; that happens when it
/// closes between two system calls of its own, and only to POSTs.
#[test]
fn connections_that_close_at_any_moment_fail_no_get_and_double_no_post() {
    let race = Race {
        clients: 16,
        requests: 1300,
        rest_micros: 0..3000,
        idle_micros: 0..3000,
    };
    let posts = race.clients * race.requests / 2;
    let outcome = run(race);
    assert_eq!(outcome.others, [] as [String; 0]);
    say(&format!("{} of {posts} POSTs failed", outcome.failed_posts));
    assert!(
        outcome.failed_posts < posts / 100,
        "{} failed",
        outcome.failed_posts
    );
}

/// An upstream that keeps connections for longer than a POST uses them.
#[test]
fn connections_that_close_after_more_than_a_second_fail_nothing() {
    let outcome = run(Race {
        clients: 200,
        requests: 6,
        rest_micros: 900_000..1_500_000,
        idle_micros: 1_200_000..1_400_000,
    });
    assert_eq!(outcome.others, [] as [String; 0]);
    assert_eq!(outcome.failed_posts, 0);
}

/// Runs a race; it never doubles a POST.
fn run(race: Race) -> Outcome {
    let ledger = Ledger::default();
    let upstream = start_upstream(Arc::clone(&ledger), race.idle_micros.clone());
    let settings = Settings {
        workers: 2,
        trusted_proxies: Vec::new(),
        max_connections: 1000,
        head_timeout: patience(),
        client_idle_timeout: patience(),
        hold_timeout: patience(),
        max_held_requests: 1000,
    };
    let proxy = Proxy::start(
        std::net::TcpListener::bind("127.0.0.1:0").unwrap(),
        settings,
        None,
    )
    .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let failures = runtime.block_on(async {
        proxy.switch(Some(Route::new(upstream))).await;
        let mut clients = tokio::task::JoinSet::new();
        for client in 0..race.clients {
            clients.spawn(visit(proxy.local_address(), client, race.clone()));
        }
        let mut failures = Vec::new();
        while let Some(failed) = clients.join_next().await {
            failures.extend(failed.unwrap());
        }
        failures
    });
    let ledger = ledger.lock().unwrap();
    let doubled: Vec<_> = ledger
        .iter()
        .filter(|(request, count)| request.starts_with("POST") && **count > 1)
        .collect();
    assert!(doubled.is_empty(), "{doubled:?}");
    let (posts, others): (Vec<_>, Vec<_>) = failures
        .into_iter()
        .partition(|failure| failure == "POST HTTP/1.1 502 Bad Gateway");
    let missing = race.clients * race.requests - ledger.len();
    assert!(missing <= posts.len(), "an answered request has not arrived");
    Outcome {
        failed_posts: posts.len(),
        others,
    }
}

/// Requests in a row on one connection; returns what went wrong.
async fn visit(proxy: SocketAddr, client: usize, race: Race) -> Vec<String> {
    let mut chance = 0x9e37_79b9_u64.wrapping_mul(client as u64 + 1);
    let mut failures = Vec::new();
    let mut wire = Wire::new(within(TcpStream::connect(proxy)).await.unwrap());
    for number in 0..race.requests {
        let (method, body) = if number % 2 == 0 {
            ("GET", "")
        } else {
            ("POST", "body")
        };
        wire.send(format!(
            "{method} /{client}-{number} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
        let (head, _) = wire.message().await;
        if head.status() != 200 {
            failures.push(format!("{method} {}", head.start));
        }
        tokio::time::sleep(pick(&mut chance, &race.rest_micros)).await;
    }
    failures
}

/// An upstream on a thread of its own, so that it closes whenever it likes.
fn start_upstream(ledger: Ledger, idle_micros: Range<u64>) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            for connection in 1.. {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(answer(
                    Wire::new(stream),
                    connection,
                    idle_micros.clone(),
                    Arc::clone(&ledger),
                ));
            }
        });
    });
    address
}

async fn answer(mut wire: Wire, connection: u64, idle_micros: Range<u64>, ledger: Ledger) {
    let mut chance = connection;
    let mut is_first = true;
    loop {
        // The first request is on its way already; whoever closes before it has not kept anything alive.
        let idle_time = if is_first {
            patience()
        } else {
            pick(&mut chance, &idle_micros)
        };
        is_first = false;
        let head = match timeout(idle_time, wire.head_or_end()).await {
            Ok(head) => head,
            // A request that has come just now is not left unread: whoever does that closes with a reset, and then nobody
            // can tell whether it was read.
            Err(_) if has_arrived(&wire) => within(wire.head_or_end()).await,
            Err(_) => None,
        };
        let Some(head) = head else { return };
        let request = head.start.trim_end_matches(" HTTP/1.1").to_owned();
        *ledger.lock().unwrap().entry(request).or_default() += 1;
        wire.body(&head).await;
        wire.try_send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .await;
    }
}

/// Whether anything is there to be read, whatever the runtime has noticed of it.
fn has_arrived(wire: &Wire) -> bool {
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    recv(wire.stream().as_raw_fd(), &mut [0; 1], flags).is_ok_and(|read| read > 0)
}

fn pick(chance: &mut u64, micros: &Range<u64>) -> Duration {
    *chance = chance
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    Duration::from_micros(micros.start + (*chance >> 33) % (micros.end - micros.start))
}

#[expect(clippy::print_stdout, reason = "a figure for whoever asks for it")]
fn say(line: &str) {
    println!("{line}");
}
