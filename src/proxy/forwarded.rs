//! Who the client is, as the upstream is told: `X-Forwarded-*` and `Forwarded`. Pure functions.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::head::Name;
use super::lines::{write_decimal, write_field};

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

    /// Whether a field about the client is passed on as it came. The chain of addresses is always written anew.
    pub(super) fn passes(&self, name: Name) -> bool {
        match name {
            Name::XForwardedFor => false,
            Name::XForwarded | Name::Forwarded => self.trusted,
            _ => true,
        }
    }

    /// Writes the fields about the client. A trusted client is a proxy that has written them for its own client: it
    /// is believed, and only added to the chain of addresses. From anybody else they are replaced.
    pub(super) fn tell(&self, chain: &[&[u8]], host: Option<&[u8]>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"X-Forwarded-For: ");
        if self.trusted {
            for link in chain {
                out.extend_from_slice(link);
                out.extend_from_slice(b", ");
            }
        }
        write_address(self.peer, out);
        out.extend_from_slice(b"\r\n");
        if self.trusted {
            return;
        }
        if let Some(host) = host {
            write_field(out, "X-Forwarded-Host", host);
        }
        out.extend_from_slice(b"X-Forwarded-Proto: http\r\nX-Forwarded-Port: ");
        write_decimal(out, self.local.port().into());
        out.extend_from_slice(b"\r\n");
    }
}

fn write_address(address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => {
            let [first, rest @ ..] = address.octets();
            write_decimal(out, first.into());
            for octet in rest {
                out.push(b'.');
                write_decimal(out, octet.into());
            }
        }
        // Writing into memory does not fail.
        IpAddr::V6(address) => {
            let _ = write!(out, "{address}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(trusted: bool, host: Option<&[u8]>) -> String {
        let seen = Seen {
            peer: [192, 0, 2, 7].into(),
            trusted,
            local: ([127, 0, 0, 1], 8182).into(),
        };
        let mut out = Vec::new();
        seen.tell(&[b"203.0.113.1", b"203.0.113.2"], host, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_trusted_peer_is_believed_and_appended() {
        assert_eq!(
            told(true, Some(b"example.test")),
            "X-Forwarded-For: 203.0.113.1, 203.0.113.2, 192.0.2.7\r\n"
        );
    }

    #[test]
    fn an_untrusted_peer_is_replaced() {
        assert_eq!(
            told(false, Some(b"example.test")),
            "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Host: example.test\r\n\
             X-Forwarded-Proto: http\r\nX-Forwarded-Port: 8182\r\n"
        );
        assert!(!told(false, None).contains("Host"));
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
