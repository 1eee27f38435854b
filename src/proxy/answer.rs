//! The head of an answer: read, and written anew for the client. Pure functions; nothing here reads or writes a socket.

use std::time::Duration;

use super::body::{Body, Encoding};
use super::framing::{BodyFields, Framing};
use super::head::{
    ConnectionOptions, Fields, MAX_FIELDS, MAX_HEAD_BYTES, Name, elements, has_bare_line_end, has_token,
};
use super::lines::write_decimal;
use super::request::Request;

/// What an upstream has answered.
#[derive(Debug)]
pub(super) enum Answer {
    /// A 1xx; the answer proper is still to come.
    Interim {
        is_continue: bool,
    },
    /// The upstream has agreed to another protocol.
    Switch,
    Final(Final),
}

/// The answer proper.
#[derive(Clone, Copy, Debug)]
pub(super) struct Final {
    pub(super) body: Body,
    /// The client's connection stays open.
    pub(super) keep_alive: bool,
    /// The client sees the end of the body only by the end of the connection.
    pub(super) until_close: bool,
    /// The upstream connection can be used again once the body has ended.
    pub(super) reusable: bool,
    /// How long the upstream says it keeps an idle connection.
    pub(super) announced_idle: Option<Duration>,
}

/// What came is no answer to the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadAnswer;

/// Reads a head from the start of `bytes` and writes that for the client to `out`. None while bytes are missing;
/// otherwise the answer, and the length of the head as it came. `keep_alive` tells whether the client's connection may
/// stay open.
pub(super) fn read(
    bytes: &[u8],
    request: &Request,
    keep_alive: bool,
    out: &mut Vec<u8>,
) -> Result<Option<(Answer, usize)>, BadAnswer> {
    let mut fields = [const { std::mem::MaybeUninit::uninit() }; MAX_FIELDS];
    let mut head = httparse::Response::new(&mut []);
    let parser = httparse::ParserConfig::default();
    let length = match parser.parse_response_with_uninit_headers(&mut head, bytes, &mut fields) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD_BYTES => return Ok(None),
        Ok(httparse::Status::Partial) | Err(_) => return Err(BadAnswer),
    };
    if has_bare_line_end(&bytes[..length]) {
        return Err(BadAnswer);
    }
    let (Some(code), Some(version)) = (head.code, head.version) else {
        return Err(BadAnswer);
    };
    let reason = head.reason.unwrap_or_default();
    let fields = Fields::of(&bytes[..length], head.headers);
    let mut options = ConnectionOptions::default();
    for (name, field) in fields.iter() {
        if name == Name::Connection {
            options.add(field.value);
        }
    }
    let answer = match code {
        101 if request.upgrade => {
            write_start(code, reason, out);
            write_fields(&fields, &options, true, out);
            out.extend_from_slice(b"Connection: Upgrade\r\n\r\n");
            Answer::Switch
        }
        0..=99 | 101 => return Err(BadAnswer),
        // HTTP/1.0 knows no answer before the answer.
        100..=199 if version == 0 => return Err(BadAnswer),
        100..=199 => {
            // What it says about a body is dropped, but must make sense.
            body_of(&fields, false)?;
            if !request.is_http_1_0 {
                write_start(code, reason, out);
                write_fields(&fields, &options, false, out);
                out.extend_from_slice(b"\r\n");
            }
            Answer::Interim {
                is_continue: code == 100,
            }
        }
        _ => {
            let start = Start {
                code,
                reason,
                is_http_1_0: version == 0,
            };
            Answer::Final(rewrite(start, &fields, &options, request, keep_alive, out)?)
        }
    };
    Ok(Some((answer, length)))
}

/// The first line of an answer.
struct Start<'a> {
    code: u16,
    reason: &'a str,
    is_http_1_0: bool,
}

/// Writes nothing when it fails.
fn rewrite(
    start: Start<'_>,
    fields: &Fields<'_>,
    options: &ConnectionOptions<'_>,
    request: &Request,
    keep_alive: bool,
    out: &mut Vec<u8>,
) -> Result<Final, BadAnswer> {
    let Start {
        code,
        reason,
        is_http_1_0,
    } = start;
    // Judged also where there will be none: the next reader may not know that.
    let (body, framing) = body_of(fields, is_http_1_0)?;
    let mut announced_idle = None;
    for (name, field) in fields.iter() {
        if name == Name::KeepAlive {
            announced_idle = announced_idle.or(idle_time(field.value));
        }
    }
    let has_no_body = request.is_head || matches!(code, 204 | 304);
    let framing = if has_no_body { Framing::Empty } else { framing };
    let (encoding, until_close) = match framing {
        Framing::Empty | Framing::Length(_) => (Encoding::Plain, false),
        Framing::Chunked | Framing::UntilClose if request.is_http_1_0 => (Encoding::Plain, true),
        Framing::Chunked | Framing::UntilClose => (Encoding::Chunked, false),
    };
    let keep_alive = keep_alive && !until_close;

    write_start(code, reason, out);
    write_fields(fields, options, false, out);
    match body.length {
        // Where a coding stands beside it, the coding decides.
        Some(length) if !body.is_contradictory() && code != 204 => {
            out.extend_from_slice(b"Content-Length: ");
            write_decimal(out, length);
            out.extend_from_slice(b"\r\n");
        }
        _ => {}
    }
    if encoding == Encoding::Chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    if !keep_alive {
        out.extend_from_slice(b"Connection: close\r\n");
    } else if request.is_http_1_0 {
        out.extend_from_slice(b"Connection: keep-alive\r\n");
    }
    out.extend_from_slice(b"\r\n");
    // An upstream that announces a body with a 204 may send one.
    let is_suspect = code == 204 && body.announces_body();
    Ok(Final {
        body: Body::new(framing, encoding),
        keep_alive,
        until_close,
        reusable: framing != Framing::UntilClose
            && !body.is_contradictory()
            && !is_suspect
            && !options.close
            && (!is_http_1_0 || options.keep_alive),
        announced_idle,
    })
}

/// What the fields say about a body, and how one would end.
fn body_of(fields: &Fields<'_>, is_http_1_0: bool) -> Result<(BodyFields, Framing), BadAnswer> {
    let mut body = BodyFields::default();
    for (name, field) in fields.iter() {
        match name {
            Name::ContentLength => body.add_length(field.value).map_err(|_| BadAnswer)?,
            Name::TransferEncoding => body.add_coding(field.value),
            _ => {}
        }
    }
    let framing = body.of_answer(is_http_1_0).map_err(|_| BadAnswer)?;
    Ok((body, framing))
}

fn write_start(code: u16, reason: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    // A code has three digits.
    write_decimal(out, code.into());
    out.push(b' ');
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Writes the fields that are passed on. Those that frame the body are not among them.
fn write_fields(fields: &Fields<'_>, options: &ConnectionOptions<'_>, keep_upgrade: bool, out: &mut Vec<u8>) {
    let mut lines = fields.lines();
    for (name, field) in fields.iter() {
        let passes = match name {
            Name::Connection
            | Name::ContentLength
            | Name::KeepAlive
            | Name::Proxy
            | Name::TransferEncoding => false,
            Name::Te => has_token(field.value, "trailers"),
            Name::Upgrade => keep_upgrade,
            _ => !options.names(field.name),
        };
        if passes {
            lines.pass(field, out);
        }
    }
    lines.finish(out);
}

fn idle_time(value: &[u8]) -> Option<Duration> {
    elements(value)
        .find_map(|element| {
            let (name, seconds) = element.split_once('=')?;
            name.trim()
                .eq_ignore_ascii_case("timeout")
                .then(|| seconds.trim().parse().ok())?
        })
        .map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(is_http_1_0: bool) -> Request {
        Request {
            framing: Framing::Empty,
            is_http_1_0,
            is_head: false,
            is_idempotent: true,
            keep_alive: true,
            upgrade: false,
            expects_continue: false,
            prefers_json: false,
        }
    }

    fn answered(text: &str, request: &Request) -> (Answer, String) {
        let mut out = Vec::new();
        let (answer, length) = read(text.as_bytes(), request, true, &mut out).unwrap().unwrap();
        assert_eq!(length, text.len());
        (answer, String::from_utf8(out).unwrap())
    }

    #[test]
    fn answers_are_framed_for_the_client() {
        for (is_http_1_0, fields, expected) in [
            (false, "Content-Length: 3", "Content-Length: 3\r\n"),
            (
                false,
                "Transfer-Encoding: chunked",
                "Transfer-Encoding: chunked\r\n",
            ),
            (false, "X-A: 1", "X-A: 1\r\nTransfer-Encoding: chunked\r\n"),
            (
                false,
                "Content-Length: 3\r\nTransfer-Encoding: chunked",
                "Transfer-Encoding: chunked\r\n",
            ),
            (
                false,
                "Connection: close, X-Inner\r\nX-Inner: 1\r\nKeep-Alive: timeout=5\r\nContent-Length: 0\r\nUpgrade: h2c",
                "Content-Length: 0\r\n",
            ),
            (
                true,
                "Content-Length: 3",
                "Content-Length: 3\r\nConnection: keep-alive\r\n",
            ),
            (true, "Transfer-Encoding: chunked", "Connection: close\r\n"),
        ] {
            let (_, out) = answered(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n"), &get(is_http_1_0));
            assert_eq!(out, format!("HTTP/1.1 200 OK\r\n{expected}\r\n"), "{fields}");
        }
    }

    #[test]
    fn interim_answers_reach_clients_that_know_them() {
        let text = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x\r\n\r\n";
        let (answer, out) = answered(text, &get(false));
        assert!(matches!(answer, Answer::Interim { is_continue: false }));
        assert_eq!(out, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
        assert_eq!(answered(text, &get(true)).1, "");
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for text in [
            "this is not HTTP\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "HTTP/1.1 099 Odd\r\n\r\n",
            "HTTP/1.1 200 OK\n\n",
            "HTTP/1.0 103 Early Hints\r\n\r\n",
            "HTTP/1.1 204 No Content\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/1.1 103 Early Hints\r\nContent-Length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX: 1\nY: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            let mut out = Vec::new();
            let outcome = read(text.as_bytes(), &get(false), true, &mut out);
            assert!(outcome.is_err() && out.is_empty(), "{text:?}");
        }
    }

    #[test]
    fn an_announced_idle_time_is_read() {
        for (value, seconds) in [
            ("timeout=5", Some(5)),
            ("max=100, Timeout = 7", Some(7)),
            ("max=100", None),
            ("timeout=x", None),
        ] {
            assert_eq!(
                idle_time(value.as_bytes()),
                seconds.map(Duration::from_secs),
                "{value}"
            );
        }
    }
}
