//! The forwarding engine alone, with one worker: `alone <port> <upstream port>` serves until its standard input ends.
//! Tools that cannot follow the daemon into its engine (valgrind) measure this instead; the code is the same.

use std::error::Error;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use rollbridge::proxy::{Proxy, Route, Settings};

fn main() -> Result<(), Box<dyn Error>> {
    let mut ports = std::env::args().skip(1).map(|port| port.parse::<u16>());
    let (Some(port), Some(upstream)) = (ports.next(), ports.next()) else {
        return Err("usage: alone <port> <upstream port>".into());
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port?))?;
    let upstream = SocketAddr::from((Ipv4Addr::LOCALHOST, upstream?));
    let settings = Settings {
        workers: 1,
        trusted_proxies: vec!["127.0.0.0/8".parse()?, "::1/128".parse()?],
        max_connections: 50_000,
        client_idle_timeout: Duration::from_secs(75),
        hold_timeout: Duration::from_secs(30),
        max_held_requests: 1000,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let proxy = Proxy::start(listener, settings)?;
    runtime.block_on(proxy.switch(Some(Route::new(upstream))));
    std::io::stdin().read_to_end(&mut Vec::new())?;
    runtime.block_on(proxy.shutdown());
    Ok(())
}
