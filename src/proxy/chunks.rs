//! Chunked bodies: reads one chunk after the other out of a buffer, strictly. Extensions of chunks are dropped.

use serde::{Deserialize, Serialize};

use super::buffer::Buffer;
use super::head::{MAX_FIELDS, has_bare_line_end};

/// The longest line before a chunk, extensions included.
const MAX_SIZE_LINE_BYTES: usize = 4096;
/// All trailers of a body.
const MAX_TRAILER_BYTES: usize = 16 * 1024;

/// What the reader expects next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Chunks {
    Size,
    /// Bytes left of a chunk.
    Data(u64),
    /// The line end after a chunk.
    DataEnd,
    Trailers,
    Done,
}

/// The body does not keep to the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadBody(pub(super) &'static str);

impl Chunks {
    /// Reads the line with the size of the next chunk; false when more bytes are needed.
    pub(super) fn read_size(&mut self, input: &mut Buffer) -> Result<bool, BadBody> {
        let bytes = input.unread();
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            return if bytes.len() > MAX_SIZE_LINE_BYTES {
                Err(BadBody("the line before a chunk is too long"))
            } else {
                Ok(false)
            };
        };
        let line = bytes[..end]
            .strip_suffix(b"\r")
            .filter(|line| line.len() <= MAX_SIZE_LINE_BYTES)
            .ok_or(BadBody("the line before a chunk does not end properly"))?;
        let size = size_of(line).ok_or(BadBody("the size of a chunk is not a number"))?;
        input.consume(end + 1);
        *self = if size == 0 {
            Chunks::Trailers
        } else {
            Chunks::Data(size)
        };
        Ok(true)
    }

    /// Reads the line end after a chunk; false when more bytes are needed.
    pub(super) fn read_data_end(&mut self, input: &mut Buffer) -> Result<bool, BadBody> {
        match input.unread() {
            [b'\r', b'\n', ..] => {
                input.consume(2);
                *self = Chunks::Size;
                Ok(true)
            }
            [] | [b'\r'] => Ok(false),
            _ => Err(BadBody("a chunk is longer than it says")),
        }
    }

    /// Reads the trailers and the empty line, and hands the trailers that may be passed on to `keep`; false when more
    /// bytes are needed.
    pub(super) fn read_trailers(
        &mut self,
        input: &mut Buffer,
        mut keep: impl FnMut(&str, &[u8]),
    ) -> Result<bool, BadBody> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let bytes = input.unread();
        let bad = BadBody("the trailers are not valid");
        let (length, fields) = match httparse::parse_headers(bytes, &mut fields) {
            Ok(httparse::Status::Complete(complete)) => complete,
            Ok(httparse::Status::Partial) if has_bare_line_end(bytes) || bytes.len() >= MAX_TRAILER_BYTES => {
                return Err(bad);
            }
            Ok(httparse::Status::Partial) => return Ok(false),
            Err(_) => return Err(bad),
        };
        if has_bare_line_end(&bytes[..length]) {
            return Err(bad);
        }
        for field in fields {
            // Some readers would take them for the framing of this message or the next.
            if ["content-length", "transfer-encoding"]
                .iter()
                .any(|framing| field.name.eq_ignore_ascii_case(framing))
            {
                return Err(bad);
            }
            if may_trail(field.name) {
                keep(field.name, field.value);
            }
        }
        input.consume(length);
        *self = Chunks::Done;
        Ok(true)
    }
}

/// Fields about framing, routing and this connection have no business behind a body.
fn may_trail(name: &str) -> bool {
    const NEVER: [&str; 14] = [
        "connection",
        "content-encoding",
        "content-range",
        "content-type",
        "forwarded",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "upgrade",
        "authorization",
    ];
    let is_forwarded = name
        .get(..12)
        .is_some_and(|start| start.eq_ignore_ascii_case("x-forwarded-"));
    !is_forwarded && !NEVER.iter().any(|never| name.eq_ignore_ascii_case(never))
}

/// Hexadecimal digits, and perhaps extensions.
fn size_of(line: &[u8]) -> Option<u64> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, extensions) = line.split_at(digits);
    if digits.is_empty() || digits.len() > 16 || !are_extensions(extensions) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Whether there are only names, each after a semicolon and perhaps with a value. They are dropped all the same, but
/// what has no form may be meant to look like something else.
fn are_extensions(mut rest: &[u8]) -> bool {
    while let Some((first, after)) = rest.split_first() {
        let name = token_length(after);
        if *first != b';' || name == 0 {
            return false;
        }
        rest = &after[name..];
        let Some(value) = rest.strip_prefix(b"=") else {
            continue;
        };
        let length = match value.strip_prefix(b"\"") {
            Some(quoted) => match quoted_length(quoted) {
                Some(length) => length + 1,
                None => return false,
            },
            None => token_length(value),
        };
        if length == 0 {
            return false;
        }
        rest = &value[length..];
    }
    true
}

fn token_length(bytes: &[u8]) -> usize {
    let is_of_token = |byte: &&u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    bytes.iter().take_while(is_of_token).count()
}

/// Up to and including the closing quote.
fn quoted_length(bytes: &[u8]) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in bytes.iter().enumerate() {
        let is_text = *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
        match byte {
            _ if !is_text => return None,
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_plain_hexadecimal_numbers() {
        for (line, expected) in [
            ("0", Some(0)),
            ("a", Some(10)),
            ("FF", Some(255)),
            ("5;name=value", Some(5)),
            ("5;name", Some(5)),
            ("5;a=\"b \\\" c\";d", Some(5)),
            ("5;", None),
            ("5;=b", None),
            ("5;a=", None),
            ("5;a=\"b", None),
            ("5;a b", None),
            ("5; a", None),
            ("5;a;", None),
            ("ffffffffffffffff", Some(u64::MAX)),
            ("", None),
            (";x", None),
            ("5 ", None),
            (" 5", None),
            ("+5", None),
            ("0x5", None),
            ("5;a\rb", None),
            ("00000000000000005", None),
            ("g", None),
        ] {
            assert_eq!(size_of(line.as_bytes()), expected, "{line:?}");
        }
    }
}
