//! Where a body ends. The rules are strict: what two readers could understand differently is refused. Pure functions.

use serde::{Deserialize, Serialize};

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Framing {
    /// There is no body.
    Empty,
    /// This many bytes.
    Length(u64),
    /// Chunks, of which the last is empty.
    Chunked,
    /// All up to the end of the connection; only in answers.
    UntilClose,
}

/// The fields of a head that tell about its body.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BodyFields {
    pub(super) length: Option<u64>,
    coding: Option<Coding>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Chunked,
    Other,
}

/// Why the end of a body is not certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ambiguous(pub(super) &'static str);

impl BodyFields {
    /// Takes note of a `Content-Length`. One that says the same again is harmless.
    pub(super) fn add_length(&mut self, value: &[u8]) -> Result<(), Ambiguous> {
        let length = decimal(value).ok_or(Ambiguous("the Content-Length is not a number"))?;
        if self.length.is_some_and(|other| other != length) {
            return Err(Ambiguous("there are different values of Content-Length"));
        }
        self.length = Some(length);
        Ok(())
    }

    /// Takes note of a `Transfer-Encoding`. Anything but one plain `chunked` is more than the proxy can undo.
    pub(super) fn add_coding(&mut self, value: &[u8]) {
        let is_chunked = self.coding.is_none() && value.eq_ignore_ascii_case(b"chunked");
        self.coding = Some(if is_chunked {
            Coding::Chunked
        } else {
            Coding::Other
        });
    }

    /// Whether a length stands beside a coding, which decides alone.
    pub(super) fn is_contradictory(&self) -> bool {
        self.length.is_some() && self.coding.is_some()
    }

    /// Whether anything is said about a body that has bytes.
    pub(super) fn announces_body(&self) -> bool {
        self.coding.is_some() || self.length.is_some_and(|length| length > 0)
    }

    /// The framing of a request.
    pub(super) fn of_request(&self, is_http_1_0: bool) -> Result<Framing, Ambiguous> {
        match (self.coding, self.length) {
            (None, None) => Ok(Framing::Empty),
            (None, Some(0)) => Ok(Framing::Empty),
            (None, Some(length)) => Ok(Framing::Length(length)),
            (Some(_), Some(_)) => Err(Ambiguous(
                "a request has either Content-Length or Transfer-Encoding",
            )),
            (Some(_), None) if is_http_1_0 => Err(Ambiguous("HTTP/1.0 does not know Transfer-Encoding")),
            (Some(Coding::Chunked), None) => Ok(Framing::Chunked),
            (Some(Coding::Other), None) => Err(Ambiguous("the only Transfer-Encoding accepted is chunked")),
        }
    }

    /// The framing of an answer that may have a body.
    pub(super) fn of_answer(&self, is_http_1_0: bool) -> Result<Framing, Ambiguous> {
        match (self.coding, self.length) {
            (Some(_), _) if is_http_1_0 => Err(Ambiguous("HTTP/1.0 does not know Transfer-Encoding")),
            (Some(Coding::Chunked), _) => Ok(Framing::Chunked),
            (Some(Coding::Other), _) => Err(Ambiguous("the only Transfer-Encoding accepted is chunked")),
            (None, Some(0)) => Ok(Framing::Empty),
            (None, Some(length)) => Ok(Framing::Length(length)),
            (None, None) => Ok(Framing::UntilClose),
        }
    }
}

/// Digits and nothing else, in the range of lengths.
fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(lengths: &[&str], codings: &[&str], is_http_1_0: bool) -> Option<Framing> {
        let mut fields = BodyFields::default();
        for length in lengths {
            fields.add_length(length.as_bytes()).ok()?;
        }
        for coding in codings {
            fields.add_coding(coding.as_bytes());
        }
        fields.of_request(is_http_1_0).ok()
    }

    #[test]
    fn only_certain_framings_pass() {
        let none: &[&str] = &[];
        for (lengths, codings, expected) in [
            (none, none, Some(Framing::Empty)),
            (&["0"], none, Some(Framing::Empty)),
            (&["5"], none, Some(Framing::Length(5))),
            (&["5", "5"], none, Some(Framing::Length(5))),
            (&["5", "6"], none, None),
            (&["5, 5"], none, None),
            (&["+5"], none, None),
            (&["-5"], none, None),
            (&["0x5"], none, None),
            (&[""], none, None),
            (&["5 5"], none, None),
            (&["18446744073709551616"], none, None),
            (none, &["chunked"], Some(Framing::Chunked)),
            (none, &["Chunked"], Some(Framing::Chunked)),
            (none, &["chunked", "chunked"], None),
            (none, &["chunked, chunked"], None),
            (none, &["gzip, chunked"], None),
            (none, &["chunked, gzip"], None),
            (none, &["xchunked"], None),
            (none, &["\"chunked\""], None),
            (none, &["identity"], None),
            (none, &[""], None),
            (&["5"], &["chunked"], None),
            (&["0"], &["chunked"], None),
        ] {
            assert_eq!(
                framing(lengths, codings, false),
                expected,
                "{lengths:?} {codings:?}"
            );
        }
        assert_eq!(framing(&[], &["chunked"], true), None);
        assert_eq!(framing(&["5"], &[], true), Some(Framing::Length(5)));
    }
}
