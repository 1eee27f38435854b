//! What must become of a message on its way, told once more and independently of the engine: the rules of the first
//! forwarding of this project, which had hyper on both sides. They work on what a reader has understood.

use super::reading::{Field, Message, ordered};

/// The address that clients of the tests come from.
pub const PEER: &str = "127.0.0.1";

const NEVER_DROPPED: [&str; 9] = [
    "host",
    "content-length",
    "expect",
    "forwarded",
    "te",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
];
const TOLD_ANEW: [&str; 4] = [
    "forwarded",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
];
const HOP_BY_HOP: [&str; 7] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
];
const NEVER_BEHIND: [&str; 16] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
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
    "transfer-encoding",
    "upgrade",
];

/// Where the proxy stands: whom it trusts, and on which port it is reached.
#[derive(Clone, Copy, Debug)]
pub struct Standpoint {
    pub trusted: bool,
    pub port: u16,
}

/// The request that the upstream must read, or why none may get there.
pub fn request(read: &Message, standpoint: Standpoint) -> Result<Message, &'static str> {
    let mut sent = read.clone();
    sent.is_http_1_0 = false;
    let (method, target) = &read.start;
    if method == "CONNECT" {
        return Err("CONNECT");
    }
    let hosts: Vec<&[u8]> = read.values("host").collect();
    if hosts.len() > 1 || (hosts.is_empty() && !read.is_http_1_0) {
        return Err("not exactly one Host");
    }
    let length_count = read.values("content-length").count();
    let has_coding = read.has("transfer-encoding");
    if has_coding && (length_count > 0 || read.is_http_1_0) {
        return Err("both framings, or a coding on HTTP/1.0");
    }
    let mut lengths = read.values("content-length");
    let first_length = lengths.next();
    if lengths.any(|length| Some(length) != first_length) {
        return Err("differing lengths");
    }
    let mut host = hosts.first().map(|host| host.to_vec());
    if let Some((own, path)) = absolute(method, target) {
        host = Some(own.as_bytes().to_vec());
        sent.start.1 = path;
    } else if target.contains('#') {
        return Err("a fragment");
    } else if !(target.starts_with('/') || target == "*" && method == "OPTIONS") {
        return Err("neither a path nor an absolute target");
    }
    let upgrade = !read.is_http_1_0
        && read.tokens("connection").contains(&"upgrade".to_owned())
        && read.has("upgrade")
        && !has_coding
        && first_length.is_none_or(|length| length.iter().all(|digit| *digit == b'0'));

    let mut fields = end_to_end(read);
    fields.retain(|(name, _)| !["host", "te", "x-forwarded-for"].contains(&name.as_str()));
    if read.is_http_1_0 {
        fields.retain(|(name, _)| name != "expect");
    }
    once(&mut fields, "content-length");
    // Without one, the proxy says what it was reached as.
    let named = host.clone();
    fields.push((
        "host".to_owned(),
        host.unwrap_or_else(|| format!("{PEER}:{}", standpoint.port).into_bytes()),
    ));
    if has_coding {
        fields.push(("transfer-encoding".to_owned(), b"chunked".to_vec()));
    }
    if has_trailers_token(read) {
        fields.push(("te".to_owned(), b"trailers".to_vec()));
    }
    if upgrade {
        fields.push(("connection".to_owned(), b"Upgrade".to_vec()));
        fields.extend(
            read.values("upgrade")
                .map(|value| ("upgrade".to_owned(), value.to_vec())),
        );
    }
    tell_forwarded(&mut fields, read, named, standpoint);
    sent.fields = ordered(fields);
    sent.trailers = behind(read);
    Ok(sent)
}

/// The answer that the client must read, but for its framing.
pub fn answer(read: &Message) -> Message {
    let mut sent = read.clone();
    sent.is_http_1_0 = false;
    let mut fields = end_to_end(read);
    if read.has("transfer-encoding") || read.start.0 == "204" || read.is_interim() {
        fields.retain(|(name, _)| name != "content-length");
    }
    once(&mut fields, "content-length");
    for (_, value) in fields.iter_mut().filter(|(name, _)| name == "content-length") {
        // The proxy writes the number anew.
        let number = String::from_utf8_lossy(value).parse::<u64>();
        *value = number.map_or_else(|_| value.clone(), |number| number.to_string().into_bytes());
    }
    fields.retain(|(name, _)| name != "te");
    if has_trailers_token(read) {
        fields.extend(read.values("te").map(|value| ("te".to_owned(), value.to_vec())));
    }
    sent.fields = ordered(fields);
    sent.trailers = behind(read);
    sent
}

/// The same without the fields that frame it for one connection.
pub fn without_framing(mut message: Message) -> Message {
    message.is_http_1_0 = false;
    message
        .fields
        .retain(|(name, _)| !["connection", "transfer-encoding"].contains(&name.as_str()));
    message
}

/// Host and path of a target in absolute form.
pub fn absolute<'a>(method: &str, target: &'a str) -> Option<(&'a str, String)> {
    let lower = target.to_ascii_lowercase();
    let scheme = ["http://", "https://"]
        .into_iter()
        .find(|scheme| lower.starts_with(scheme))?;
    let rest = &target[scheme.len()..];
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let slash = match path {
        "" if method == "OPTIONS" => "*",
        _ if path.starts_with('/') => "",
        _ => "/",
    };
    Some((authority.rsplit('@').next().unwrap(), format!("{slash}{path}")))
}

fn end_to_end(read: &Message) -> Vec<Field> {
    let named = read.tokens("connection");
    let stays = |name: &str| {
        let is_named = named.iter().any(|named| named == name) && !NEVER_DROPPED.contains(&name);
        !HOP_BY_HOP.contains(&name) && !is_named
    };
    read.fields
        .iter()
        .filter(|(name, _)| stays(name))
        .cloned()
        .collect()
}

fn behind(read: &Message) -> Vec<Field> {
    let may = |name: &str| !NEVER_BEHIND.contains(&name) && !name.starts_with("x-forwarded-");
    read.trailers
        .iter()
        .filter(|(name, _)| may(name))
        .cloned()
        .collect()
}

fn has_trailers_token(read: &Message) -> bool {
    let tokens = read.tokens("te");
    tokens
        .iter()
        .any(|token| token.split(';').next().unwrap().trim_end() == "trailers")
}

fn once(fields: &mut Vec<Field>, name: &str) {
    let mut seen = false;
    fields.retain(|field| field.0 != name || !std::mem::replace(&mut seen, true));
}

fn tell_forwarded(fields: &mut Vec<Field>, read: &Message, host: Option<Vec<u8>>, standpoint: Standpoint) {
    let mut chain: Vec<&[u8]> = Vec::new();
    if standpoint.trusted {
        chain.extend(read.values("x-forwarded-for"));
    } else {
        fields.retain(|(name, _)| !TOLD_ANEW.contains(&name.as_str()));
        let port = standpoint.port.to_string().into_bytes();
        fields.extend(host.map(|host| ("x-forwarded-host".to_owned(), host)));
        fields.push(("x-forwarded-proto".to_owned(), b"http".to_vec()));
        fields.push(("x-forwarded-port".to_owned(), port));
    }
    chain.push(PEER.as_bytes());
    fields.push(("x-forwarded-for".to_owned(), chain.join(b", ".as_slice())));
}
