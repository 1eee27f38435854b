//! The health check: GET until a 2xx, soon and often at first, each try bounded.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::config::Health;
use crate::error::plain;

/// The pause after the first probe; it doubles with each, up to the configured interval.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// How often is looked, between two probes, whether somebody has begun to listen.
const LOOK: Duration = Duration::from_millis(2);

/// Whom to ask.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Target {
    /// Where the process listens.
    pub address: SocketAddr,
    /// What the Host header says: the upstream host and the port.
    pub authority: String,
}

/// What one probe came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// An HTTP answer.
    Status(u16),
    /// Nothing accepted the connection.
    Refused,
    /// No whole answer within the time of one probe.
    TimedOut(Duration),
    /// The connection broke, or what came was no HTTP.
    Broken(String),
}

impl Answer {
    /// Whether this makes the release healthy.
    pub fn is_healthy(&self) -> bool {
        matches!(self, Answer::Status(200..=299))
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Status(status) => match StatusCode::from_u16(*status)
                .ok()
                .and_then(|code| code.canonical_reason())
            {
                Some(reason) => write!(formatter, "{status} {reason}"),
                None => write!(formatter, "{status}"),
            },
            Answer::Refused => formatter.write_str("connection refused"),
            Answer::TimedOut(limit) => write!(formatter, "no answer within {} ms", limit.as_millis()),
            Answer::Broken(cause) => formatter.write_str(cause),
        }
    }
}

/// A probe that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Counts from 1.
    pub number: u32,
    /// Since the first probe began.
    pub elapsed: Duration,
    /// What came of it.
    pub answer: Answer,
}

/// The health check ran out of time.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("GET {path} on {address} gave no 2xx within {} ms ({attempts} probes; last answer: {last}){}", .limit.as_millis(), hint(.last))]
pub struct HealthTimeout {
    /// The path asked for.
    pub path: String,
    /// Where.
    pub address: SocketAddr,
    /// How long was tried.
    pub limit: Duration,
    /// How often.
    pub attempts: u32,
    /// What the last probe came to.
    pub last: Answer,
}

/// What an operator would look at first.
fn hint(last: &Answer) -> &'static str {
    match last {
        Answer::Refused => "; is that the port it listens on? It is given as {{port}} and ROLLBRIDGE_PORT",
        _ => "",
    }
}

/// How long to pause after probe `number` (from 1).
fn pause_after(number: u32, interval: Duration) -> Duration {
    let doubled = 2u32
        .checked_pow(number - 1)
        .and_then(|factor| FIRST_PAUSE.checked_mul(factor));
    doubled.map_or(interval, |pause| pause.min(interval))
}

/// Probes until the target is healthy or the time is up. `watch` sees every attempt.
pub async fn wait_until_healthy(
    target: &Target,
    health: &Health,
    mut watch: impl FnMut(&Attempt),
) -> Result<Attempt, HealthTimeout> {
    sleep(health.start_delay).await;
    let begun = Instant::now();
    let deadline = begun + health.timeout;
    let mut number = 0;
    let mut before = None;
    let mut early = None;
    loop {
        number += 1;
        let limit = health.request_timeout.min(deadline - Instant::now());
        let answer = match early.take() {
            Some(answer) => answer,
            None => within(limit, target, &health.path).await,
        };
        let attempt = Attempt {
            number,
            elapsed: begun.elapsed(),
            answer,
        };
        watch(&attempt);
        if attempt.answer.is_healthy() {
            return Ok(attempt);
        }
        let next = Instant::now() + pause_after(number, health.interval);
        // A probe that the end of the time cut short says nothing of the app; the one before it does.
        let cut_short = matches!(attempt.answer, Answer::TimedOut(limit) if limit < health.request_timeout);
        if next >= deadline {
            let last = before.filter(|_| cut_short).unwrap_or(attempt.answer);
            return Err(HealthTimeout {
                path: health.path.clone(),
                address: target.address,
                limit: health.timeout,
                attempts: number,
                last,
            });
        }
        if attempt.answer == Answer::Refused {
            early = first_answer(target, health, next, deadline).await;
        }
        if early.is_none() {
            tokio::time::sleep_until(next).await;
        }
        before = Some(attempt.answer);
    }
}

/// Looks often whether anybody listens yet, which costs nobody anything, and returns the first answer there is before
/// `next`: an app is in service as soon as it can be, however long it took to start.
async fn first_answer(target: &Target, health: &Health, next: Instant, deadline: Instant) -> Option<Answer> {
    loop {
        let look = Instant::now() + LOOK;
        if look >= next {
            return None;
        }
        tokio::time::sleep_until(look).await;
        let limit = health.request_timeout.min(deadline - Instant::now());
        match within(limit, target, &health.path).await {
            Answer::Refused => {}
            answer => return Some(answer),
        }
    }
}

async fn within(limit: Duration, target: &Target, path: &str) -> Answer {
    timeout(limit, probe(target, path))
        .await
        .unwrap_or(Answer::TimedOut(limit))
}

/// One GET on a connection of its own.
pub async fn probe(target: &Target, path: &str) -> Answer {
    match ask(target, path).await {
        Ok(status) => Answer::Status(status),
        Err(answer) => answer,
    }
}

async fn ask(target: &Target, path: &str) -> Result<u16, Answer> {
    let stream = TcpStream::connect(target.address)
        .await
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::ConnectionRefused => Answer::Refused,
            _ => Answer::Broken(plain(&error)),
        })?;
    let request = Request::get(path)
        .header(header::HOST, &target.authority)
        .header(
            header::USER_AGENT,
            concat!("rollbridge/", env!("CARGO_PKG_VERSION"), " health check"),
        )
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| Answer::Broken(format!("health path {path:?} cannot be asked for: {error}")))?;
    let broken = |error: hyper::Error| Answer::Broken(error.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // Driven by hand, so that the connection ends with this probe. It may end in the very step that brings the answer.
    let mut answer = std::pin::pin!(sender.send_request(request));
    let answer = tokio::select! {
        biased;
        answer = &mut answer => answer,
        ended = connection => match ended {
            Ok(()) => answer.await,
            Err(error) => Err(error),
        },
    };
    answer.map(|response| response.status().as_u16()).map_err(broken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpSocket};

    #[test]
    fn pauses_double_up_to_the_interval() {
        let pauses: Vec<u128> = (1..8)
            .map(|number| pause_after(number, Duration::from_millis(250)).as_millis())
            .collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 250, 250]);
        assert_eq!(pause_after(1, Duration::from_millis(1)), Duration::from_millis(1));
        assert_eq!(
            pause_after(500, Duration::from_millis(250)),
            Duration::from_millis(250)
        );
    }

    async fn server(answers: Vec<&'static str>) -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.expect("a probe connects");
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Target {
            address,
            authority: address.to_string(),
        }
    }

    fn health(timeout_ms: u64) -> Health {
        Health {
            path: "/ping".to_owned(),
            timeout: Duration::from_millis(timeout_ms),
            interval: Duration::from_millis(10),
            start_delay: Duration::ZERO,
            request_timeout: Duration::from_millis(timeout_ms),
        }
    }

    #[tokio::test]
    async fn an_app_that_begins_to_listen_is_noticed_at_once() {
        // Between two probes that lie far apart.
        const STARTS: Duration = Duration::from_millis(1340);
        // Nobody else gets the port meanwhile.
        let socket = TcpSocket::new_v4().expect("a socket");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        socket.bind(any).expect("a free port");
        let address = socket.local_addr().expect("it is bound");
        let listening = tokio::spawn(async move {
            sleep(STARTS).await;
            let listener = socket.listen(8).expect("the port is its own");
            let since = Instant::now();
            let (mut stream, _) = listener.accept().await.expect("a probe connects");
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
            since
        });
        let target = Target {
            address,
            authority: address.to_string(),
        };
        let mut health = health(60_000);
        health.interval = Duration::from_secs(10);
        let healthy = wait_until_healthy(&target, &health, |_| {})
            .await
            .expect("it answers");
        let noticed = listening.await.expect("it listened").elapsed();
        assert!(noticed < Duration::from_secs(1), "{noticed:?} after it listened");
        assert!(
            healthy.number < 10,
            "what is refused is not told each time: {healthy:?}"
        );
    }

    #[tokio::test]
    async fn goes_on_until_a_2xx() {
        let unavailable = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
        let target = server(vec![
            unavailable,
            "",
            "nonsense\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
        ])
        .await;
        let mut seen = Vec::new();
        let healthy = wait_until_healthy(&target, &health(60_000), |attempt| {
            seen.push(attempt.answer.clone())
        })
        .await;
        assert_eq!(healthy.expect("the last answer is a 204").number, 4);
        assert_eq!((&seen[0], &seen[3]), (&Answer::Status(503), &Answer::Status(204)));
        assert!(matches!(seen[1], Answer::Broken(_)), "{seen:?}");
        assert!(matches!(seen[2], Answer::Broken(_)), "{seen:?}");
    }

    #[tokio::test]
    async fn says_what_the_last_answer_was_when_the_time_is_up() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        drop(listener);
        let target = Target {
            address,
            authority: address.to_string(),
        };
        let error = wait_until_healthy(&target, &health(30), |_| ())
            .await
            .expect_err("nobody listens");
        assert_eq!(error.last, Answer::Refused);
        assert!(
            error.to_string().contains("last answer: connection refused"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_probe_cut_short_does_not_hide_the_answer_before_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a probe connects");
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream
                .write_all(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")
                .await;
            // Further probes connect and hear nothing.
            std::future::pending::<()>().await;
        });
        let target = Target {
            address,
            authority: address.to_string(),
        };
        let mut health = health(200);
        health.request_timeout = Duration::from_secs(5);
        let error = wait_until_healthy(&target, &health, |_| ())
            .await
            .expect_err("nothing but a 503");
        assert_eq!((error.attempts, error.last), (2, Answer::Status(503)));
    }

    #[tokio::test]
    async fn a_server_that_accepts_and_says_nothing_is_bounded() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let target = Target {
            address,
            authority: address.to_string(),
        };
        let error = wait_until_healthy(&target, &health(50), |_| ())
            .await
            .expect_err("nobody answers");
        assert!(matches!(error.last, Answer::TimedOut(_)), "{error}");
    }
}
