//! What heads of requests and answers have in common: their limits, the fields that mean something to a proxy, and how
//! lines end. Pure functions.

/// Bytes of a head.
pub(super) const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Fields of a head.
pub(super) const MAX_FIELDS: usize = 128;

/// Names of fields the proxy has rules for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Accept,
    Connection,
    ContentLength,
    Expect,
    Forwarded,
    Host,
    KeepAlive,
    /// `Proxy-Authenticate`, `Proxy-Authorization` and `Proxy-Connection`: always about one hop.
    Proxy,
    Te,
    TransferEncoding,
    Upgrade,
    XForwardedFor,
    /// `X-Forwarded-Host`, `-Port` and `-Proto`.
    XForwarded,
    Other,
}

/// What the `Connection` fields of a head say.
#[derive(Debug, Default)]
pub(super) struct ConnectionOptions<'a> {
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade: bool,
    named: Vec<&'a str>,
}

impl Name {
    pub(super) fn of(name: &str) -> Name {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        match name.len() {
            2 if is("te") => Name::Te,
            4 if is("host") => Name::Host,
            6 if is("accept") => Name::Accept,
            6 if is("expect") => Name::Expect,
            7 if is("upgrade") => Name::Upgrade,
            9 if is("forwarded") => Name::Forwarded,
            10 if is("connection") => Name::Connection,
            10 if is("keep-alive") => Name::KeepAlive,
            14 if is("content-length") => Name::ContentLength,
            15 if is("x-forwarded-for") => Name::XForwardedFor,
            16 if is("x-forwarded-host") || is("x-forwarded-port") || is("proxy-connection") => {
                if is("proxy-connection") {
                    Name::Proxy
                } else {
                    Name::XForwarded
                }
            }
            17 if is("transfer-encoding") => Name::TransferEncoding,
            17 if is("x-forwarded-proto") => Name::XForwarded,
            18 if is("proxy-authenticate") => Name::Proxy,
            19 if is("proxy-authorization") => Name::Proxy,
            _ => Name::Other,
        }
    }
}

impl<'a> ConnectionOptions<'a> {
    pub(super) fn add(&mut self, value: &'a [u8]) {
        for option in elements(value) {
            if option.eq_ignore_ascii_case("close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case("keep-alive") {
                self.keep_alive = true;
            } else if option.eq_ignore_ascii_case("upgrade") {
                self.upgrade = true;
            } else {
                self.named.push(option);
            }
        }
    }

    /// Whether a field without a rule of its own is about this hop only.
    pub(super) fn names(&self, field: &str) -> bool {
        self.named.iter().any(|named| named.eq_ignore_ascii_case(field))
    }
}

/// The elements of a comma-separated list.
pub(super) fn elements(value: &[u8]) -> impl Iterator<Item = &str> {
    value
        .split(|byte| *byte == b',')
        .filter_map(|element| std::str::from_utf8(element).ok())
        .map(|element| element.trim_matches([' ', '\t']))
        .filter(|element| !element.is_empty())
}

/// Whether a list has `token`, whatever parameters follow it.
pub(super) fn has_token(value: &[u8], token: &str) -> bool {
    elements(value).any(|element| {
        let name = element.split(';').next().unwrap_or_default();
        name.trim_end().eq_ignore_ascii_case(token)
    })
}

/// Whether a CR or an LF stands alone. A CR at the very end may have its LF still to come.
pub(super) fn has_bare_line_end(bytes: &[u8]) -> bool {
    let Some(rest) = bytes.get(1..) else { return false };
    let pairs = bytes.iter().zip(rest);
    // Without a branch in it, so that many bytes are looked at in one step.
    let bare = pairs.fold(false, |bare, (this, next)| {
        bare | ((*this == b'\r') != (*next == b'\n'))
    });
    bare || bytes[0] == b'\n'
}

/// Adds a line with a field.
pub(super) fn write_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lone_line_ends_are_seen() {
        for (text, expected) in [
            ("", false),
            ("a\r\nb\r\n\r\n", false),
            ("a\r", false),
            ("a\nb", true),
            ("\na", true),
            ("a\rb", true),
            ("a\r\r\n", true),
            ("a\r\n\n", true),
        ] {
            assert_eq!(has_bare_line_end(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn connection_options_are_read() {
        let mut options = ConnectionOptions::default();
        options.add(b"Keep-Alive, X-Secret ,");
        options.add(b"UPGRADE");
        assert!(options.keep_alive && options.upgrade && !options.close);
        assert!(options.names("x-secret") && !options.names("x-open"));
    }
}
