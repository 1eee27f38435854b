//! The proxy's own answers: what it says when it does not pass a request on.

use std::io::Write;

use super::head::elements;

/// The whole answer to a connection beyond the limit, which never reaches a worker.
pub(super) const TOO_MANY_CONNECTIONS: &str = "HTTP/1.1 503 Service Unavailable\r\n\
    content-type: text/plain; charset=utf-8\r\n\
    retry-after: 1\r\n\
    connection: close\r\n\
    content-length: 21\r\n\
    \r\n\
    too many connections\n";

/// Why a request is not answered by an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The head breaks a rule of HTTP.
    BadRequest(&'static str),
    /// The proxy opens no tunnels to other hosts.
    Connect,
    /// The head has more bytes or fields than the proxy takes.
    HeadTooLarge,
    /// The head has taken too long.
    HeadTimeout,
    /// There is no route.
    NoRelease,
    /// No waiting place is left.
    TooManyHeld,
    /// The upstream stayed away for as long as a request may be held.
    Unreachable,
    /// The upstream is marked as failed.
    Failed,
    /// The upstream took the request and gave no proper answer.
    NoAnswer,
    /// The release's connections were closed before it answered.
    Closed,
}

/// What an answer of the proxy depends on besides its reason.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Form {
    pub(super) json: bool,
    pub(super) is_head: bool,
    pub(super) is_http_1_0: bool,
    pub(super) keep_alive: bool,
}

impl Refusal {
    /// Whether the client's connection cannot be used for another request.
    pub(super) fn closes(self) -> bool {
        matches!(
            self,
            Refusal::BadRequest(_) | Refusal::Connect | Refusal::HeadTooLarge | Refusal::HeadTimeout
        )
    }

    /// Writes the answer. It says that the connection is kept or closed where the client's version does not.
    pub(super) fn write(self, form: Form, out: &mut Vec<u8>) {
        let (content_type, body) = if form.json {
            (
                "application/json",
                serde_json::json!({ "error": self.text() }).to_string(),
            )
        } else {
            ("text/plain; charset=utf-8", format!("{}\n", self.text()))
        };
        let more = match self {
            Refusal::Connect => "allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n",
            Refusal::NoRelease | Refusal::TooManyHeld => "retry-after: 1\r\n",
            _ => "",
        };
        let connection = match (form.keep_alive, form.is_http_1_0) {
            (false, _) => "connection: close\r\n",
            (true, true) => "connection: keep-alive\r\n",
            (true, false) => "",
        };
        // Writing into memory does not fail.
        let _ = write!(
            out,
            "HTTP/1.1 {}\r\ncontent-type: {content_type}\r\n{more}{connection}content-length: {}\r\n\r\n",
            self.status(),
            body.len(),
        );
        if !form.is_head {
            out.extend_from_slice(body.as_bytes());
        }
    }

    fn status(self) -> &'static str {
        match self {
            Refusal::BadRequest(_) => "400 Bad Request",
            Refusal::Connect => "405 Method Not Allowed",
            Refusal::HeadTimeout => "408 Request Timeout",
            Refusal::HeadTooLarge => "431 Request Header Fields Too Large",
            Refusal::NoRelease | Refusal::TooManyHeld => "503 Service Unavailable",
            Refusal::Unreachable | Refusal::Failed | Refusal::NoAnswer | Refusal::Closed => "502 Bad Gateway",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Refusal::BadRequest(reason) => reason,
            Refusal::Connect => "CONNECT is not supported",
            Refusal::HeadTooLarge => "the head of the request is too large",
            Refusal::HeadTimeout => "the head of the request took too long",
            Refusal::NoRelease => "no release is active",
            Refusal::TooManyHeld => "too many requests are waiting for the application",
            Refusal::Unreachable => "the application does not accept connections",
            Refusal::Failed => "the application has failed",
            Refusal::NoAnswer => "the application did not answer",
            Refusal::Closed => "the application was stopped before it answered",
        }
    }
}

/// Whether the client would rather read JSON than text: it names JSON, and ranks no kind of text above it.
pub(super) fn prefers_json(accept: &[u8]) -> bool {
    let (mut json, mut text) = (0.0_f32, 0.0_f32);
    // Most requests never name it, and have none of its rarest letter either; that is seen in a few steps.
    if !accept
        .iter()
        .fold(false, |found, byte| found | (byte | 0x20 == b'j'))
    {
        return false;
    }
    for range in elements(accept) {
        let mut parts = range.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
        let quality = parts
            .find_map(|parameter| {
                parameter
                    .strip_prefix("q=")
                    .or_else(|| parameter.strip_prefix("Q="))
            })
            .map_or(1.0, |quality| quality.parse().unwrap_or(0.0));
        if media_type == "application/json" || media_type.ends_with("+json") {
            json = json.max(quality);
        } else if media_type.starts_with("text/") {
            text = text.max(quality);
        }
    }
    json > 0.0 && json >= text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_must_be_named_and_not_ranked_below_text() {
        let cases = [
            ("", false),
            ("*/*", false),
            ("application/json", true),
            ("Application/JSON", true),
            ("application/problem+json", true),
            ("application/json, text/plain, */*", true),
            ("text/html, application/json;q=0.9", false),
            ("text/html;q=0.5, application/json;q=0.9", true),
            ("application/json;q=0", false),
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                false,
            ),
        ];
        for (accept, expected) in cases {
            assert_eq!(prefers_json(accept.as_bytes()), expected, "{accept}");
        }
    }

    #[test]
    fn the_fixed_answer_states_its_own_length() {
        let (head, body) = TOO_MANY_CONNECTIONS.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("content-length: {}", body.len())),
            "{head}"
        );
    }
}
