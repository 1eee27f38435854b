//! Small damage: to single bytes, to tokens that mean something, and to whole lines.

use super::random::Random;

const TOKENS: [&[u8]; 52] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\r\n",
    b"\r\n\r\n",
    b"\n\n",
    b"\0",
    b" ",
    b"\t",
    b"\x0b",
    b"\x0c",
    b"\x7f",
    b"\x80",
    b"\xff",
    b":",
    b" :",
    b",",
    b";",
    b"+",
    b"-",
    b"_",
    b"0x",
    b"0",
    b"1",
    b"f",
    b"\"",
    b"/",
    b"//",
    b"*",
    b"@",
    b"#",
    b"chunked",
    b"identity",
    b", chunked",
    b"chunked, ",
    b"gzip, ",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length : 3\r\n",
    b"Content_Length: 4\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding : chunked\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"Host: b\r\n",
    b"Connection: close\r\n",
    b"Connection: content-length, transfer-encoding\r\n",
    b" folded\r\n",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b"GET /smuggled HTTP/1.1\r\nHost: s\r\n\r\n",
    b"HTTP/1.0",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
];

/// The bytes with one to three mutations.
pub fn mutated(mut bytes: Vec<u8>, random: &mut Random) -> Vec<u8> {
    for _ in 0..=random.below(3) {
        mutate(&mut bytes, random);
    }
    bytes
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    if bytes.is_empty() {
        bytes.extend_from_slice(random.pick(&TOKENS));
        return;
    }
    match random.below(12) {
        0 => {
            let at = random.below(bytes.len());
            bytes[at] ^= 1 << random.below(8);
        }
        1 => {
            let at = random.below(bytes.len());
            bytes.remove(at);
        }
        2 => {
            let at = random.below(bytes.len() + 1);
            insert(bytes, at, &[random.next().to_le_bytes()[0]]);
        }
        3 | 4 => {
            let at = random.below(bytes.len() + 1);
            insert(bytes, at, random.pick(&TOKENS));
        }
        5 => bytes.truncate(random.below(bytes.len() + 1)),
        // At a place that means something: after a colon, or around a line end.
        6 | 7 => {
            let at = place_of(bytes, b":\r\n", random);
            insert(bytes, at + random.below(2), random.pick(&TOKENS));
        }
        // A field where there was none.
        8 | 9 => {
            let starts = starts_of_lines(bytes);
            let at = random.pick(&starts);
            insert(bytes, at, random.pick(&TOKENS));
        }
        10 => {
            // A line twice, somewhere else.
            let starts = starts_of_lines(bytes);
            let from = random.pick(&starts);
            let end = starts
                .iter()
                .find(|start| **start > from)
                .copied()
                .unwrap_or(bytes.len());
            let line = bytes[from..end].to_vec();
            let at = random.pick(&starts);
            insert(bytes, at, &line);
        }
        _ => {
            // A digit becomes another one.
            let at = place_of(bytes, b"0123456789", random);
            if bytes[at].is_ascii_digit() {
                bytes[at] = b'0' + u8::try_from(random.below(10)).unwrap();
            }
        }
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, more: &[u8]) {
    let at = at.min(bytes.len());
    bytes.splice(at..at, more.iter().copied());
}

/// Where one of these bytes stands; anywhere if none does.
fn place_of(bytes: &[u8], wanted: &[u8], random: &mut Random) -> usize {
    let places: Vec<usize> = (0..bytes.len())
        .filter(|at| wanted.contains(&bytes[*at]))
        .collect();
    if places.is_empty() {
        random.below(bytes.len())
    } else {
        random.pick(&places)
    }
}

fn starts_of_lines(bytes: &[u8]) -> Vec<usize> {
    let after = |at: &usize| bytes[*at] == b'\n';
    std::iter::once(0)
        .chain((0..bytes.len()).filter(after).map(|at| at + 1))
        .collect()
}
