//! The way of one request: count it in, find a connection, try, and try again where that is harmless.

use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use super::answer::Final;
use super::exchange::{Done, Exchange, Failure, Upload};
use super::hold::Patience;
use super::refusal::Refusal;
use super::request::Request;
use super::route::Counted;
use super::target::Target;
use super::upstream::Upstream;
use super::wire::Wire;
use super::worker::Worker;

/// What became of a request.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The client has its answer; says whether its connection stays open.
    Answered { keep_alive: bool },
    /// Nobody has answered: the proxy has to.
    Refused(Refusal),
    /// The answer ended too early, and the client must be able to tell.
    Cut { until_close: bool },
    /// The client has left.
    Gone,
    /// The connection leaves for another proxy, with its request; says how long that has been held.
    Leaves { waited: Duration },
    /// Both sides speak another protocol from now on.
    Switched {
        upstream: Upstream,
        counted: Counted,
        target: Rc<Target>,
    },
}

/// Why there is no connection.
enum NoConnection {
    /// The upstream did not accept any; it may now.
    Later,
    /// The worker follows another route.
    Rerouted,
    /// The request ends without one.
    Over(Outcome),
}

/// How one try ended, and whether the head of an answer has been sent.
enum Try {
    Done(Done),
    Failed(Failure),
    Closed,
}

/// Sends the request, held elsewhere for the time `waited`, to the current route until somebody answers or patience ends.
pub(super) async fn forward(
    worker: &Worker,
    wire: &mut Wire,
    request: &Request,
    upload: &mut Upload,
    keep_alive: bool,
    waited: Duration,
) -> Outcome {
    let mut patience = Patience::after(waited);
    let mut fresh = false;
    upload.output.keep();
    'tries: loop {
        // Counted before anything is awaited: a switch that has been acknowledged finds no newcomer here.
        let Some(target) = worker.target() else {
            return Outcome::Refused(Refusal::NoRelease);
        };
        let counted = Counted::request(target.connections());
        wire.slot.follow(target.connections().id());
        let mut is_pooled = false;
        // Nothing else lives through what is awaited here: every request would need memory for it.
        let mut upstream = 'found: {
            if !fresh && let Some(idle) = target.take_idle(request.is_idempotent) {
                is_pooled = true;
                break 'found idle;
            }
            // Seldom needed, so in memory of its own.
            let obtaining = Box::pin(obtain(worker, &target, &mut patience, wire, request));
            match obtaining.await {
                Ok(upstream) => upstream,
                Err(NoConnection::Rerouted) => {
                    fresh = false;
                    continue 'tries;
                }
                Err(NoConnection::Later) => {
                    fresh = true;
                    continue 'tries;
                }
                Err(NoConnection::Over(outcome)) => return outcome,
            }
        };

        let mut exchange = Exchange::new(wire, &mut upstream, request, upload, keep_alive);
        let (ended, begun) = attempt(&mut exchange, &target).await;
        let failure = match ended {
            Try::Done(Done::Switched) => {
                return Outcome::Switched {
                    upstream,
                    counted: counted.into_upgraded(),
                    target,
                };
            }
            Try::Done(Done::Answered { answer, all_sent }) => {
                finish(target, upstream, &answer, all_sent);
                return Outcome::Answered {
                    keep_alive: answer.keep_alive && all_sent,
                };
            }
            Try::Failed(Failure::ClientGone) => return Outcome::Gone,
            Try::Failed(_) | Try::Closed if begun.is_some() => {
                return Outcome::Cut {
                    until_close: begun.is_some_and(|answer| answer.until_close),
                };
            }
            Try::Closed => return Outcome::Refused(Refusal::Closed),
            Try::Failed(failure) => failure,
        };
        let again = match failure {
            Failure::BadBody(reason) => return Outcome::Refused(Refusal::BadRequest(reason)),
            Failure::Unsent => true,
            Failure::Silent => request.is_idempotent && upload.output.can_rewind(),
            Failure::ClientGone | Failure::Broken | Failure::Truncated => false,
        };
        if !again {
            return Outcome::Refused(Refusal::NoAnswer);
        }
        if upload.output.can_rewind() {
            upload.output.rewind();
        }
        fresh = true;
        if !is_pooled {
            drop(upstream);
            if let Err(outcome) = Box::pin(wait(&mut patience, worker, &target, wire, request)).await {
                return outcome;
            }
        }
    }
}

/// Runs one try, until the release's connections are closed.
async fn attempt(exchange: &mut Exchange<'_>, target: &Target) -> (Try, Option<Final>) {
    std::future::poll_fn(|context| {
        let ended = match exchange.poll(context) {
            Poll::Ready(Ok(done)) => Try::Done(done),
            Poll::Ready(Err(failure)) => Try::Failed(failure),
            Poll::Pending if target.closed().is_sent() => Try::Closed,
            Poll::Pending => return Poll::Pending,
        };
        Poll::Ready((ended, exchange.begun()))
    })
    .await
}

/// Keeps the connection for another request, if it is fit for one.
fn finish(target: Rc<Target>, mut upstream: Upstream, answer: &Final, all_sent: bool) {
    if let Some(announced) = answer.announced_idle {
        upstream.limit_idle(announced);
    }
    if answer.reusable && all_sent && upstream.input.is_empty() {
        target.give_back(upstream);
    }
}

/// Opens a connection. If that does not succeed, it waits until there is a point in trying again.
async fn obtain(
    worker: &Worker,
    target: &Target,
    patience: &mut Patience,
    wire: &mut Wire,
    request: &Request,
) -> Result<Upstream, NoConnection> {
    let limit = patience.connect_limit(worker);
    let over = |outcome| Err(NoConnection::Over(outcome));
    tokio::select! {
        biased;
        connected = tokio::time::timeout(limit, target.connect()) => {
            if let Ok(Ok(upstream)) = connected {
                return Ok(upstream);
            }
        }
        () = target.retired().sent() => return Err(NoConnection::Rerouted),
        () = target.closed().sent() => return over(Outcome::Refused(Refusal::Closed)),
        () = worker.departure().opened() => return over(Outcome::Leaves { waited: patience.waited(worker) }),
        () = wire.gone(request) => return over(Outcome::Gone),
    }
    match wait(patience, worker, target, wire, request).await {
        Ok(()) => Err(NoConnection::Later),
        Err(outcome) => over(outcome),
    }
}

async fn wait(
    patience: &mut Patience,
    worker: &Worker,
    target: &Target,
    wire: &mut Wire,
    request: &Request,
) -> Result<(), Outcome> {
    tokio::select! {
        biased;
        waited = patience.wait(worker, target) => waited.map_err(Outcome::Refused),
        () = worker.departure().opened() => Err(Outcome::Leaves { waited: patience.waited(worker) }),
        () = wire.gone(request) => Err(Outcome::Gone),
    }
}
