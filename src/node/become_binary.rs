//! Turning a Node process into the native binary: same pid, same terminal, same parent.

use std::collections::HashMap;
use std::ffi::{CString, NulError, OsStr, OsString};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use napi_derive::napi;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::unistd::{AccessFlags, access, execve};

use crate::error::plain;
use crate::host::platform::command_of_this_process;

/// Replaces this process by the program at `path`, with this process's environment and `additions`. Returns only to say
/// why that was not possible.
#[napi]
pub fn become_binary(path: String, arguments: Vec<String>, additions: HashMap<String, String>) -> String {
    if let Err(errno) = access(path.as_str(), AccessFlags::X_OK) {
        return format!("{path} cannot be executed: {}", plain(&errno.into()));
    }
    match prepare(&path, arguments, &additions) {
        Ok((program, arguments, environment)) => {
            inherit_standard_streams();
            match execve(&program, &arguments, &environment) {
                Ok(never) => match never {},
                Err(errno) => format!("{path} cannot be executed: {}", plain(&errno.into())),
            }
        }
        Err(_) => "an argument or an environment variable contains a NUL byte".to_owned(),
    }
}

type Prepared = (CString, Vec<CString>, Vec<CString>);

fn prepare(
    path: &str,
    arguments: Vec<String>,
    additions: &HashMap<String, String>,
) -> Result<Prepared, NulError> {
    let program = CString::new(path)?;
    let arguments = std::iter::once(OsString::from(path))
        .chain(as_given(arguments))
        .map(|argument| CString::new(argument.into_vec()));
    // Not as JavaScript sees it: there, what is not UTF-8 is lost.
    let inherited =
        std::env::vars_os().filter(|(name, _)| !additions.keys().any(|added| name == added.as_str()));
    let added = additions.iter().map(|(name, value)| (name.into(), value.into()));
    let environment = inherited
        .chain(added)
        .map(|(mut pair, value): (OsString, OsString)| {
            pair.push("=");
            pair.push(value);
            CString::new(pair.into_vec())
        });
    Ok((
        program,
        arguments.collect::<Result<_, _>>()?,
        environment.collect::<Result<_, _>>()?,
    ))
}

/// The arguments byte for byte, where the system still has them: what is not UTF-8 is lost in JavaScript.
fn as_given(arguments: Vec<String>) -> Vec<OsString> {
    let line = command_of_this_process();
    let tail = tail_of(&line, &arguments);
    tail.unwrap_or_else(|| arguments.into_iter().map(OsString::from).collect())
}

/// The last words of a command line, if they are these arguments.
fn tail_of(line: &[u8], arguments: &[String]) -> Option<Vec<OsString>> {
    let mut words: Vec<&[u8]> = line.strip_suffix(&[0])?.split(|byte| *byte == 0).collect();
    let tail = words.split_off(words.len().checked_sub(arguments.len())?);
    let is_same = |(word, argument): (&&[u8], &String)| String::from_utf8_lossy(word) == argument.as_str();
    let is_all_same = tail.iter().zip(arguments).all(is_same);
    is_all_same.then(|| {
        tail.into_iter()
            .map(|word| OsStr::from_bytes(word).to_owned())
            .collect()
    })
}

/// Node marks its standard streams close-on-exec and may have made them non-blocking; the binary wants neither.
fn inherit_standard_streams() {
    use std::io::{stderr, stdin, stdout};
    use std::os::fd::AsFd;
    let (stdin, stdout, stderr) = (stdin(), stdout(), stderr());
    let streams: [BorrowedFd<'_>; 3] = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()];
    for stream in streams {
        // A stream that is closed stays closed.
        if let Ok(flags) = fcntl(stream, FcntlArg::F_GETFL) {
            let blocking = OFlag::from_bits_retain(flags) & !OFlag::O_NONBLOCK;
            let _ = fcntl(stream, FcntlArg::F_SETFL(blocking));
        }
        let _ = fcntl(stream, FcntlArg::F_SETFD(FdFlag::empty()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_keep_their_bytes() {
        let given = |line: &[u8], arguments: &[&str]| {
            let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
            tail_of(line, &arguments)
        };
        let raw = OsStr::from_bytes(b"b\xff").to_owned();
        assert_eq!(
            given(b"node\0script\0a\0b\xff\0", &["a", "b\u{fffd}"]),
            Some(vec!["a".into(), raw])
        );
        assert_eq!(given(b"node\0script\0", &[]), Some(vec![]));
        assert_eq!(given(b"renamed\0", &["a", "b"]), None);
        assert_eq!(given(b"node\0x\0y\0", &["a", "b"]), None);
        assert_eq!(given(b"", &[]), None);
    }
}
