//! Response bodies: our own short texts, and streams from an upstream. A streamed body carries the request's exchange,
//! so that the request is counted until its last byte, and a body that is dropped early closes the upstream connection.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::client::{Busy, Client};
use super::route::Counted;
use super::target::Target;
use super::upstream::Upstream;

/// What is sent to a client.
#[derive(Debug)]
pub(super) enum ResponseBody {
    /// A text of ours; none once it is sent.
    Text(Option<Bytes>),
    /// What an upstream sends, as it comes.
    Streamed(Box<Streamed>),
}

/// A body on its way from an upstream.
#[derive(Debug)]
pub(super) struct Streamed {
    incoming: Incoming,
    exchange: Option<Exchange>,
    broken: Option<hyper::Error>,
}

/// Everything that lasts as long as one request does.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) counted: Counted,
    pub(super) upstream: Upstream,
    pub(super) target: Rc<Target>,
    pub(super) client: Rc<Client>,
    pub(super) busy: Busy,
}

impl Exchange {
    /// The response has ended as it should: the upstream connection is free for the next request.
    fn finish(self) {
        let Exchange {
            counted,
            upstream,
            target,
            client,
            busy,
        } = self;
        drop((counted, busy, client));
        target.give_back(upstream);
    }
}

impl ResponseBody {
    pub(super) fn text(text: String) -> ResponseBody {
        ResponseBody::Text(Some(text.into()))
    }

    pub(super) fn streamed(incoming: Incoming, exchange: Exchange) -> ResponseBody {
        let mut streamed = Streamed {
            incoming,
            exchange: Some(exchange),
            broken: None,
        };
        // A body without bytes is never polled.
        streamed.finish_at_end();
        ResponseBody::Streamed(Box::new(streamed))
    }
}

impl Streamed {
    fn finish_at_end(&mut self) {
        if self.incoming.is_end_stream() {
            self.finish();
        }
    }

    fn finish(&mut self) {
        if let Some(exchange) = self.exchange.take() {
            exchange.finish();
        }
    }

    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        match Pin::new(&mut self.incoming).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                self.finish_at_end();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                if let Some(exchange) = self.exchange.take() {
                    exchange.client.cut_short();
                }
                // The connection to the client ends with this error, and what is buffered ends with it. Pausing once
                // lets what has come so far leave first.
                self.broken = Some(error);
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(None) => {
                self.finish();
                Poll::Ready(None)
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            ResponseBody::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            ResponseBody::Streamed(streamed) => streamed.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ResponseBody::Text(text) => text.is_none(),
            ResponseBody::Streamed(streamed) => {
                streamed.broken.is_none() && streamed.incoming.is_end_stream()
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ResponseBody::Text(text) => {
                SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64))
            }
            ResponseBody::Streamed(streamed) => streamed.incoming.size_hint(),
        }
    }
}
