//! The rules for heads: what is refused, what stays on this connection, and what the upstream is told about the client.
//! Pure functions; nothing here reads or writes a socket.

use std::time::Duration;

use super::forwarded::{
    Seen, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PORT, X_FORWARDED_PROTO, tell_forwarded,
};
use super::refusal::Refusal;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, Entry, FORWARDED, HOST, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::{request, uri};
use hyper::{HeaderMap, Method, Uri, Version};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Headers about one connection, always dropped. `TE` and `Upgrade` have rules of their own.
const HOP_BY_HOP: [HeaderName; 7] = [
    CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Headers a message keeps even when its `Connection` names them: without them it means something else.
const NEVER_DROPPED: [HeaderName; 7] = [
    HOST,
    CONTENT_LENGTH,
    FORWARDED,
    X_FORWARDED_FOR,
    X_FORWARDED_HOST,
    X_FORWARDED_PORT,
    X_FORWARDED_PROTO,
];

/// Refuses what the proxy does not pass on, and brings the target into origin form.
pub(super) fn admit(head: &mut request::Parts) -> Result<(), Refusal> {
    if head.method == Method::CONNECT {
        return Err(Refusal::Connect);
    }
    let hosts = head.headers.get_all(HOST).iter().count();
    if hosts > 1 || (hosts == 0 && head.version == Version::HTTP_11) {
        return Err(Refusal::BadRequest("a request needs exactly one Host header"));
    }
    let bad_target = Refusal::BadRequest("the request target is not valid");
    match (head.uri.scheme(), head.uri.authority()) {
        (None, None) => Ok(()),
        (Some(_), Some(authority)) => {
            // The host of an absolute target counts, whatever Host says.
            let host = host_of(authority).ok_or(bad_target)?;
            head.headers.insert(HOST, host);
            let path = head.uri.path_and_query().cloned();
            head.uri = path.map_or_else(|| Uri::from_static("/"), Uri::from);
            Ok(())
        }
        _ => Err(bad_target),
    }
}

/// The protocols a request asks to upgrade to; empty when it does not.
pub(super) fn wanted_upgrade(head: &request::Parts) -> Vec<HeaderValue> {
    if head.version == Version::HTTP_11 && tokens(&head.headers, &CONNECTION).any(|token| token == "upgrade")
    {
        head.headers.get_all(UPGRADE).iter().cloned().collect()
    } else {
        Vec::new()
    }
}

/// Turns a client's headers into those for the upstream.
pub(super) fn prepare_request(headers: &mut HeaderMap, seen: &Seen, upgrade: &[HeaderValue]) {
    strip_hop_by_hop(headers);
    restore_upgrade(headers, upgrade);
    tell_forwarded(headers, seen);
    if let Entry::Vacant(host) = headers.entry(HOST) {
        // Only an HTTP/1.0 client comes without; what goes upstream is HTTP/1.1, which needs one.
        if let Ok(local) = HeaderValue::from_str(&seen.local.to_string()) {
            host.insert(local);
        }
    }
}

/// Turns an upstream's headers into those for the client. `upgraded` holds for an answer that switches protocols.
pub(super) fn prepare_response(headers: &mut HeaderMap, upgraded: bool) {
    let upgrade: Vec<HeaderValue> = if upgraded {
        headers.get_all(UPGRADE).iter().cloned().collect()
    } else {
        Vec::new()
    };
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    strip_hop_by_hop(headers);
    restore_upgrade(headers, &upgrade);
}

/// How long an upstream says it keeps an idle connection.
pub(super) fn announced_idle(headers: &HeaderMap) -> Option<Duration> {
    tokens(headers, &KEEP_ALIVE)
        .find_map(|token| {
            token
                .strip_prefix("timeout=")
                .and_then(|seconds| seconds.trim().parse().ok())
        })
        .map(Duration::from_secs)
}

fn host_of(authority: &uri::Authority) -> Option<HeaderValue> {
    let host = authority.as_str().rsplit('@').next()?;
    if host.is_empty() {
        None
    } else {
        HeaderValue::from_str(host).ok()
    }
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = tokens(headers, &CONNECTION)
        .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
        .filter(|name| *name != TE && !NEVER_DROPPED.contains(name))
        .collect();
    for name in HOP_BY_HOP.iter().chain(&named) {
        headers.remove(name);
    }
    let trailers = tokens(headers, &TE).any(|token| token == "trailers");
    headers.remove(TE);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

fn restore_upgrade(headers: &mut HeaderMap, upgrade: &[HeaderValue]) {
    if !upgrade.is_empty() {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        for protocol in upgrade {
            headers.append(UPGRADE, protocol.clone());
        }
    }
}

/// The comma-separated elements of all headers of that name, in lower case.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = String> + 'a {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|token| token.trim().to_ascii_lowercase())
        .filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    fn lines(headers: &HeaderMap) -> Vec<(&str, &str)> {
        let mut lines: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        lines.sort_unstable();
        lines
    }

    fn head(method: &str, target: &str, version: Version, hosts: &[&'static str]) -> request::Parts {
        let mut request = Request::builder().method(method).uri(target).version(version);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn hop_by_hop_headers_go() {
        let cases: [(&[_], &[_]); 7] = [
            (
                &[
                    ("accept", "a"),
                    ("keep-alive", "timeout=5"),
                    ("connection", "keep-alive"),
                ],
                &[("accept", "a")],
            ),
            (
                &[
                    ("connection", "X-Secret, close"),
                    ("x-secret", "1"),
                    ("x-open", "2"),
                ],
                &[("x-open", "2")],
            ),
            (
                &[
                    ("connection", "x-a"),
                    ("connection", "x-b"),
                    ("x-a", "1"),
                    ("x-b", "2"),
                ],
                &[],
            ),
            (
                &[("te", "trailers, deflate;q=0.5"), ("connection", "te")],
                &[("te", "trailers")],
            ),
            (
                &[
                    ("te", "gzip"),
                    ("proxy-authorization", "x"),
                    ("proxy-connection", "keep-alive"),
                ],
                &[],
            ),
            (
                &[
                    ("connection", "host, content-length"),
                    ("host", "a"),
                    ("content-length", "3"),
                ],
                &[("content-length", "3"), ("host", "a")],
            ),
            (
                &[
                    ("transfer-encoding", "chunked"),
                    ("trailer", "x-sum"),
                    ("upgrade", "h2c"),
                ],
                &[("trailer", "x-sum")],
            ),
        ];
        for (before, after) in cases {
            let mut headers = map(before);
            strip_hop_by_hop(&mut headers);
            assert_eq!(lines(&headers), after, "{before:?}");
        }
    }

    #[test]
    fn heads_are_admitted_or_refused() {
        let host = ["a.test"].as_slice();
        let admitted = [
            ("GET", "/x?y=1", Version::HTTP_11, host, "/x?y=1", Some("a.test")),
            ("OPTIONS", "*", Version::HTTP_11, host, "*", Some("a.test")),
            ("GET", "/", Version::HTTP_10, &[], "/", None),
            (
                "GET",
                "http://b.test:81/x?y",
                Version::HTTP_11,
                host,
                "/x?y",
                Some("b.test:81"),
            ),
            (
                "GET",
                "http://user@b.test",
                Version::HTTP_11,
                host,
                "/",
                Some("b.test"),
            ),
        ];
        for (method, target, version, hosts, uri, expected_host) in admitted {
            let mut head = head(method, target, version, hosts);
            assert_eq!(admit(&mut head), Ok(()), "{method} {target}");
            assert_eq!(head.uri.to_string(), uri);
            assert_eq!(
                head.headers.get(HOST).map(|host| host.to_str().unwrap()),
                expected_host
            );
        }
        let refused = [
            ("GET", "/", Version::HTTP_11, [].as_slice()),
            ("GET", "/", Version::HTTP_11, &["a.test", "b.test"]),
            ("GET", "/", Version::HTTP_10, &["a.test", "b.test"]),
            ("GET", "nowhere", Version::HTTP_11, host),
        ];
        for (method, target, version, hosts) in refused {
            let outcome = admit(&mut head(method, target, version, hosts));
            assert!(
                matches!(outcome, Err(Refusal::BadRequest(_))),
                "{method} {target} {hosts:?}"
            );
        }
        assert_eq!(
            admit(&mut head("CONNECT", "b.test:443", Version::HTTP_11, host)),
            Err(Refusal::Connect)
        );
    }

    #[test]
    fn upgrades_need_connection_upgrade_and_http_1_1() {
        let cases = [
            (Version::HTTP_11, "Upgrade", true),
            (Version::HTTP_11, "keep-alive, upgrade", true),
            (Version::HTTP_11, "keep-alive", false),
            (Version::HTTP_10, "upgrade", false),
        ];
        for (version, connection, expected) in cases {
            let mut head = head("GET", "/", version, &["a.test"]);
            head.headers
                .insert(CONNECTION, HeaderValue::from_static(connection));
            head.headers
                .insert(UPGRADE, HeaderValue::from_static("websocket"));
            let upgrade = wanted_upgrade(&head);
            assert_eq!(!upgrade.is_empty(), expected, "{version:?} {connection}");
            let local = ([127, 0, 0, 1], 8182).into();
            prepare_request(&mut head.headers, &Seen::new(local, local, &[]), &upgrade);
            assert_eq!(head.headers.contains_key(UPGRADE), expected);
            assert_eq!(head.headers.contains_key(CONNECTION), expected);
        }
    }

    #[test]
    fn responses_keep_upgrade_headers_only_when_upgraded() {
        for upgraded in [true, false] {
            let mut headers = map(&[("connection", "Upgrade"), ("upgrade", "websocket"), ("x-a", "1")]);
            prepare_response(&mut headers, upgraded);
            assert_eq!(headers.contains_key(UPGRADE), upgraded);
            assert_eq!(headers.contains_key(CONNECTION), upgraded);
            assert!(headers.contains_key("x-a"));
        }
    }

    #[test]
    fn an_announced_idle_time_is_read() {
        let cases = [
            ("timeout=5", Some(5)),
            ("max=100, timeout=7", Some(7)),
            ("max=100", None),
            ("timeout=x", None),
        ];
        for (value, seconds) in cases {
            assert_eq!(
                announced_idle(&map(&[("keep-alive", value)])),
                seconds.map(Duration::from_secs),
                "{value}"
            );
        }
    }
}
