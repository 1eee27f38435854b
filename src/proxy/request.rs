//! The head of a request: read, judged, and written anew for the upstream. Pure functions; nothing here reads or writes
//! a socket.

use std::io::Write;

use serde::{Deserialize, Serialize};

use super::forwarded::Seen;
use super::framing::{Ambiguous, BodyFields, Framing};
use super::head::{
    ConnectionOptions, Fields, MAX_FIELDS, MAX_HEAD_BYTES, Name, has_bare_line_end, has_token,
};
use super::lines::write_field;
use super::refusal::{self, Refusal};
use super::target_form::{self, TargetForm};

/// What the rest of the way has to know about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request {
    pub(super) framing: Framing,
    pub(super) is_http_1_0: bool,
    pub(super) is_head: bool,
    /// May be done twice without harm.
    pub(super) is_idempotent: bool,
    /// The client wants its connection to stay open.
    pub(super) keep_alive: bool,
    /// The client asked for another protocol.
    pub(super) upgrade: bool,
    /// The client waits for a 100 before it sends its body.
    pub(super) expects_continue: bool,
    pub(super) prefers_json: bool,
}

/// Reads a head from the start of `bytes` and writes that of the upstream to `out`. None while bytes are missing;
/// otherwise the request, and the length of the head as it came.
pub(super) fn read(
    bytes: &[u8],
    seen: &Seen,
    out: &mut Vec<u8>,
) -> Result<Option<(Request, usize)>, Refusal> {
    let mut fields = [const { std::mem::MaybeUninit::uninit() }; MAX_FIELDS];
    let mut head = httparse::Request::new(&mut []);
    let length = match head.parse_with_uninit_headers(bytes, &mut fields) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if has_bare_line_end(bytes) => return Err(BARE_LINE_END),
        Ok(httparse::Status::Partial) if bytes.len() >= MAX_HEAD_BYTES => return Err(Refusal::HeadTooLarge),
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::HeadTooLarge),
        Err(_) => return Err(Refusal::BadRequest("the head of the request is not valid")),
    };
    if has_bare_line_end(&bytes[..length]) {
        return Err(BARE_LINE_END);
    }
    if length > MAX_HEAD_BYTES {
        return Err(Refusal::HeadTooLarge);
    }
    let (Some(method), Some(target), Some(version)) = (head.method, head.path, head.version) else {
        return Err(Refusal::BadRequest("the head of the request is not valid"));
    };
    let fields = Fields::of(&bytes[..length], head.headers);
    let request = rewrite(method, target, version == 0, &fields, seen, out)?;
    Ok(Some((request, length)))
}

const BARE_LINE_END: Refusal = Refusal::BadRequest("a line of the head does not end with CR and LF");

fn rewrite(
    method: &str,
    target: &str,
    is_http_1_0: bool,
    fields: &Fields<'_>,
    seen: &Seen,
    out: &mut Vec<u8>,
) -> Result<Request, Refusal> {
    if method == "CONNECT" {
        return Err(Refusal::Connect);
    }
    let target = target_form::of(method, target)?;
    let mut body = BodyFields::default();
    let mut options = ConnectionOptions::default();
    let mut host = None;
    let (mut trailers, mut protocols, mut expects_continue, mut prefers_json) = (false, false, false, false);
    for (name, field) in fields.iter() {
        match name {
            Name::Host if host.is_some() => return Err(ONE_HOST),
            Name::Host if !target_form::is_host(field.value) => {
                return Err(Refusal::BadRequest("the Host header is not valid"));
            }
            Name::Host => host = Some(field.value),
            Name::ContentLength => body.add_length(field.value).map_err(ambiguous)?,
            Name::TransferEncoding => body.add_coding(field.value),
            Name::Connection => options.add(field.value),
            Name::Te => trailers |= has_token(field.value, "trailers"),
            Name::Upgrade => protocols = true,
            Name::Expect => expects_continue |= has_token(field.value, "100-continue"),
            Name::Accept => prefers_json |= refusal::prefers_json(field.value),
            _ => {}
        }
    }
    if host.is_none() && !is_http_1_0 {
        return Err(ONE_HOST);
    }
    let framing = body.of_request(is_http_1_0).map_err(ambiguous)?;
    // A body and a change of protocols together could be told apart in two ways, so the body wins.
    let upgrade = options.upgrade && protocols && !is_http_1_0 && framing == Framing::Empty;

    out.clear();
    out.extend_from_slice(method.as_bytes());
    out.extend_from_slice(b" ");
    target.write(out);
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let host = match &target {
        TargetForm::Absolute { host, .. } => Some(host.as_bytes()),
        TargetForm::Origin(_) => host,
    };
    match host {
        Some(host) => write_field(out, "Host", host),
        // Only an HTTP/1.0 client comes without; what goes upstream is HTTP/1.1, which needs one. Writing into memory
        // does not fail.
        None => {
            let _ = write!(out, "Host: {}\r\n", seen.local);
        }
    }
    let mut lines = fields.lines();
    let mut chain = Vec::new();
    let mut has_length = false;
    for (name, field) in fields.iter() {
        let passes = match name {
            Name::Host
            | Name::Connection
            | Name::KeepAlive
            | Name::Proxy
            | Name::Te
            | Name::TransferEncoding => false,
            Name::Upgrade => upgrade,
            Name::ContentLength => !std::mem::replace(&mut has_length, true),
            Name::XForwardedFor => {
                chain.push(field.value);
                false
            }
            Name::XForwarded | Name::Forwarded => seen.passes(name),
            Name::Expect => !is_http_1_0,
            Name::Accept | Name::Other => !options.names(field.name),
        };
        if passes {
            lines.pass(field, out);
        }
    }
    lines.finish(out);
    if framing == Framing::Chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    if trailers {
        out.extend_from_slice(b"TE: trailers\r\n");
    }
    if upgrade {
        out.extend_from_slice(b"Connection: Upgrade\r\n");
    }
    seen.tell(&chain, host, out);
    out.extend_from_slice(b"\r\n");
    Ok(Request {
        framing,
        is_http_1_0,
        is_head: method == "HEAD",
        is_idempotent: matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE"),
        keep_alive: !options.close && (!is_http_1_0 || options.keep_alive),
        upgrade,
        expects_continue: expects_continue && !is_http_1_0 && framing != Framing::Empty,
        prefers_json,
    })
}

const ONE_HOST: Refusal = Refusal::BadRequest("a request needs exactly one Host header");

fn ambiguous(Ambiguous(reason): Ambiguous) -> Refusal {
    Refusal::BadRequest(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Seen {
        let address = ([127, 0, 0, 1], 8182).into();
        Seen::new(address, address, &["127.0.0.0/8".parse().unwrap()])
    }

    fn read_text(text: &str) -> Result<Option<(Request, String)>, Refusal> {
        let mut out = Vec::new();
        let read = read(text.as_bytes(), &seen(), &mut out)?;
        Ok(read.map(|(request, length)| {
            assert_eq!(length, text.len());
            (request, String::from_utf8(out).unwrap())
        }))
    }

    fn passed(text: &str) -> (Request, String) {
        read_text(text).unwrap().expect("the head is complete")
    }

    #[test]
    fn hop_by_hop_fields_go() {
        let cases = [
            (
                "Accept: a\r\nKeep-Alive: timeout=5\r\nConnection: keep-alive",
                "Accept: a\r\n",
            ),
            (
                "Connection: X-Secret, close\r\nX-Secret: 1\r\nX-Open: 2",
                "X-Open: 2\r\n",
            ),
            ("Connection: x-a\r\nConnection: x-b\r\nX-A: 1\r\nX-B: 2", ""),
            (
                "TE: trailers, deflate;q=0.5\r\nConnection: te",
                "TE: trailers\r\n",
            ),
            (
                "TE: gzip\r\nProxy-Authorization: x\r\nProxy-Connection: keep-alive",
                "",
            ),
            (
                "Connection: host, content-length\r\nContent-Length: 3",
                "Content-Length: 3\r\n",
            ),
            ("Content-Length: 3\r\nContent-Length: 3", "Content-Length: 3\r\n"),
            (
                "Transfer-Encoding: chunked\r\nTrailer: x-sum\r\nUpgrade: h2c",
                "Trailer: x-sum\r\nTransfer-Encoding: chunked\r\n",
            ),
        ];
        for (before, after) in cases {
            let (_, out) = passed(&format!("POST / HTTP/1.1\r\nHost: a\r\n{before}\r\n\r\n"));
            let expected = format!("POST / HTTP/1.1\r\nHost: a\r\n{after}X-Forwarded-For: 127.0.0.1\r\n\r\n");
            assert_eq!(out, expected, "{before}");
        }
    }

    #[test]
    fn what_could_be_understood_in_two_ways_is_refused() {
        for text in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\n\n",
            "GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n",
            "GET nowhere HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
            "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
            "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\u{e4} HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            assert!(matches!(read_text(text), Err(Refusal::BadRequest(_))), "{text:?}");
        }
        assert_eq!(
            read_text("CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n"),
            Err(Refusal::Connect)
        );
    }

    #[test]
    fn upgrades_need_connection_upgrade_http_1_1_and_no_body() {
        for (version, connection, more, expected) in [
            ("1.1", "Upgrade", "", true),
            ("1.1", "keep-alive, upgrade", "", true),
            ("1.1", "keep-alive", "", false),
            ("1.0", "upgrade", "", false),
            ("1.1", "upgrade", "Content-Length: 3\r\n", false),
        ] {
            let (request, out) = passed(&format!(
                "GET / HTTP/{version}\r\nHost: a\r\nConnection: {connection}\r\nUpgrade: websocket\r\n{more}\r\n"
            ));
            assert_eq!(request.upgrade, expected, "{version} {connection} {more}");
            assert_eq!(out.contains("Upgrade: websocket\r\n"), expected);
            assert_eq!(out.contains("Connection: Upgrade\r\n"), expected);
        }
    }

    #[test]
    fn an_unfinished_head_is_waited_for_up_to_a_limit() {
        assert_eq!(read_text("GET / HTTP/1.1\r\nHost: a\r\n"), Ok(None));
        let long = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(MAX_HEAD_BYTES));
        assert_eq!(read_text(&long), Err(Refusal::HeadTooLarge));
        let many = "X: 1\r\n".repeat(MAX_FIELDS + 1);
        assert_eq!(
            read_text(&format!("GET / HTTP/1.1\r\n{many}\r\n")),
            Err(Refusal::HeadTooLarge)
        );
    }
}
