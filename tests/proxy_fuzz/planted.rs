//! Bugs on purpose, to show that the fuzzing would find them: each changes the bytes before the proxy reads them, as a
//! more tolerant proxy would, or after it has written them, as a careless one would.

/// A bug.
#[derive(Clone, Copy, Debug)]
pub struct Plant {
    pub name: &'static str,
    pub place: Place,
    pub spoil: fn(&[u8]) -> Vec<u8>,
}

/// Which bytes it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// What a client sends, before the proxy reads it.
    Request,
    /// What the upstream gets.
    Arrival,
    /// What the client gets.
    Answer,
    /// The same, when it has asked with HEAD.
    AnswerToHead,
}

impl Place {
    pub fn is_about_requests(self) -> bool {
        matches!(self, Place::Request | Place::Arrival)
    }
}

impl Plant {
    /// What becomes of bytes at this place.
    pub fn at(&self, place: Place, bytes: &[u8]) -> Vec<u8> {
        if self.place == place {
            (self.spoil)(bytes)
        } else {
            bytes.to_vec()
        }
    }
}

const fn plant(name: &'static str, place: Place, spoil: fn(&[u8]) -> Vec<u8>) -> Plant {
    Plant { name, place, spoil }
}

/// All of them.
pub const PLANTS: [Plant; 12] = [
    plant("a bare LF ends a line", Place::Request, |bytes| {
        in_head(bytes, |head| {
            replaced(&replaced(head, b"\r\n", b"\n"), b"\n", b"\r\n")
        })
    }),
    plant("space before a colon is ignored", Place::Request, |bytes| {
        in_head(bytes, |head| replaced(head, b" :", b":"))
    }),
    plant("a length beside a coding is ignored", Place::Request, |bytes| {
        in_head(bytes, |head| {
            if has_line(head, b"transfer-encoding:") {
                without_lines(head, b"content-length:", 0)
            } else {
                head.to_vec()
            }
        })
    }),
    plant(
        "of several Host fields the first counts",
        Place::Request,
        |bytes| in_head(bytes, |head| without_lines(head, b"host:", 1)),
    ),
    plant("of several lengths the first counts", Place::Request, |bytes| {
        in_head(bytes, |head| without_lines(head, b"content-length:", 1))
    }),
    plant("a folded line is joined", Place::Request, |bytes| {
        in_head(bytes, |head| replaced(head, b"\r\n folded", b" folded"))
    }),
    plant(
        "fields named by Connection are passed on",
        Place::Request,
        |bytes| replaced(bytes, b"X-Secret, X-Twice", b"X-Nobody, X-None!"),
    ),
    plant("trailers are lost", Place::Arrival, |bytes| {
        without_lines(&without_lines(bytes, b"x-sum:", 0), b"x-tail:", 0)
    }),
    plant("slashes are merged", Place::Arrival, |bytes| {
        replaced(bytes, b"//twice//", b"/twice/")
    }),
    plant(
        "the length of an answer to HEAD is lost",
        Place::AnswerToHead,
        |bytes| in_head(bytes, |head| without_lines(head, b"content-length:", 0)),
    ),
    plant("a truncated answer ends properly", Place::Answer, |bytes| {
        let is_open = has_line(bytes, b"transfer-encoding: chunked")
            && bytes.ends_with(b"\r\n")
            && !bytes.ends_with(b"\r\n\r\n");
        let end: &[u8] = if is_open { b"0\r\n\r\n" } else { b"" };
        [bytes, end].concat()
    }),
    plant("interim answers are lost", Place::Answer, |bytes| {
        let mut rest = bytes;
        while rest.starts_with(b"HTTP/1.1 1") {
            let Some(end) = rest.windows(4).position(|window| window == b"\r\n\r\n") else {
                break;
            };
            rest = &rest[end + 4..];
        }
        rest.to_vec()
    }),
];

/// Changes the bytes up to the first empty line.
fn in_head(bytes: &[u8], change: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    let (head, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 4));
    [change(head).as_slice(), rest].concat()
}

fn replaced(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(old.len()).position(|window| window == old) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(new);
        rest = &rest[at + old.len()..];
    }
    [out.as_slice(), rest].concat()
}

/// Leaves out the lines that start so, but for the first few.
fn without_lines(bytes: &[u8], start: &[u8], kept: usize) -> Vec<u8> {
    let mut seen = 0;
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    lines
        .filter(|line| {
            seen += usize::from(starts(line, start));
            !starts(line, start) || seen <= kept
        })
        .collect::<Vec<_>>()
        .concat()
}

fn has_line(bytes: &[u8], start: &[u8]) -> bool {
    bytes.split(|byte| *byte == b'\n').any(|line| starts(line, start))
}

fn starts(line: &[u8], start: &[u8]) -> bool {
    line.get(..start.len())
        .is_some_and(|begin| begin.eq_ignore_ascii_case(start))
}
