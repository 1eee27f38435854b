//! What a service manager is told of the daemon: in a sentence what it does, and again and again that it does it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep, timeout};

use crate::daemon::{ConnectionsRequest, Engine};
use crate::keeper::KeeperHost;

/// How many looks fit into the time after which the service manager takes a silent daemon for dead.
const LOOKS: u32 = 3;

/// When is looked once more after an event, for what changed a moment after it.
const SETTLED: Duration = Duration::from_millis(100);

/// No request, so the proxy answers it by itself.
const QUESTION: &[u8] = b"?\r\n\r\n";

/// Whether this process has been started by a service manager that listens.
pub(super) fn is_wanted() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// Tells what the daemon does, whenever that changes.
pub(super) async fn keep_told(engine: Engine, host: Arc<KeeperHost>) {
    let (_, mut events) = engine.events().follow(None, Some(0));
    let mut told = String::new();
    loop {
        let now = engine.sentence();
        if now != told {
            let stopping = match engine.is_closing() {
                true => "STOPPING=1\n",
                false => "",
            };
            host.notify(&format!("{stopping}STATUS={now}"));
            told = now;
        }
        match timeout(SETTLED, events.recv()).await {
            Ok(Err(RecvError::Closed)) => return,
            // Also when some were missed: what counts is how things stand.
            Ok(_) => continue,
            Err(_) => {}
        }
        let now = engine.sentence();
        // What changed a moment after the last event has been seen by now.
        if now == told && matches!(events.recv().await, Err(RecvError::Closed)) {
            return;
        }
    }
}

/// Tells that the daemon serves, as long as it does: every worker of the proxy answers, and a client gets through.
pub(super) async fn keep_watched(engine: Engine, host: Arc<KeeperHost>, keeper: i32) {
    let Some(limit) = watchdog_time(keeper) else {
        return;
    };
    let pause = limit / LOOKS;
    loop {
        let begun = Instant::now();
        if timeout(pause, serves(&engine)).await.unwrap_or(false) {
            host.notify("WATCHDOG=1");
        }
        sleep(pause.saturating_sub(begun.elapsed())).await;
    }
}

/// After how long a silent daemon counts as dead; none if nobody watches.
fn watchdog_time(keeper: i32) -> Option<Duration> {
    let told = |name: &str| std::env::var(name).ok();
    if told("WATCHDOG_PID").is_some_and(|pid| pid != keeper.to_string()) {
        return None;
    }
    let microseconds: u64 = told("WATCHDOG_USEC")?.parse().ok()?;
    Some(Duration::from_micros(microseconds)).filter(|time| !time.is_zero())
}

async fn serves(engine: &Engine) -> bool {
    let every_worker = engine.connections(&ConnectionsRequest::default()).await.is_ok();
    every_worker && gets_through(engine.status().proxy).await.is_ok()
}

/// A client of the proxy gets an answer: accepting and reading work too.
async fn gets_through(mut address: SocketAddr) -> io::Result<()> {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(QUESTION).await?;
    let mut answer = [0; 64];
    match stream.read(&mut answer).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}
