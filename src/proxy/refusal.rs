//! The proxy's own answers: what it says when it does not pass a request on.

use hyper::header::{ACCEPT, ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use hyper::{HeaderMap, Response, StatusCode, header::HeaderValue};

use super::body::ResponseBody;

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

impl Refusal {
    /// The answer, in the form the client prefers.
    pub(super) fn response(self, json: bool) -> Response<ResponseBody> {
        let (content_type, body) = if json {
            (
                "application/json",
                serde_json::json!({ "error": self.text() }).to_string(),
            )
        } else {
            ("text/plain; charset=utf-8", format!("{}\n", self.text()))
        };
        let mut response = Response::new(ResponseBody::text(body));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        match self {
            Refusal::BadRequest(_) => headers.insert(CONNECTION, HeaderValue::from_static("close")),
            Refusal::Connect => headers.insert(
                ALLOW,
                HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
            ),
            Refusal::NoRelease | Refusal::TooManyHeld => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"))
            }
            Refusal::Unreachable | Refusal::Failed | Refusal::NoAnswer | Refusal::Closed => None,
        };
        response
    }

    fn status(self) -> StatusCode {
        match self {
            Refusal::BadRequest(_) => StatusCode::BAD_REQUEST,
            Refusal::Connect => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::NoRelease | Refusal::TooManyHeld => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Unreachable | Refusal::Failed | Refusal::NoAnswer | Refusal::Closed => {
                StatusCode::BAD_GATEWAY
            }
        }
    }

    fn text(self) -> &'static str {
        match self {
            Refusal::BadRequest(reason) => reason,
            Refusal::Connect => "CONNECT is not supported",
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
pub(super) fn prefers_json(headers: &HeaderMap) -> bool {
    let (mut json, mut text) = (0.0_f32, 0.0_f32);
    for range in headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|v| v.split(','))
    {
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
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(prefers_json(&headers), expected, "{accept}");
        }
        assert!(!prefers_json(&HeaderMap::new()));
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
