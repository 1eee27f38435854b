//! The forwarding engine alone, with one worker: `alone <port> <upstream port>`. Each line of its standard input is the
//! port of an upstream to switch to; it ends with its input. What cannot be done to a daemon is done to this: valgrind
//! cannot follow the keeper to its engine, and a hundred releases take long to start. The code is the same.

use std::error::Error;
use std::io::BufRead;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use rollbridge::proxy::{Proxy, Route, Settings};

fn main() -> Result<(), Box<dyn Error>> {
    let mut ports = std::env::args().skip(1).map(|port| port.parse::<u16>());
    let (Some(port), Some(upstream)) = (ports.next(), ports.next()) else {
        return Err("usage: alone <port> <upstream port>".into());
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port?))?;
    let settings = Settings {
        workers: 1,
        trusted_proxies: vec!["127.0.0.0/8".parse()?, "::1/128".parse()?],
        max_connections: 50_000,
        head_timeout: Duration::from_secs(30),
        client_idle_timeout: Duration::from_secs(75),
        hold_timeout: Duration::from_secs(30),
        max_held_requests: 1000,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let proxy = Proxy::start(listener, settings, None)?;
    runtime.block_on(proxy.switch(Some(route(upstream?))));
    for line in std::io::stdin().lock().lines() {
        runtime.block_on(proxy.switch(Some(route(line?.parse()?))));
    }
    runtime.block_on(proxy.shutdown());
    Ok(())
}

fn route(port: u16) -> Route {
    Route::new(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}
