//! The transfer of a body: takes it out of one buffer as one side frames it, and puts it into another as the other
//! side needs it. Nothing here reads or writes a socket.

use std::io::Write;

use serde::{Deserialize, Serialize};

use super::buffer::Buffer;
use super::chunks::{BadBody, Chunks};
use super::framing::Framing;

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Encoding {
    Plain,
    Chunked,
}

/// A body under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Body {
    rest: Rest,
    encoding: Encoding,
}

/// What is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Rest {
    Nothing,
    Bytes(u64),
    Chunks(Chunks),
    UntilClose,
}

impl Body {
    pub(super) fn new(framing: Framing, encoding: Encoding) -> Body {
        let rest = match framing {
            Framing::Empty => Rest::Nothing,
            Framing::Length(length) => Rest::Bytes(length),
            Framing::Chunked => Rest::Chunks(Chunks::Size),
            Framing::UntilClose => Rest::UntilClose,
        };
        Body { rest, encoding }
    }

    /// Whether the last byte has been moved.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.rest, Rest::Nothing | Rest::Chunks(Chunks::Done))
    }

    /// Moves what there is and fits; says whether anything changed.
    pub(super) fn transfer(&mut self, input: &mut Buffer, output: &mut Buffer) -> Result<bool, BadBody> {
        let mut moved = false;
        while !self.is_done() && output.make_room() > 0 && self.step(input, output)? {
            moved = true;
        }
        Ok(moved)
    }

    /// The connection the body came from has ended; says whether that was a proper end of the body.
    pub(super) fn end(&mut self, output: &mut Buffer) -> bool {
        if !matches!(self.rest, Rest::UntilClose) {
            return false;
        }
        if self.encoding == Encoding::Chunked {
            output.tail().extend_from_slice(b"0\r\n\r\n");
        }
        self.rest = Rest::Nothing;
        true
    }

    fn step(&mut self, input: &mut Buffer, output: &mut Buffer) -> Result<bool, BadBody> {
        let encoding = self.encoding;
        match &mut self.rest {
            Rest::Nothing => Ok(false),
            Rest::Bytes(left) => {
                let moved = move_data(input, output, *left, encoding);
                *left -= moved;
                if *left == 0 {
                    self.rest = Rest::Nothing;
                }
                Ok(moved > 0)
            }
            Rest::UntilClose => Ok(move_data(input, output, u64::MAX, encoding) > 0),
            Rest::Chunks(chunks) => match chunks {
                Chunks::Size => chunks.read_size(input),
                Chunks::Data(left) => {
                    let moved = move_data(input, output, *left, encoding);
                    *left -= moved;
                    if *left == 0 {
                        *chunks = Chunks::DataEnd;
                    }
                    Ok(moved > 0)
                }
                Chunks::DataEnd => chunks.read_data_end(input),
                Chunks::Trailers => {
                    let mut trailers = Vec::new();
                    let complete = chunks.read_trailers(input, |name, value| {
                        trailers.extend_from_slice(name.as_bytes());
                        trailers.extend_from_slice(b": ");
                        trailers.extend_from_slice(value);
                        trailers.extend_from_slice(b"\r\n");
                    })?;
                    if complete && encoding == Encoding::Chunked {
                        let tail = output.tail();
                        tail.extend_from_slice(b"0\r\n");
                        tail.extend_from_slice(&trailers);
                        tail.extend_from_slice(b"\r\n");
                    }
                    Ok(complete)
                }
                Chunks::Done => Ok(false),
            },
        }
    }
}

/// Moves up to `most` bytes, as one chunk where chunks are written.
fn move_data(input: &mut Buffer, output: &mut Buffer, most: u64, encoding: Encoding) -> u64 {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let length = input.len().min(output.make_room()).min(most);
    if length == 0 {
        return 0;
    }
    let whole = length == input.len() && output.is_empty() && !output.can_rewind();
    if whole && encoding == Encoding::Plain {
        // The buffers change places instead of their contents.
        std::mem::swap(input, output);
        return length as u64;
    }
    let tail = output.tail();
    match encoding {
        Encoding::Plain => tail.extend_from_slice(&input.unread()[..length]),
        Encoding::Chunked => {
            // Writing into memory does not fail.
            let _ = write!(tail, "{length:x}\r\n");
            tail.extend_from_slice(&input.unread()[..length]);
            tail.extend_from_slice(b"\r\n");
        }
    }
    input.consume(length);
    length as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds a body in pieces of one size; what comes out, and whether that is all of it.
    fn through(
        framing: Framing,
        encoding: Encoding,
        body: &[u8],
        piece: usize,
    ) -> Result<(Vec<u8>, bool), BadBody> {
        let (mut input, mut output) = (Buffer::default(), Buffer::default());
        let mut under_way = Body::new(framing, encoding);
        let mut out = Vec::new();
        for piece in body.chunks(piece) {
            input.tail().extend_from_slice(piece);
            while under_way.transfer(&mut input, &mut output)? {
                out.extend_from_slice(output.unread());
                output.clear();
            }
        }
        Ok((out, under_way.is_done()))
    }

    #[test]
    fn bodies_are_framed_anew() {
        let chunked = b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-Sum: 7\r\nHost: forged\r\n\r\n";
        for piece in [1, 2, 7, 100] {
            let (plain, done) = through(Framing::Chunked, Encoding::Plain, chunked, piece).unwrap();
            assert!(done && plain == b"abcde", "{piece}");
            let (out, done) = through(Framing::Length(5), Encoding::Plain, b"abcdeNEXT", piece).unwrap();
            assert!(done && out == b"abcde", "{piece}");
        }
        let (again, done) = through(Framing::Chunked, Encoding::Chunked, chunked, 100).unwrap();
        assert!(done);
        assert_eq!(again, b"3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 7\r\n\r\n");
    }

    #[test]
    fn bad_chunks_are_refused_however_they_come() {
        for body in [
            "3\nabc\r\n0\r\n\r\n",
            "3\r\nabcd\r\n0\r\n\r\n",
            "3 \r\nabc\r\n0\r\n\r\n",
            "-3\r\nabc\r\n0\r\n\r\n",
            "0\r\nX : 1\r\n\r\n",
            "0\r\nX: 1\n\r\n",
            "0\n\n",
        ] {
            for piece in [1, 3, 100] {
                let outcome = through(Framing::Chunked, Encoding::Chunked, body.as_bytes(), piece);
                assert!(outcome.is_err(), "{body:?} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn only_a_body_without_a_length_may_end_with_its_connection() {
        let mut output = Buffer::default();
        assert!(!Body::new(Framing::Length(3), Encoding::Plain).end(&mut output));
        assert!(!Body::new(Framing::Chunked, Encoding::Chunked).end(&mut output));
        assert!(Body::new(Framing::UntilClose, Encoding::Chunked).end(&mut output));
        assert_eq!(output.unread(), b"0\r\n\r\n");
    }
}
