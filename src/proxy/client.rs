//! One client connection: one request after the other, how long it may stay, and how it ends.
//!
//! Most connections rest most of the time, so a resting one is a small value that is polled as it is. Only a request has a
//! future of its own, in memory that goes back with the answer.

use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

use super::body::{Body, Encoding};
use super::buffer::Buffer;
use super::chunks::BadBody;
use super::exchange::Upload;
use super::forward::{Outcome, forward};
use super::forwarded::Seen;
use super::framing::Framing;
use super::handed::{HeldRequest, Resting, Stage};
use super::refusal::{Form, Refusal};
use super::request::{self, Request};
use super::slots::Listed;
use super::tunnel::Tunnel;
use super::wire::Wire;
use super::worker::{Arrival, Beginning, Load, Worker};

/// The task of a client connection, until it ends or is upgraded. One of the two is there.
pub(super) struct Serving {
    resting: Option<Client>,
    busy: Option<Busy>,
}

/// What a client connection is doing; gives it back if it goes on.
type Busy = Pin<Box<dyn Future<Output = Option<Client>>>>;

/// A client connection.
struct Client {
    worker: Rc<Worker>,
    wire: Wire,
    load: Load,
    local: SocketAddr,
    /// A request that another proxy has held, to begin with.
    held: Option<Box<HeldRequest>>,
    /// How much of the input has been looked at without finding the end of the head.
    looked_at: usize,
    /// Some of a head has come, so that its time runs.
    in_head: bool,
    answered: bool,
}

/// What came of waiting for a request.
enum Next {
    Request(Request, Upload, Duration),
    Refused(Refusal),
    /// Another proxy goes on with the connection.
    Leaves,
    /// The client has left, or was quiet for too long.
    Over,
}

/// Serves a client connection. None if the socket is broken: before its first request there is nobody to tell.
pub(super) fn serve(worker: Rc<Worker>, arrival: Arrival, listed: Listed) -> Option<Serving> {
    let stream = TcpStream::from_std(arrival.stream).ok()?;
    let local = stream.local_addr().ok()?;
    let _ = stream.set_nodelay(true);
    let mut client = Client {
        worker,
        wire: Wire::new(stream, listed),
        load: arrival.load,
        local,
        held: None,
        looked_at: 0,
        in_head: false,
        answered: false,
    };
    match arrival.beginning {
        Beginning::New => {}
        Beginning::Resting(resting) => {
            client.wire.input = Buffer::of(&resting.unread);
            client.answered = resting.answered;
        }
        Beginning::Held(held) => client.held = Some(held),
    }
    Some(Serving {
        resting: Some(client),
        busy: None,
    })
}

impl Future for Serving {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(busy) = &mut self.busy {
                self.resting = ready!(busy.as_mut().poll(context));
                self.busy = None;
            }
            let Some(client) = &mut self.resting else {
                return Poll::Ready(());
            };
            let next = ready!(client.poll_next(context));
            self.busy = self.resting.take().and_then(|client| client.follow(next));
        }
    }
}

impl Client {
    /// Waits for a request and reads its head.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Next> {
        let wire = &mut self.wire;
        wire.slot.attend(context);
        if let Some(held) = self.held.take() {
            return Poll::Ready(go_on(wire, &held));
        }
        if wire.slot.departure().is_open() {
            return Poll::Ready(Next::Leaves);
        }
        let mut head = Buffer::default();
        loop {
            while self.looked_at == 0 && wire.input.unread().starts_with(b"\r\n") {
                wire.input.consume(2);
            }
            let unread = wire.input.unread();
            // A head can only be complete, or wrong, with the end of a line, or when there is no room for more.
            if unread[self.looked_at..].contains(&b'\n') || wire.input.is_full() {
                let seen = Seen::new(
                    wire.slot.peer(),
                    self.local,
                    &self.worker.settings().trusted_proxies,
                );
                match request::read(unread, &seen, head.tail()) {
                    Ok(Some((request, length))) => {
                        wire.slot.begin(&unread[..length]);
                        wire.input.consume(length);
                        let body = Body::new(request.framing, encoding(request.framing));
                        let upload = Upload { output: head, body };
                        return Poll::Ready(Next::Request(request, upload, Duration::ZERO));
                    }
                    Ok(None) => {}
                    Err(refusal) => return Poll::Ready(Next::Refused(refusal)),
                }
            }
            self.looked_at = wire.input.len().saturating_sub(1);
            match wire.input.poll_fill(context, &mut wire.stream) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Next::Over),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => return self.poll_deadline(),
            }
        }
    }

    /// Ready when nothing has come for too long. The worker wakes the task then.
    fn poll_deadline(&mut self) -> Poll<Next> {
        let now = Instant::now();
        let slot = &self.wire.slot;
        let has_begun = !self.wire.input.is_empty();
        let deadline = match slot.deadline() {
            // A head that has begun gets no more time, whatever comes.
            Some(deadline) if self.in_head || !has_begun => deadline,
            _ => {
                self.in_head = has_begun;
                let settings = self.worker.settings();
                // Idle time begins with the first answer: until then the request may be on its way.
                let is_idle = self.answered && !has_begun;
                now + if is_idle {
                    settings.client_idle_timeout
                } else {
                    settings.head_timeout
                }
            }
        };
        slot.wake_at(Some(deadline));
        if now < deadline {
            Poll::Pending
        } else if has_begun {
            Poll::Ready(Next::Refused(Refusal::HeadTimeout))
        } else {
            Poll::Ready(Next::Over)
        }
    }

    fn follow(self, next: Next) -> Option<Busy> {
        self.wire.slot.wake_at(None);
        match next {
            Next::Request(request, upload, waited) => Some(answer(self, request, upload, waited)),
            Next::Refused(refusal) => Some(Box::pin(async move {
                refuse(self.wire, refusal, Form::default()).await;
                drop(self.load);
                None
            })),
            Next::Leaves => {
                self.wire.leave(|unread| {
                    Stage::Resting(Resting {
                        answered: self.answered,
                        unread,
                    })
                });
                None
            }
            Next::Over => None,
        }
    }
}

/// Has a request answered; gives the connection back for the next one. A block and no function, because a function would
/// hold what it is given twice.
fn answer(mut client: Client, request: Request, mut upload: Upload, waited: Duration) -> Busy {
    Box::pin(async move {
        let wire = &mut client.wire;
        // Without idle time the client is told with each answer that no other request is welcome.
        let keep_alive = request.keep_alive && !client.worker.settings().client_idle_timeout.is_zero();
        // A body that came along with the head is judged before anything is sent.
        let outcome = match upload.body.transfer(&mut wire.input, &mut upload.output) {
            Ok(_) => forward(&client.worker, wire, &request, &mut upload, keep_alive, waited).await,
            Err(BadBody(reason)) => Outcome::Refused(Refusal::BadRequest(reason)),
        };
        match outcome {
            Outcome::Switched {
                upstream,
                counted,
                target,
            } => {
                Tunnel::new(client.wire, upstream, client.load, counted, target).start();
                return None;
            }
            Outcome::Leaves { waited } => {
                let usage = wire.slot.usage().unwrap_or_default();
                client.wire.leave(|unread| {
                    Stage::Held(Box::new(HeldRequest {
                        usage,
                        request,
                        body: upload.body,
                        output: upload.output.unread().to_vec(),
                        unread,
                        waited_ms: u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
                    }))
                });
                return None;
            }
            _ => wire.slot.rest(),
        }
        match outcome {
            Outcome::Answered { keep_alive: true } if !wire.is_half_closed() => {}
            Outcome::Answered { .. } => {
                Box::pin(client.wire.linger()).await;
                return None;
            }
            Outcome::Refused(refusal) => {
                let form = Form {
                    json: request.prefers_json,
                    is_head: request.is_head,
                    is_http_1_0: request.is_http_1_0,
                    keep_alive: keep_alive && upload.body.is_done() && !refusal.closes(),
                };
                if !form.keep_alive || wire.is_half_closed() {
                    Box::pin(refuse(client.wire, refusal, form)).await;
                    return None;
                }
                refusal.write(form, wire.output.tail());
                if Box::pin(wire.flush()).await.is_err() {
                    return None;
                }
            }
            Outcome::Cut { until_close: true } => {
                client.wire.reset();
                return None;
            }
            _ => return None,
        }
        client.answered = true;
        client.looked_at = 0;
        client.in_head = false;
        Some(client)
    })
}

/// A request that another proxy has held.
fn go_on(wire: &mut Wire, held: &HeldRequest) -> Next {
    wire.slot.go_on(&held.usage);
    wire.input = Buffer::of(&held.unread);
    let upload = Upload {
        output: Buffer::of(&held.output),
        body: held.body,
    };
    Next::Request(held.request, upload, Duration::from_millis(held.waited_ms))
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
