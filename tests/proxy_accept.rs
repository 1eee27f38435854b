//! Running out of descriptors. A test binary of its own, because the limit holds for the whole process.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rollbridge::proxy::{Accepting, Proxy, Settings};

#[test]
fn the_acceptor_survives_a_lack_of_descriptors() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 256, hard).unwrap();
    let settings = Settings {
        workers: 1,
        trusted_proxies: Vec::new(),
        max_connections: 1000,
        head_timeout: Duration::from_secs(30),
        client_idle_timeout: Duration::from_secs(75),
        hold_timeout: Duration::ZERO,
        max_held_requests: 1,
    };
    let proxy = Proxy::start(TcpListener::bind("127.0.0.1:0").unwrap(), settings, None).unwrap();
    let (teller, told) = channel();
    proxy.watch_accepting(move |news| teller.send(news).unwrap());
    // Stays open, so that nothing gives a descriptor back at the wrong moment.
    let _first = served(proxy.local_address());

    let mut hogs = Vec::new();
    while let Ok(hog) = File::open("/dev/null") {
        hogs.push(hog);
    }
    hogs.pop();
    // This takes the last descriptor: the connection is made by the kernel, and cannot be accepted.
    let mut waiting = TcpStream::connect(proxy.local_address()).unwrap();
    waiting
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    ask(&mut waiting);
    assert!(waiting.read(&mut [0; 1]).is_err(), "nobody can have answered");

    // It has tried several times by now, and has said once what is wrong.
    let mut news = vec![told.recv_timeout(Duration::from_secs(20)).unwrap()];
    news.extend(told.try_iter());
    assert!(matches!(news.as_slice(), [Accepting::Paused(_)]), "{news:?}");

    drop(hogs);
    waiting.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_answered(&mut waiting);
    served(proxy.local_address());
}

/// A client that has got an answer.
fn served(address: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    ask(&mut client);
    assert_answered(&mut client);
    client
}

fn ask(client: &mut TcpStream) {
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
}

fn assert_answered(client: &mut TcpStream) {
    let mut start = [0; 12];
    client.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 503");
}
