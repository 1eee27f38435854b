//! The forms of a request target. What goes upstream is always in origin form, or the asterisk. Pure functions.

use super::refusal::Refusal;

/// A target as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TargetForm<'a> {
    /// A path with its query, or the asterisk.
    Origin(&'a str),
    /// With a scheme and a host; the path may be missing.
    Absolute {
        host: &'a str,
        path: &'a str,
        is_options: bool,
    },
}

/// Judges a target.
pub(super) fn of<'a>(method: &str, target: &'a str) -> Result<TargetForm<'a>, Refusal> {
    let bad = Refusal::BadRequest("the request target is not valid");
    // A fragment never belongs into a request: some readers leave it out, others take it for a part of the path.
    if !target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err(bad);
    }
    let is_options = method == "OPTIONS";
    if target.starts_with('/') || (target == "*" && is_options) {
        return Ok(TargetForm::Origin(target));
    }
    let is_scheme = |scheme: &&str| {
        target
            .get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    let scheme = ["http://", "https://"].into_iter().find(is_scheme).ok_or(bad)?;
    let rest = &target[scheme.len()..];
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    // A name and a password before the host have no business in a request: they disguise the host.
    if authority.is_empty() || !is_host(authority.as_bytes()) {
        return Err(bad);
    }
    Ok(TargetForm::Absolute {
        host: authority,
        path,
        is_options,
    })
}

/// Whether a value can be a host with a port, as RFC 3986 has it: no two readers split it at different places. It may be
/// empty.
pub(super) fn is_host(value: &[u8]) -> bool {
    let is_of_name = |byte: &u8| {
        byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'('..=b'+' | b';' | b'='
            )
    };
    let rest = match value.strip_prefix(b"[") {
        Some(inner) => {
            let end = inner.iter().position(|byte| *byte == b']').unwrap_or(0);
            let is_of_address = |byte: &u8| is_of_name(byte) || *byte == b':';
            if end == 0 || !inner[..end].iter().all(is_of_address) {
                return false;
            }
            &inner[end + 1..]
        }
        None => {
            let end = value.iter().take_while(|byte| is_of_name(byte)).count();
            &value[end..]
        }
    };
    match rest.split_first() {
        None => true,
        Some((colon, port)) => *colon == b':' && port.len() <= 5 && port.iter().all(u8::is_ascii_digit),
    }
}

impl TargetForm<'_> {
    /// Writes the target for the upstream.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            TargetForm::Origin(target) => out.extend_from_slice(target.as_bytes()),
            TargetForm::Absolute {
                path: "", is_options, ..
            } => out.push(if *is_options { b'*' } else { b'/' }),
            TargetForm::Absolute { path, .. } => {
                if !path.starts_with('/') {
                    out.push(b'/');
                }
                out.extend_from_slice(path.as_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_brought_into_origin_form() {
        for (method, target, expected, host) in [
            ("GET", "/x?y=1", "/x?y=1", None),
            ("GET", "//x", "//x", None),
            ("OPTIONS", "*", "*", None),
            ("GET", "http://b.test:81/x?y", "/x?y", Some("b.test:81")),
            ("GET", "HTTP://b.test", "/", Some("b.test")),
            ("GET", "http://[::1]:80/", "/", Some("[::1]:80")),
            ("GET", "http://b.test?x", "/?x", Some("b.test")),
            ("OPTIONS", "http://b.test", "*", Some("b.test")),
        ] {
            let form = of(method, target).unwrap();
            let mut out = Vec::new();
            form.write(&mut out);
            assert_eq!(out, expected.as_bytes(), "{target}");
            let found = match form {
                TargetForm::Absolute { host, .. } => Some(host),
                TargetForm::Origin(_) => None,
            };
            assert_eq!(found, host, "{target}");
        }
        for (method, target) in [
            ("GET", "*"),
            ("GET", "nowhere"),
            ("GET", "b.test:80"),
            ("GET", "http:///x"),
            ("GET", "http://a b/"),
            ("GET", "ftp://a/"),
            ("GET", "/x#y"),
            ("GET", "http://b.test#/x"),
            ("GET", "http://user@b.test/"),
            ("GET", "http://a.test:80@b.test/"),
            ("GET", "http://a:b/"),
            ("GET", "http://[::1/"),
            ("GET", "http://[]/"),
            ("GET", "http://a`/"),
            ("GET", "http://a%/"),
            ("GET", "http://a:1:2/"),
            ("GET", "http://a:123456/"),
        ] {
            assert!(of(method, target).is_err(), "{target}");
        }
    }
}
