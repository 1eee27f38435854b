//! Valid requests and answers with as many peculiarities as the grammar allows.

use super::case::Side;
use super::random::Random;

/// The last request of every stream: where it is understood, the connection ends.
pub const LAST: &[u8] = b"GET /last HTTP/1.1\r\nHost: last\r\nConnection: close\r\n\r\n";

const METHODS: [&str; 9] = [
    "GET", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND",
];
const TARGETS: [&str; 9] = [
    "/",
    "/a/b?c=d&e",
    "//twice//",
    "/%2e%2e/%00",
    "/a;b=c/../d",
    "/?",
    "http://b.test:81/abs?x",
    "http://b.test/",
    "HTTP://b.test/u",
];
const HOSTS: [&str; 4] = ["a", "a.test:8080", "[::1]:80", "UPPER.test"];
const FIELDS: [&str; 34] = [
    "Accept: */*",
    "Accept: application/json",
    "accept-encoding:gzip, br",
    "Cookie: a=1; b=\"x, y\"",
    "Cookie: second=2",
    "User-Agent: fuzz (a; b) c/1",
    "X-Empty:",
    "X-Spaces: \t  inner  space \t ",
    "X-Twice: 1",
    "X-Twice: 2",
    "X-Bytes: caf\u{e9}",
    "Connection: keep-alive",
    "Connection: X-Secret, X-Twice",
    "Connection: , ,close-not,",
    "Connection: Host, Content-Length, X-Forwarded-For",
    "X-Secret: 1",
    "Keep-Alive: timeout=9",
    "Proxy-Connection: keep-alive",
    "Proxy-Authorization: Basic eDp5",
    "TE: trailers",
    "TE: gzip;q=0.5, Trailers;q=1",
    "TE: gzip",
    "Trailer: X-Sum",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "X-Forwarded-For: 203.0.113.9",
    "x-forwarded-for: 203.0.113.8, unknown",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: outer.test",
    "X-Forwarded-Port: 443",
    "Forwarded: for=203.0.113.9;proto=https",
    "Expect: 100-continue",
    "Content-Type: text/plain",
    "!#$%&'*+-.^_`|~9: token",
];
const ANSWER_FIELDS: [&str; 16] = [
    "Content-Type: text/html",
    "Server: fuzz",
    "Set-Cookie: a=1",
    "Set-Cookie: b=2; Path=/",
    "Connection: keep-alive",
    "Connection: X-Inner",
    "X-Inner: 1",
    "Keep-Alive: timeout=5, max=10",
    "Proxy-Authenticate: Basic",
    "Upgrade: h2c",
    "Trailer: X-End",
    "ETag: \"x\"",
    "Date: Sun, 06 Nov 1994 08:49:37 GMT",
    "X-Spaces: \t a  b \t",
    "X-Empty:",
    "Vary: a\r\nVary: b",
];
const TRAILERS: [&str; 5] = [
    "X-Sum: 7",
    "X-Sum:8",
    "Host: evil",
    "X-Forwarded-For: 6.6.6.6",
    "X-Tail: \t t ",
];
const STATUSES: [&str; 9] = [
    "200 OK",
    "200 ",
    "201 Created at last",
    "204 No Content",
    "304 Not Modified",
    "404 Not Found",
    "500 Oh: no",
    "299 Odd",
    "599 Last",
];
const INTERIM: [&str; 4] = [
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n",
    "HTTP/1.1 102 Processing\r\nConnection: x-i\r\nX-I: 1\r\n\r\n",
    "HTTP/1.1 199 Odd\r\n\r\n",
];

/// One to four requests on one connection.
pub fn requests(random: &mut Random) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..=random.below(4) {
        // Tolerated between requests.
        if random.chance(10) {
            out.extend_from_slice(b"\r\n");
        }
        request(random, &mut out);
    }
    out
}

fn request(random: &mut Random, out: &mut Vec<u8>) {
    let is_http_1_0 = random.chance(8);
    let method = random.pick(&METHODS);
    let target = if method == "OPTIONS" && random.chance(40) {
        "*"
    } else {
        random.pick(&TARGETS)
    };
    let version = if is_http_1_0 { "1.0" } else { "1.1" };
    push(out, &format!("{method} {target} HTTP/{version}\r\n"));
    let mut lines: Vec<String> = (0..random.below(7))
        .map(|_| random.pick(&FIELDS).to_owned())
        .collect();
    if random.chance(3) {
        lines.extend((0..random.below(110)).map(|number| format!("X-{number}: {number}")));
    }
    if is_http_1_0 {
        // Its client expects the connection to end unless it asks for more.
        lines.push("Connection: keep-alive".to_owned());
    }
    if !is_http_1_0 || random.chance(50) {
        lines.push(format!("{}: {}", spelt("Host", random), random.pick(&HOSTS)));
    }
    let wants_body = random.chance(if matches!(method, "POST" | "PUT" | "PATCH") {
        90
    } else {
        15
    });
    let mut body = Vec::new();
    if wants_body && !is_http_1_0 && random.chance(50) {
        lines.push(format!(
            "{}: {}",
            spelt("Transfer-Encoding", random),
            spelt("chunked", random)
        ));
        chunks(random, &mut body);
    } else if wants_body {
        body = content(random);
        lines.push(format!("{}: {}", spelt("Content-Length", random), body.len()));
    }
    shuffle(&mut lines, random);
    for line in lines {
        push(out, &line);
        push(out, "\r\n");
    }
    push(out, "\r\n");
    out.extend_from_slice(&body);
}

/// An answer, with the request it belongs to.
pub fn answer(random: &mut Random) -> (Side, Vec<u8>) {
    let method = random.pick(&["GET", "GET", "HEAD", "POST"]);
    let is_http_1_0 = random.chance(20);
    let mut out = Vec::new();
    for _ in 0..random.below(3) {
        push(&mut out, random.pick(&INTERIM));
    }
    let status = random.pick(&STATUSES);
    let is_old = random.chance(10);
    push(
        &mut out,
        &format!("HTTP/{} {status}\r\n", if is_old { "1.0" } else { "1.1" }),
    );
    let mut lines: Vec<String> = (0..random.below(6))
        .map(|_| random.pick(&ANSWER_FIELDS).to_owned())
        .collect();
    let has_no_body = method == "HEAD" || status.starts_with("204") || status.starts_with("304");
    let mut body = Vec::new();
    let mut closes = random.chance(50);
    match random.below(3) {
        0 if !is_old => {
            lines.push(format!(
                "{}: {}",
                spelt("Transfer-Encoding", random),
                spelt("chunked", random)
            ));
            chunks(random, &mut body);
        }
        1 if !has_no_body => {
            body = content(random);
            closes = true;
        }
        _ if !status.starts_with("204") => {
            body = content(random);
            lines.push(format!("{}: {}", spelt("Content-Length", random), body.len()));
        }
        _ => {}
    }
    if has_no_body {
        body.clear();
    }
    if closes && random.chance(60) {
        lines.push("Connection: close".to_owned());
    }
    shuffle(&mut lines, random);
    for line in lines {
        push(&mut out, &line);
        push(&mut out, "\r\n");
    }
    push(&mut out, "\r\n");
    out.extend_from_slice(&body);
    let side = Side::Upstream {
        method,
        is_http_1_0,
        closes,
    };
    (side, out)
}

fn chunks(random: &mut Random, out: &mut Vec<u8>) {
    for _ in 0..random.below(4) {
        let data = content(random);
        if data.is_empty() {
            continue;
        }
        let zeros = "0".repeat(random.below(3));
        let size = if random.chance(50) {
            format!("{zeros}{:x}", data.len())
        } else {
            format!("{zeros}{:X}", data.len())
        };
        push(out, &size);
        if random.chance(20) {
            push(out, random.pick(&[";a", ";a=b", ";a=\"b c\"", ";a;b=1"]));
        }
        push(out, "\r\n");
        out.extend_from_slice(&data);
        push(out, "\r\n");
    }
    push(out, random.pick(&["0\r\n", "0\r\n", "000\r\n", "0;last\r\n"]));
    for _ in 0..random.below(3) {
        push(out, random.pick(&TRAILERS));
        push(out, "\r\n");
    }
    push(out, "\r\n");
}

/// Bytes of a body; often such that look like something else.
fn content(random: &mut Random) -> Vec<u8> {
    match random.below(5) {
        0 => Vec::new(),
        1 => b"GET /inner HTTP/1.1\r\nHost: inner\r\n\r\n".to_vec(),
        2 => b"0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec(),
        3 => (0..random.below(300))
            .map(|_| random.next().to_le_bytes()[0])
            .collect(),
        _ => vec![b'x'; random.below(20)],
    }
}

/// The same in other letters.
fn spelt(name: &str, random: &mut Random) -> String {
    match random.below(4) {
        0 => name.to_ascii_lowercase(),
        1 => name.to_ascii_uppercase(),
        _ => name.to_owned(),
    }
}

fn shuffle(lines: &mut [String], random: &mut Random) {
    for end in (1..lines.len()).rev() {
        lines.swap(end, random.below(end + 1));
    }
}

/// Adds a text, every character of it as one byte.
fn push(out: &mut Vec<u8>, text: &str) {
    out.extend(text.chars().map(|character| u8::try_from(character).unwrap()));
}
