//! One client connection: one request after the other, how long it may stay, and how it ends.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::body::{Body, Encoding};
use super::buffer::Buffer;
use super::chunks::BadBody;
use super::departure::Departure;
use super::exchange::Upload;
use super::forward::{Outcome, forward};
use super::forwarded::Seen;
use super::framing::Framing;
use super::handed::{HeldRequest, Resting, Stage};
use super::refusal::{Form, Refusal};
use super::request::{self, Request};
use super::slot::Listed;
use super::tunnel::Tunnel;
use super::wire::Wire;
use super::worker::{Arrival, Beginning, Worker};

/// What came of waiting for a request.
enum Next {
    Request(Request, Buffer),
    Refused(Refusal),
    /// Another proxy goes on with the connection.
    Leaves,
    /// The client has left, or was quiet for too long.
    Over,
}

/// Serves a client connection until it ends, or has been upgraded.
pub(super) async fn serve(worker: Rc<Worker>, arrival: Arrival, listed: Listed) {
    // A socket that fails before its first request has nobody to tell.
    let Ok(stream) = TcpStream::from_std(arrival.stream) else {
        return;
    };
    let Ok(local) = stream.local_addr() else { return };
    let _ = stream.set_nodelay(true);

    let settings = worker.settings();
    let (idle_timeout, head_timeout) = (settings.client_idle_timeout, settings.head_timeout);
    drop(settings);
    let mut wire = Wire::new(stream, Rc::clone(listed.slot()));
    let mut alarm = Alarm::new(head_timeout);
    let mut answered = false;
    let mut held = None;
    match arrival.beginning {
        Beginning::New => {}
        Beginning::Resting(resting) => {
            wire.input = Buffer::of(&resting.unread);
            answered = resting.answered;
        }
        Beginning::Held(request) => held = Some(request),
    }
    loop {
        let (request, mut upload, waited) = match held.take() {
            Some(held) => go_on(&mut wire, *held).await,
            None => {
                let seen = || Seen::new(arrival.peer, local, &worker.settings().trusted_proxies);
                // Idle time begins with the first answer: until then the request may be on its way.
                let patience = if answered { idle_timeout } else { head_timeout };
                match next_request(&mut wire, seen, patience, &mut alarm, worker.departure()).await {
                    Next::Request(request, output) => {
                        let body = Body::new(request.framing, encoding(request.framing));
                        (request, Upload { output, body }, Duration::ZERO)
                    }
                    Next::Refused(refusal) => {
                        return Box::pin(refuse(wire, refusal, Form::default())).await;
                    }
                    Next::Leaves => {
                        let unread = wire.input.unread().to_vec();
                        let resting = Stage::Resting(Resting { answered, unread });
                        return listed.give_up(resting, wire.stream, None);
                    }
                    Next::Over => return,
                }
            }
        };
        // Without idle time the client is told with each answer that no other request is welcome.
        let keep_alive = request.keep_alive && !idle_timeout.is_zero();
        // A body that came along with the head is judged before anything is sent.
        let outcome = match upload.body.transfer(&mut wire.input, &mut upload.output) {
            // In memory of its own, which goes back with the answer: most connections are idle most of the time.
            Ok(_) => {
                Box::pin(forward(
                    &worker,
                    &mut wire,
                    &request,
                    &mut upload,
                    keep_alive,
                    waited,
                ))
                .await
            }
            Err(BadBody(reason)) => Outcome::Refused(Refusal::BadRequest(reason)),
        };
        if let Outcome::Leaves { waited } = outcome {
            let stage = Stage::Held(Box::new(held_request(&wire, request, &upload, waited)));
            return listed.give_up(stage, wire.stream, None);
        }
        if !matches!(outcome, Outcome::Switched { .. }) {
            wire.slot.rest();
        }
        match outcome {
            Outcome::Answered { keep_alive: true } if !wire.is_half_closed() => {}
            Outcome::Answered { .. } => return Box::pin(wire.linger()).await,
            Outcome::Refused(refusal) => {
                let form = Form {
                    json: request.prefers_json,
                    is_head: request.is_head,
                    is_http_1_0: request.is_http_1_0,
                    keep_alive: keep_alive && upload.body.is_done() && !refusal.closes(),
                };
                if !form.keep_alive || wire.is_half_closed() {
                    return Box::pin(refuse(wire, refusal, form)).await;
                }
                refusal.write(form, wire.output.tail());
                if Box::pin(wire.flush()).await.is_err() {
                    return;
                }
            }
            Outcome::Cut { until_close: true } => return wire.reset(),
            Outcome::Cut { until_close: false } | Outcome::Gone | Outcome::Leaves { .. } => return,
            Outcome::Switched {
                upstream,
                counted,
                target,
            } => {
                return Tunnel::new(wire, upstream).start(arrival.load, counted, target, listed);
            }
        }
        answered = true;
    }
}

/// A request that leaves, none of which an upstream has kept.
fn held_request(wire: &Wire, request: Request, upload: &Upload, waited: Duration) -> HeldRequest {
    HeldRequest {
        usage: wire.slot.usage(),
        request,
        body: upload.body,
        output: upload.output.unread().to_vec(),
        unread: wire.input.unread().to_vec(),
        waited_ms: u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
    }
}

/// Such a request where it goes on.
async fn go_on(wire: &mut Wire, held: HeldRequest) -> (Request, Upload, Duration) {
    wire.slot.go_on(&held.usage);
    // Once it waits for its upstream it has to be found, should it leave again.
    std::future::poll_fn(|context| {
        wire.slot.attend(context);
        Poll::Ready(())
    })
    .await;
    wire.input = Buffer::of(&held.unread);
    let upload = Upload {
        output: Buffer::of(&held.output),
        body: held.body,
    };
    (held.request, upload, Duration::from_millis(held.waited_ms))
}

fn encoding(framing: Framing) -> Encoding {
    match framing {
        Framing::Chunked => Encoding::Chunked,
        Framing::Empty | Framing::Length(_) | Framing::UntilClose => Encoding::Plain,
    }
}

/// Answers for the last time and closes.
async fn refuse(mut wire: Wire, refusal: Refusal, form: Form) {
    let form = Form {
        keep_alive: false,
        ..form
    };
    refusal.write(form, wire.output.tail());
    if wire.flush().await.is_ok() {
        wire.linger().await;
    }
}

/// Waits for a request and reads its head. `patience` is the time until its first byte.
async fn next_request(
    wire: &mut Wire,
    seen: impl Fn() -> Seen,
    patience: Duration,
    alarm: &mut Alarm,
    departure: &Departure,
) -> Next {
    let mut head = Buffer::default();
    // How much of the input has been looked at without finding the end of the head.
    let mut looked_at = 0;
    let mut deadline = None;
    let mut begun = false;
    std::future::poll_fn(|context| {
        wire.slot.attend(context);
        if departure.is_open() {
            return Poll::Ready(Next::Leaves);
        }
        loop {
            while looked_at == 0 && wire.input.unread().starts_with(b"\r\n") {
                wire.input.consume(2);
            }
            let unread = wire.input.unread();
            // A head can only be complete, or wrong, with the end of a line, or when there is no room for more.
            if unread[looked_at..].contains(&b'\n') || wire.input.is_full() {
                match request::read(unread, &seen(), head.tail()) {
                    Ok(Some((request, length))) => {
                        wire.slot.begin(&unread[..length]);
                        wire.input.consume(length);
                        return Poll::Ready(Next::Request(request, std::mem::take(&mut head)));
                    }
                    Ok(None) => {}
                    Err(refusal) => return Poll::Ready(Next::Refused(refusal)),
                }
            }
            looked_at = wire.input.len().saturating_sub(1);
            if wire.input.is_empty() {
                head.clear();
            }
            match wire.input.poll_fill(context, &mut wire.stream) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Next::Over),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => break,
            }
        }
        let in_head = !wire.input.is_empty();
        if in_head && !begun {
            (begun, deadline) = (true, Some(Instant::now() + alarm.head_timeout));
        }
        let deadline = *deadline.get_or_insert_with(|| Instant::now() + patience);
        if alarm.poll(context, deadline).is_pending() {
            Poll::Pending
        } else if in_head {
            Poll::Ready(Next::Refused(Refusal::HeadTimeout))
        } else {
            Poll::Ready(Next::Over)
        }
    })
    .await
}

/// A timer that is hardly ever set anew: a deadline that moves away is noticed when the earlier one has passed.
struct Alarm {
    sleep: Pin<Box<Sleep>>,
    /// How long a head may take.
    head_timeout: Duration,
}

impl Alarm {
    fn new(head_timeout: Duration) -> Alarm {
        Alarm {
            sleep: Box::pin(tokio::time::sleep(head_timeout)),
            head_timeout,
        }
    }

    fn poll(&mut self, context: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        if self.sleep.deadline() > deadline {
            self.sleep.as_mut().reset(deadline);
        }
        while self.sleep.as_mut().poll(context).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

    /// What comes of waiting for a request of which only `start` ever arrives; time flies while nothing happens.
    async fn waited(start: &str) -> (Next, Duration) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(start.as_bytes()).await.unwrap();
        let slot = crate::proxy::slot::Slot::new(address);
        let mut wire = Wire::new(listener.accept().await.unwrap().0, slot);
        let began = Instant::now();
        let seen = || Seen::new(address, address, &[]);
        let next = next_request(
            &mut wire,
            seen,
            Duration::from_secs(75),
            &mut Alarm::new(HEAD_TIMEOUT),
            &Departure::default(),
        )
        .await;
        (next, began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn an_unfinished_head_is_given_up_and_a_quiet_client_let_go() {
        let (next, after) = waited("GET / HTTP/1.1\r\nHost:").await;
        assert!(matches!(next, Next::Refused(Refusal::HeadTimeout)));
        assert!(after >= HEAD_TIMEOUT && after < HEAD_TIMEOUT * 2, "{after:?}");
        let (next, after) = waited("\r\n").await;
        assert!(matches!(next, Next::Over));
        assert!(after >= Duration::from_secs(75), "{after:?}");
    }
}
