//! Damage: to JSON values, so that what is wrong is wrong deep inside, and to bytes.

use serde_json::{Map, Value, json};

use crate::random::Random;

const TOKENS: [&[u8]; 24] = [
    b"{{",
    b"}}",
    b"{{port}}",
    b"{{ ports.web }}",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b":",
    b",",
    b"\n",
    b"\r\n",
    b"\0",
    b"\xff",
    b"\xc3",
    b"null",
    b"-1",
    b"1e999",
    b"18446744073709551616",
    b"0",
];

/// One place of the value becomes another.
pub fn value(value: &mut Value, random: &mut Random) {
    match value {
        Value::Object(fields) if !fields.is_empty() && random.chance(85) => object(fields, random),
        Value::Array(items) if !items.is_empty() && random.chance(85) => list(items, random),
        other => *other = odd(other, random),
    }
}

fn object(fields: &mut Map<String, Value>, random: &mut Random) {
    let key = fields.keys().nth(random.below(fields.len())).cloned().unwrap();
    match random.below(10) {
        0 => drop(fields.remove(&key)),
        1 => {
            let taken = fields.remove(&key).unwrap();
            fields.insert(text(random), taken);
        }
        2 => {
            let copied = fields[&key].clone();
            let other = fields.keys().nth(random.below(fields.len())).cloned().unwrap();
            fields.insert(other, copied);
        }
        3 => drop(fields.insert(text(random), scalar(random))),
        _ => value(&mut fields[&key], random),
    }
}

fn list(items: &mut Vec<Value>, random: &mut Random) {
    let at = random.below(items.len());
    match random.below(8) {
        0 => drop(items.remove(at)),
        1 => items.push(items[at].clone()),
        2 => items.swap(0, at),
        3 => items.insert(at, scalar(random)),
        _ => value(&mut items[at], random),
    }
}

/// Something else of the same kind, or of another.
fn odd(value: &Value, random: &mut Random) -> Value {
    match value {
        Value::String(text) if random.chance(50) => {
            let bytes = bytes(text.clone().into_bytes(), b"{{releaseId}}", random);
            Value::String(String::from_utf8_lossy(&bytes).into_owned())
        }
        Value::Number(number) if random.chance(50) => match (number.as_u64(), random.below(4)) {
            (Some(number), 0) => json!(number.wrapping_add(1)),
            (Some(number), 1) => json!(number.wrapping_sub(1)),
            (Some(number), 2) => json!(number.wrapping_mul(1000)),
            (_, _) => json!(-number.as_f64().unwrap_or(1.0)),
        },
        _ => scalar(random),
    }
}

fn scalar(random: &mut Random) -> Value {
    match random.below(16) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(false),
        3 => json!(0),
        4 => json!(-1),
        5 => json!(u64::MAX),
        6 => json!(i64::MIN),
        7 => json!(1.5),
        8 => json!(1e300),
        9 => json!([]),
        10 => json!({}),
        11 => json!(65536),
        12 => nested(random.below(100)),
        _ => Value::String(text(random)),
    }
}

fn nested(depth: usize) -> Value {
    (0..depth).fold(Value::Null, |inside, _| json!([inside]))
}

fn text(random: &mut Random) -> String {
    const TEXTS: [&str; 18] = [
        "",
        " ",
        "web",
        "proxied",
        "constructor",
        "__proto__",
        "a/b",
        "..",
        "\0",
        "\n",
        "{{port}}",
        "{{ports.web}}",
        "{{env.}}",
        "{{unknown}}",
        "ä\u{202e}",
        "SIGTERM",
        "$(id)",
        "0x10",
    ];
    match random.below(20) {
        0 => "x".repeat(random.below(5000)),
        1 => "{{".repeat(random.below(500)),
        _ => random.pick(&TEXTS).to_owned(),
    }
}

/// One to four times something small.
pub fn bytes(mut bytes: Vec<u8>, other: &[u8], random: &mut Random) -> Vec<u8> {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        match random.below(7) {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            3 => bytes.insert(at, random.next().to_le_bytes()[0]),
            4 => {
                let end = (at + random.below(40)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                let to = random.below(bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
            5 => {
                let from = random.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => {
                let token = random.pick(&TOKENS);
                bytes.splice(at..at, token.iter().copied());
            }
        }
    }
    bytes
}
