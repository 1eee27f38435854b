//! Reading single values that are more than their JSON type says.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Number, Value};

use super::fields::{MAX_INTEGER, TextRule};
use super::types::Principal;

/// The number as a whole one; `1.0`, `1e3` and `-0` count.
pub fn whole(number: &Number) -> Option<u64> {
    number.as_u64().or_else(|| {
        let number = number.as_f64()?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole, positive and below 2^53"
        )]
        ((0.0..=MAX_INTEGER as f64).contains(&number) && number.fract() == 0.0).then_some(number as u64)
    })
}

/// Permission bits: three octal digits as text, with or without a leading `0` or `0o`, or a number up to 0o777.
pub fn read_mode(value: &Value) -> Option<u32> {
    let mode = match value {
        Value::Number(number) => u32::try_from(whole(number)?).ok()?,
        Value::String(text) => {
            let digits = text
                .strip_prefix("0o")
                .or_else(|| text.strip_prefix('0'))
                .unwrap_or(text);
            let is_octal = digits.len() == 3 && digits.bytes().all(|digit| digit.is_ascii_digit());
            is_octal.then(|| u32::from_str_radix(digits, 8).ok()).flatten()?
        }
        _ => return None,
    };
    (mode <= 0o777).then_some(mode)
}

/// A user or group. Text made of digits is an id: no system lets a name look like that.
pub fn read_principal(value: &Value) -> Option<Principal> {
    // The largest number means "leave unchanged" to chown and is nobody's id.
    let id = |number: u64| {
        u32::try_from(number)
            .ok()
            .filter(|id| *id != u32::MAX)
            .map(Principal::Id)
    };
    match value {
        Value::Number(number) => id(whole(number)?),
        Value::String(text) if !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit()) => {
            id(text.parse().ok()?)
        }
        Value::String(text) if !text.trim().is_empty() && !text.contains(['\0', ':', '\n']) => {
            Some(Principal::Name(text.clone()))
        }
        _ => None,
    }
}

/// A network; a single address is a network of its own.
pub fn read_network(text: &str) -> Option<IpNet> {
    text.parse()
        .ok()
        .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// What is wrong with a text that is not empty, to stand after its place.
pub fn text_complaint(text: &str, rule: TextRule) -> Option<&'static str> {
    match rule {
        TextRule::Application if text.contains('/') => Some("must not contain /"),
        TextRule::ProcessId if text.contains('#') => {
            Some("must not contain #, which separates the replica's number")
        }
        TextRule::Application | TextRule::ProcessId if text.contains(char::is_control) => {
            Some("must not contain control characters")
        }
        TextRule::Host if text.contains(|character: char| character == '/' || character.is_whitespace()) => {
            Some("must be a host name or an address alone, without /, spaces or a scheme")
        }
        TextRule::Host if has_port(text) => {
            Some("must be a host name or an address alone; the port has a field of its own")
        }
        TextRule::RequestPath if !text.starts_with('/') => Some("must begin with /"),
        TextRule::RequestPath if !text.chars().all(|character| character.is_ascii_graphic()) => {
            Some("must be made of visible ASCII characters, the others percent-encoded")
        }
        _ => None,
    }
}

/// `localhost:8182` or `[::1]:8182`; an address such as `::1` is none.
fn has_port(host: &str) -> bool {
    match host.strip_prefix('[') {
        Some(rest) => !rest.ends_with(']'),
        None => host.matches(':').count() == 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn whole_numbers_are_read_from_any_notation() {
        let cases = [
            ("1", Some(1)),
            ("1.0", Some(1)),
            ("1e3", Some(1000)),
            ("-0", Some(0)),
            ("-0.0", Some(0)),
            ("9007199254740991", Some(MAX_INTEGER)),
            ("1.5", None),
            ("-1", None),
            ("1e300", None),
            ("9007199254740993.0", None),
        ];
        for (text, expected) in cases {
            let number: Number = serde_json::from_str(text).expect("a number");
            assert_eq!(whole(&number), expected, "{text}");
        }
    }

    #[test]
    fn modes() {
        let cases = [
            (json!("660"), Some(0o660)),
            (json!("0o000"), Some(0)),
            (json!("0777"), Some(0o777)),
            (json!(0o777), Some(0o777)),
            (json!("0O660"), None),
            (json!("66"), None),
            (json!("0066"), Some(0o066)),
            (json!("668"), None),
            (json!("é60"), None),
            (json!(660), None),
        ];
        for (value, expected) in cases {
            assert_eq!(read_mode(&value), expected, "{value}");
        }
    }

    #[test]
    fn hosts_have_no_port() {
        for host in ["127.0.0.1", "localhost", "::1", "[::1]", "0.0.0.0"] {
            assert_eq!(text_complaint(host, TextRule::Host), None, "{host}");
        }
        for host in ["localhost:80", "[::1]:80", "http://a", "a b", "10.0.0.0/8"] {
            assert!(text_complaint(host, TextRule::Host).is_some(), "{host}");
        }
    }

    #[test]
    fn networks() {
        assert_eq!(read_network("10.0.0.1"), "10.0.0.1/32".parse().ok());
        assert_eq!(read_network("fd00::/8"), "fd00::/8".parse().ok());
        assert_eq!(read_network("10.0.0.0/33"), None);
    }
}
