//! Who the client is, as the upstream is told: `X-Forwarded-*` and `Forwarded`. Pure functions.

use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;
use hyper::header::{FORWARDED, HOST, HeaderName, HeaderValue};
use ipnet::IpNet;

pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(super) const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
pub(super) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What the proxy itself knows about a client connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// The client's address; IPv4 even where it came through an IPv6 socket.
    pub(super) peer: IpAddr,
    /// Whether the client is a proxy whose headers are believed.
    pub(super) trusted: bool,
    /// The address the client connected to.
    pub(super) local: SocketAddr,
}

impl Seen {
    pub(super) fn new(peer: SocketAddr, local: SocketAddr, trusted_proxies: &[IpNet]) -> Seen {
        let peer = peer.ip().to_canonical();
        Seen {
            peer,
            trusted: trusted_proxies.iter().any(|net| net.contains(&peer)),
            local,
        }
    }
}

/// Writes the headers about the client. A trusted client is a proxy that has written them for its own client: it is
/// believed, and only added to the chain of addresses. From anybody else they are replaced.
pub(super) fn tell_forwarded(headers: &mut HeaderMap, seen: &Seen) {
    if seen.trusted {
        let mut chain: Vec<u8> = Vec::new();
        for value in headers.get_all(X_FORWARDED_FOR) {
            chain.extend_from_slice(value.as_bytes());
            chain.extend_from_slice(b", ");
        }
        chain.extend_from_slice(seen.peer.to_string().as_bytes());
        insert(headers, X_FORWARDED_FOR, &chain);
        return;
    }
    headers.remove(FORWARDED);
    insert(headers, X_FORWARDED_FOR, seen.peer.to_string().as_bytes());
    insert(headers, X_FORWARDED_PROTO, b"http");
    insert(
        headers,
        X_FORWARDED_PORT,
        seen.local.port().to_string().as_bytes(),
    );
    match headers.get(HOST).cloned() {
        Some(host) => headers.insert(X_FORWARDED_HOST, host),
        None => headers.remove(X_FORWARDED_HOST),
    };
}

/// Replaces a header. The values come from header values and numbers, so they are always valid; were one not, no
/// header is better than a wrong one.
fn insert(headers: &mut HeaderMap, name: HeaderName, value: &[u8]) {
    match HeaderValue::from_bytes(value) {
        Ok(value) => headers.insert(name, value),
        Err(_) => headers.remove(name),
    };
}

#[cfg(test)]
mod tests {
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

    fn seen(trusted: bool) -> Seen {
        Seen {
            peer: [192, 0, 2, 7].into(),
            trusted,
            local: ([127, 0, 0, 1], 8182).into(),
        }
    }

    #[test]
    fn a_trusted_peer_is_believed_and_appended() {
        let mut headers = map(&[
            ("host", "example.test"),
            ("x-forwarded-for", "203.0.113.1"),
            ("x-forwarded-for", "203.0.113.2"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "outer.test"),
            ("forwarded", "for=203.0.113.1"),
        ]);
        tell_forwarded(&mut headers, &seen(true));
        assert_eq!(
            lines(&headers),
            [
                ("forwarded", "for=203.0.113.1"),
                ("host", "example.test"),
                ("x-forwarded-for", "203.0.113.1, 203.0.113.2, 192.0.2.7"),
                ("x-forwarded-host", "outer.test"),
                ("x-forwarded-proto", "https"),
            ]
        );
    }

    #[test]
    fn an_untrusted_peer_is_replaced() {
        let mut headers = map(&[
            ("host", "example.test"),
            ("x-forwarded-for", "203.0.113.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-port", "443"),
            ("x-forwarded-host", "forged.test"),
            ("forwarded", "for=203.0.113.1"),
        ]);
        tell_forwarded(&mut headers, &seen(false));
        assert_eq!(
            lines(&headers),
            [
                ("host", "example.test"),
                ("x-forwarded-for", "192.0.2.7"),
                ("x-forwarded-host", "example.test"),
                ("x-forwarded-port", "8182"),
                ("x-forwarded-proto", "http"),
            ]
        );
    }

    #[test]
    fn trust_sees_through_mapped_addresses() {
        let nets = ["127.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let local = ([127, 0, 0, 1], 1).into();
        for (peer, trusted) in [
            ("127.0.0.5:9", true),
            ("[::ffff:127.0.0.5]:9", true),
            ("[fd00::1]:9", true),
            ("192.0.2.1:9", false),
            ("[::1]:9", false),
        ] {
            assert_eq!(
                Seen::new(peer.parse().unwrap(), local, &nets).trusted,
                trusted,
                "{peer}"
            );
        }
    }
}
