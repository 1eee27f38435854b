//! One try of one request: its body goes up, the answer comes down, both at once, and no faster than either side
//! reads. Says how it ended; what follows from that is decided elsewhere.

use std::task::{Context, Poll};

use super::answer::{self, Answer, BadAnswer, Final};
use super::body::Body;
use super::buffer::Buffer;
use super::chunks::BadBody;
use super::request::Request;
use super::upstream::Upstream;
use super::wire::Wire;

/// A request on its way up, with what is kept of it for another try.
#[derive(Debug)]
pub(super) struct Upload {
    pub(super) output: Buffer,
    pub(super) body: Body,
}

/// One try.
#[derive(Debug)]
pub(super) struct Exchange<'a> {
    pub(super) wire: &'a mut Wire,
    pub(super) upstream: &'a mut Upstream,
    pub(super) request: &'a Request,
    pub(super) upload: &'a mut Upload,
    /// The client's connection may stay open after this.
    pub(super) keep_alive: bool,
    progress: Progress,
    /// Bytes of the request have been sent.
    sent: bool,
    /// How many, in the first piece; nothing once there has been a second.
    first_piece: Option<usize>,
    /// Bytes of an answer have come.
    heard: bool,
    /// The upstream has said 100.
    continued: bool,
    /// The upstream takes no more of the request; its answer may still come.
    deaf: bool,
}

#[derive(Clone, Copy, Debug)]
enum Progress {
    /// The head of the answer is awaited.
    Waiting,
    Body(Final),
    Complete(Final),
    /// The upstream has ended within the body: what has come still leaves.
    Truncated(Final),
    Switched,
}

/// How a try ended well.
#[derive(Clone, Copy, Debug)]
pub(super) enum Done {
    Answered {
        answer: Final,
        /// All of the request has been sent.
        all_sent: bool,
    },
    Switched,
}

/// How a try ended badly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The client has left.
    ClientGone,
    /// The client's body breaks the rules.
    BadBody(&'static str),
    /// The connection died before any of the request was sent.
    Unsent,
    /// The connection died before a byte of an answer; the upstream may or may not have seen the request.
    Silent,
    /// The answer was cut within its head, or was not HTTP.
    Broken,
    /// The answer ended within its body.
    Truncated,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(
        wire: &'a mut Wire,
        upstream: &'a mut Upstream,
        request: &'a Request,
        upload: &'a mut Upload,
        keep_alive: bool,
    ) -> Exchange<'a> {
        Exchange {
            wire,
            upstream,
            request,
            upload,
            keep_alive,
            progress: Progress::Waiting,
            sent: false,
            first_piece: None,
            heard: false,
            continued: false,
            deaf: false,
        }
    }

    /// The head of the answer, once it is on its way to the client.
    pub(super) fn begun(&self) -> Option<Final> {
        match self.progress {
            Progress::Waiting | Progress::Switched => None,
            Progress::Body(answer) | Progress::Complete(answer) | Progress::Truncated(answer) => Some(answer),
        }
    }

    /// Moves everything that can be moved. Neither direction waits for the other, so each is moved until it can go no
    /// further.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Done, Failure>> {
        self.send(context)?;
        while self.take_up(context)? {
            self.send(context)?;
        }
        while self.bring_down(context)? {}
        match self.progress {
            Progress::Complete(answer) if self.wire.output.is_empty() => {
                let all_sent = self.upload.body.is_done() && self.upload.output.is_empty() && !self.deaf;
                return Poll::Ready(Ok(Done::Answered { answer, all_sent }));
            }
            Progress::Truncated(_) if self.wire.output.is_empty() => {
                return Poll::Ready(Err(Failure::Truncated));
            }
            Progress::Switched => return Poll::Ready(Ok(Done::Switched)),
            _ => {}
        }
        // Only now, because a client that has its answer need not be asked whether it is still there.
        if !self.wants_body() {
            self.wire.poll_presence(context, self.request)?;
        }
        Poll::Pending
    }

    /// Whether more of the request's body is read.
    fn wants_body(&self) -> bool {
        !self.upload.body.is_done() && !self.deaf
    }

    /// Writes to the upstream what is ready for it.
    fn send(&mut self, context: &mut Context<'_>) -> Result<(), Failure> {
        while !self.upload.output.is_empty() && !self.deaf {
            let ready = self.upload.output.len();
            match self.upload.output.poll_drain(context, &mut self.upstream.stream) {
                Poll::Ready(Ok(())) => {
                    let piece = ready - self.upload.output.len();
                    self.first_piece = (!self.sent).then_some(piece);
                    self.sent = true;
                }
                Poll::Ready(Err(_)) if !self.sent => return Err(Failure::Unsent),
                Poll::Ready(Err(_)) => self.deaf = true,
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    /// Reads the body from the client; says whether anything changed.
    fn take_up(&mut self, context: &mut Context<'_>) -> Result<bool, Failure> {
        if !self.wants_body() {
            return Ok(false);
        }
        let upload = &mut *self.upload;
        let moved = upload
            .body
            .transfer(&mut self.wire.input, &mut upload.output)
            .map_err(|BadBody(reason)| Failure::BadBody(reason))?;
        if moved {
            return Ok(true);
        }
        if upload.output.make_room() == 0 {
            return Ok(false);
        }
        match self.wire.input.poll_fill(context, &mut self.wire.stream) {
            Poll::Ready(Ok(0) | Err(_)) => Err(Failure::ClientGone),
            Poll::Ready(Ok(bytes)) => {
                self.wire.slot.received(bytes);
                Ok(true)
            }
            Poll::Pending => Ok(false),
        }
    }

    /// Reads from the upstream and writes to the client.
    fn bring_down(&mut self, context: &mut Context<'_>) -> Result<bool, Failure> {
        let mut moved = self.transform()?;
        while !self.wire.output.is_empty() && !matches!(self.progress, Progress::Switched) {
            let ready = self.wire.output.len();
            match self.wire.output.poll_drain(context, &mut self.wire.stream) {
                Poll::Ready(Ok(())) => {
                    moved = true;
                    self.wire.slot.sent(ready - self.wire.output.len());
                }
                Poll::Ready(Err(_)) => return Err(Failure::ClientGone),
                Poll::Pending => break,
            }
        }
        let wants_more = matches!(self.progress, Progress::Waiting | Progress::Body(_));
        if moved || !wants_more || self.wire.output.make_room() == 0 {
            return Ok(moved);
        }
        match self.upstream.input.poll_fill(context, &mut self.upstream.stream) {
            Poll::Ready(Ok(0)) => self.end(true).map(|()| true),
            Poll::Ready(Err(_)) => self.end(false).map(|()| true),
            Poll::Ready(Ok(_)) => {
                self.heard = true;
                Ok(true)
            }
            Poll::Pending => Ok(false),
        }
    }

    /// Turns what the upstream has sent into what the client gets; says whether anything changed.
    fn transform(&mut self) -> Result<bool, Failure> {
        let mut moved = false;
        loop {
            let changed = match &mut self.progress {
                Progress::Waiting => self.read_head()?,
                Progress::Body(answer) => {
                    let outcome = answer
                        .body
                        .transfer(&mut self.upstream.input, &mut self.wire.output);
                    let answer = *answer;
                    match outcome {
                        // The client must not take what there is for everything.
                        Err(BadBody(_)) => self.progress = Progress::Truncated(answer),
                        Ok(_) if answer.body.is_done() => self.progress = Progress::Complete(answer),
                        Ok(changed) => return Ok(changed || moved),
                    }
                    true
                }
                Progress::Complete(_) | Progress::Truncated(_) | Progress::Switched => false,
            };
            if !changed {
                return Ok(moved);
            }
            moved = true;
        }
    }

    fn read_head(&mut self) -> Result<bool, Failure> {
        if self.upstream.input.is_empty() || self.wire.output.make_room() == 0 {
            return Ok(false);
        }
        let unasked = self.request.expects_continue && !self.continued && !self.upload.body.is_done();
        let keep_alive = self.keep_alive && !unasked && !self.deaf;
        let head = answer::read(
            self.upstream.input.unread(),
            self.request,
            keep_alive,
            self.wire.output.tail(),
        );
        let Some((answer, length)) = head.map_err(|BadAnswer| Failure::Broken)? else {
            return Ok(false);
        };
        self.upstream.input.consume(length);
        match answer {
            Answer::Interim { is_continue } => self.continued |= is_continue,
            Answer::Switch => self.progress = Progress::Switched,
            Answer::Final(answer) => self.progress = Progress::Body(answer),
        }
        Ok(true)
    }

    /// Whether the upstream has never read the request, and it can be sent once more.
    fn was_turned_away(&self) -> bool {
        let never_read = self
            .first_piece
            .is_some_and(|length| self.upstream.never_read(length));
        never_read && self.upload.output.can_rewind()
    }

    /// The upstream has ended, `clean` or with an error.
    fn end(&mut self, clean: bool) -> Result<(), Failure> {
        match self.progress {
            Progress::Waiting if self.heard => return Err(Failure::Broken),
            Progress::Waiting if !self.sent => return Err(Failure::Unsent),
            // It had closed before the request got there.
            Progress::Waiting if self.was_turned_away() => return Err(Failure::Unsent),
            Progress::Waiting => return Err(Failure::Silent),
            Progress::Body(mut answer) => {
                let complete = clean && answer.body.end(&mut self.wire.output);
                self.progress = if complete {
                    Progress::Complete(answer)
                } else {
                    Progress::Truncated(answer)
                };
            }
            Progress::Complete(_) | Progress::Truncated(_) | Progress::Switched => {}
        }
        Ok(())
    }
}
