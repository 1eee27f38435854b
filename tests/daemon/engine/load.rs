//! Clients that never rest while one engine after the other is killed.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::running;
use crate::support::{PATIENCE, Process, Setup, send, wait_for, wait_until};

const CLIENTS: usize = 16;
const KILLS: usize = 20;

/// Ten times the goal: the machine of the tests is busy.
const LONGEST_MEDIAN: Duration = Duration::from_millis(1500);

/// What the clients have seen.
#[derive(Default)]
struct Ledger {
    over: AtomicBool,
    /// When requests were answered.
    answers: Mutex<Vec<Instant>>,
    /// Connections that broke, with when; the client came again.
    broken: Mutex<Vec<Instant>>,
    /// What must never happen.
    wrong: Mutex<Vec<String>>,
}

fn locked<T>(list: &Mutex<Vec<T>>) -> MutexGuard<'_, Vec<T>> {
    list.lock().expect("no client panicked")
}

/// One client: a request after the other on one connection; where that breaks, on another.
fn client(address: SocketAddr, ledger: &Ledger) {
    while !ledger.over.load(SeqCst) {
        let mut stream = match TcpStream::connect(address) {
            Ok(stream) => stream,
            Err(error) => {
                locked(&ledger.wrong).push(format!("refused: {error}"));
                return;
            }
        };
        let patience = stream.set_read_timeout(Some(PATIENCE));
        patience.expect("a time limit can be set");
        while !ledger.over.load(SeqCst) {
            match request(&mut stream) {
                Ok(true) => locked(&ledger.answers).push(Instant::now()),
                Ok(false) => locked(&ledger.wrong).push("another answer".to_owned()),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    locked(&ledger.wrong).push(format!("no answer: {error}"));
                    return;
                }
                Err(_) => {
                    locked(&ledger.broken).push(Instant::now());
                    break;
                }
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn request(stream: &mut TcpStream) -> std::io::Result<bool> {
    stream.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n")?;
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        answer.extend_from_slice(&buffer[..count]);
        if answer.ends_with(b"0\r\n\r\n") || answer.ends_with(b"\r\n\r\nv1") {
            return Ok(answer.starts_with(b"HTTP/1.1 200"));
        }
    }
}

#[test]
fn only_what_is_in_flight_is_lost() {
    let daemon = Setup::with_web().process(Process::companion("worker")).start();
    daemon.deploy("v1").succeeds();
    let before = running(&daemon.status());
    let (address, ledger) = (daemon.proxy_address(), Arc::new(Ledger::default()));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let ledger = ledger.clone();
            std::thread::spawn(move || client(address, &ledger))
        })
        .collect();
    let answers = || locked(&ledger.answers).len();
    let mut kills = Vec::new();
    for _ in 0..KILLS {
        let answered = answers();
        wait_until("traffic flows", || answers() > answered + 5 * CLIENTS);
        let engine = wait_for("there is an engine", || daemon.engine());
        kills.push(Instant::now());
        send(engine, Signal::SIGKILL);
        wait_until("it is gone", || daemon.engine() != Some(engine));
    }
    let answered = answers();
    wait_until("traffic flows again", || answers() > answered + 5 * CLIENTS);
    ledger.over.store(true, SeqCst);
    for client in clients {
        client.join().expect("it comes to its end");
    }
    let wrong = locked(&ledger.wrong);
    assert!(wrong.is_empty(), "{wrong:?}");
    let broken = locked(&ledger.broken).len();
    assert!(
        broken <= KILLS * CLIENTS,
        "{broken} broken connections: more than one per client and kill"
    );
    let answers = locked(&ledger.answers);
    let mut pauses: Vec<Duration> = (0..KILLS)
        .map(|index| {
            // The first answers may have been on their way already: what counts is the longest silence before the next.
            let until = kills.get(index + 1).copied();
            let within = |at: &&Instant| **at > kills[index] && until.is_none_or(|until| **at < until);
            let mut times: Vec<Instant> = answers.iter().filter(within).copied().collect();
            times.push(kills[index]);
            times.sort_unstable();
            let gaps = times.windows(2).map(|two| two[1] - two[0]);
            gaps.max().unwrap_or(Duration::MAX)
        })
        .collect();
    pauses.sort_unstable();
    let median = pauses[pauses.len() / 2];
    println!(
        "{KILLS} kills: {} answers, {broken} requests in flight lost; time without service: median {median:?}, longest {:?}",
        answers.len(),
        pauses[pauses.len() - 1]
    );
    assert!(median < LONGEST_MEDIAN, "{pauses:?}");
    assert_eq!(running(&daemon.status()), before, "every process keeps its pid");
    assert_eq!(daemon.events_of("engine restarted").len(), KILLS);
}
