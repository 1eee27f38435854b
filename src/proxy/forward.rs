//! The way of one request: admit it, count it in, find a connection, send it, stream the answer back.

use std::rc::Rc;

use http_body_util::{Either, Empty};
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode, Version};

use super::body::{Exchange, ResponseBody};
use super::client::{Busy, Client};
use super::hold::Patience;
use super::route::Counted;
use super::target::Target;
use super::tunnel::Tunnel;
use super::upstream::{Failure, RequestBody, Upstream};
use super::worker::Worker;
use super::{headers, refusal, refusal::Refusal};

/// An answer's head, and what it came from.
struct Delivered {
    response: Response<Incoming>,
    counted: Counted,
    upstream: Upstream,
    target: Rc<Target>,
}

/// What one try came to, when it did not bring an answer.
enum Retry {
    /// At once, on a new connection: the pooled one was dead.
    Fresh(Request<RequestBody>),
    /// At once, to the route that is current now.
    Rerouted(Request<RequestBody>),
    /// When the upstream has had some time.
    Later(Request<RequestBody>),
}

/// Answers a request in every case.
pub(super) async fn answer(
    worker: Rc<Worker>,
    client: Rc<Client>,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    let busy = client.begin();
    let json = refusal::prefers_json(request.headers());
    match forward(&worker, client, busy, request).await {
        Ok(response) => response,
        Err(refusal) => refusal.response(json),
    }
}

async fn forward(
    worker: &Worker,
    client: Rc<Client>,
    busy: Busy,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Refusal> {
    let (mut head, body) = request.into_parts();
    headers::admit(&mut head)?;
    let client_side = head.extensions.remove::<OnUpgrade>();
    let upgrade = headers::wanted_upgrade(&head);
    let seen = client.seen(&worker.settings().trusted_proxies);
    headers::prepare_request(&mut head.headers, &seen, &upgrade);
    if !body.is_end_stream() && !head.headers.contains_key(CONTENT_LENGTH) {
        // Said aloud, because hyper would leave out the unsized body of a GET.
        head.headers
            .insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let version = std::mem::replace(&mut head.version, Version::HTTP_11);

    let request = Request::from_parts(head, Either::Left(body));
    let Delivered {
        mut response,
        counted,
        mut upstream,
        target,
    } = deliver(worker, request).await?;
    *response.version_mut() = Version::HTTP_11;
    if let Some(announced) = headers::announced_idle(response.headers()) {
        upstream.limit_idle(announced);
    }

    let upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    headers::prepare_response(response.headers_mut(), upgraded);
    if !upgraded {
        let until_close = version == Version::HTTP_10 && !response.headers().contains_key(CONTENT_LENGTH);
        client.cut_on(target.closed(), until_close);
        let exchange = Exchange {
            counted,
            upstream,
            target,
            client,
            busy,
        };
        return Ok(response.map(|incoming| ResponseBody::streamed(incoming, exchange)));
    }
    let Some(client_side) = client_side.filter(|_| !upgrade.is_empty()) else {
        return Err(Refusal::NoAnswer);
    };
    let upstream_side = hyper::upgrade::on(&mut response);
    let counted = counted.into_upgraded();
    Tunnel {
        counted,
        target,
        client,
        client_side,
        upstream,
        upstream_side,
    }
    .start();
    Ok(response.map(|_| ResponseBody::Text(None)))
}

/// Sends the request to the current route until somebody answers or patience ends.
async fn deliver(worker: &Worker, mut request: Request<RequestBody>) -> Result<Delivered, Refusal> {
    let mut patience = Patience::new();
    let mut fresh = false;
    loop {
        // Counted before anything is awaited: a switch that has been acknowledged finds no newcomer here.
        let target = worker.target().ok_or(Refusal::NoRelease)?;
        let counted = Counted::request(target.connections());
        match attempt(worker, &target, request, fresh, &patience).await? {
            Ok((response, upstream)) => {
                return Ok(Delivered {
                    response,
                    counted,
                    upstream,
                    target,
                });
            }
            Err(Retry::Fresh(same)) => (request, fresh) = (same, true),
            Err(Retry::Rerouted(same)) => (request, fresh) = (same, false),
            Err(Retry::Later(same)) => {
                (request, fresh) = (same, true);
                patience.wait(worker, &target).await?;
            }
        }
    }
}

async fn attempt(
    worker: &Worker,
    target: &Target,
    request: Request<RequestBody>,
    fresh: bool,
    patience: &Patience,
) -> Result<Result<(Response<Incoming>, Upstream), Retry>, Refusal> {
    let idempotent = request.method().is_idempotent();
    let pooled = if fresh { None } else { target.take_idle(idempotent) };
    let is_pooled = pooled.is_some();
    let mut upstream = match pooled {
        Some(upstream) => upstream,
        None => tokio::select! {
            connected = tokio::time::timeout(patience.connect_limit(worker), target.connect()) => match connected {
                Ok(Ok(upstream)) => upstream,
                Ok(Err(_)) | Err(_) => return Ok(Err(Retry::Later(request))),
            },
            () = target.retired().cancelled() => return Ok(Err(Retry::Rerouted(request))),
            () = target.closed().cancelled() => return Err(Refusal::Closed),
        },
    };
    let again = |request| {
        if is_pooled {
            Retry::Fresh(request)
        } else {
            Retry::Later(request)
        }
    };
    let repeat = (idempotent && request.body().is_end_stream()).then(|| repeat(&request));
    let sent = tokio::select! {
        sent = upstream.send(request) => sent,
        () = target.closed().cancelled() => return Err(Refusal::Closed),
    };
    match (sent, repeat) {
        (Ok(response), _) => Ok(Ok((response, upstream))),
        (Err(Failure::Unsent(request)), _) => Ok(Err(again(*request))),
        (Err(Failure::Silent), Some(request)) => Ok(Err(again(request))),
        (Err(Failure::Silent | Failure::Broken), _) => Err(Refusal::NoAnswer),
    }
}

/// The same request once more, for one without a body.
fn repeat(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut repeat = Request::new(Either::Right(Empty::new()));
    *repeat.method_mut() = request.method().clone();
    *repeat.uri_mut() = request.uri().clone();
    *repeat.version_mut() = request.version();
    *repeat.headers_mut() = request.headers().clone();
    *repeat.extensions_mut() = request.extensions().clone();
    repeat
}
