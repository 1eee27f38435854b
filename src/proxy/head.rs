//! What heads of requests and answers have in common: their limits, the fields that mean something to a proxy, and how
//! lines end. Pure functions.

use super::lines::Lines;

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

/// The fields of a head, each with its name looked up once.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    head: &'a [u8],
    fields: &'a [httparse::Header<'a>],
    names: [Name; MAX_FIELDS],
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
        let name = name.as_bytes();
        let first = name.first().map_or(0, |byte| byte | 0x20);
        // Length and first letter leave one candidate, so that most names are compared with nothing.
        let (is_it, known) = match (name.len(), first) {
            (2, b't') => (is(name, b"te"), Name::Te),
            (4, b'h') => (is(name, b"host"), Name::Host),
            (6, b'a') => (is(name, b"accept"), Name::Accept),
            (6, b'e') => (is(name, b"expect"), Name::Expect),
            (7, b'u') => (is(name, b"upgrade"), Name::Upgrade),
            (9, b'f') => (is(name, b"forwarded"), Name::Forwarded),
            (10, b'c') => (is(name, b"connection"), Name::Connection),
            (10, b'k') => (is(name, b"keep-alive"), Name::KeepAlive),
            (14, b'c') => (is(name, b"content-length"), Name::ContentLength),
            (15, b'x') => (is(name, b"x-forwarded-for"), Name::XForwardedFor),
            (16, b'x') => {
                let is_it = is(name, b"x-forwarded-host") || is(name, b"x-forwarded-port");
                (is_it, Name::XForwarded)
            }
            (16, b'p') => (is(name, b"proxy-connection"), Name::Proxy),
            (17, b't') => (is(name, b"transfer-encoding"), Name::TransferEncoding),
            (17, b'x') => (is(name, b"x-forwarded-proto"), Name::XForwarded),
            (18, b'p') => (is(name, b"proxy-authenticate"), Name::Proxy),
            (19, b'p') => (is(name, b"proxy-authorization"), Name::Proxy),
            _ => return Name::Other,
        };
        if is_it { known } else { Name::Other }
    }
}

/// Whether a field has this name, given in small letters. A name consists of token characters, and of those only the
/// capital letter becomes a small one, and nothing a hyphen, when the bit is set.
fn is<const LENGTH: usize>(name: &[u8], small: &[u8; LENGTH]) -> bool {
    let Ok(name) = <&[u8; LENGTH]>::try_from(name) else {
        return false;
    };
    // Without a branch in it, so that many bytes are compared in one step.
    let different = name
        .iter()
        .zip(small)
        .fold(0, |different, (this, small)| different | ((this | 0x20) ^ small));
    different == 0
}

impl<'a> Fields<'a> {
    /// The `fields` that have been found in `head`.
    pub(super) fn of(head: &'a [u8], fields: &'a [httparse::Header<'a>]) -> Fields<'a> {
        let mut names = [Name::Other; MAX_FIELDS];
        for (name, field) in names.iter_mut().zip(fields) {
            *name = Name::of(field.name);
        }
        Fields { head, fields, names }
    }

    /// The fields in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Name, &'a httparse::Header<'a>)> {
        self.names.iter().copied().zip(self.fields)
    }

    /// For passing fields on.
    pub(super) fn lines(&self) -> Lines<'a> {
        Lines::of(self.head)
    }
}

impl<'a> ConnectionOptions<'a> {
    pub(super) fn add(&mut self, value: &'a [u8]) {
        // What nearly everybody says, in one comparison.
        if is(value, b"keep-alive") {
            self.keep_alive = true;
            return;
        }
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

    #[test]
    fn names_are_known_in_any_case() {
        for (name, expected) in [
            ("TE", Name::Te),
            ("hOsT", Name::Host),
            ("Content-Length", Name::ContentLength),
            ("content_length", Name::Other),
            ("X-Forwarded-Port", Name::XForwarded),
            ("X-Forwarded-Part", Name::Other),
            ("PROXY-CONNECTION", Name::Proxy),
            ("Proxy-Authorization", Name::Proxy),
            ("transfer-Encoding", Name::TransferEncoding),
            ("Cookie", Name::Other),
            ("", Name::Other),
        ] {
            assert_eq!(Name::of(name), expected, "{name}");
        }
    }
}
