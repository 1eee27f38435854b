//! Turning a Node process into the native binary: same pid, same terminal, same parent.

use std::collections::HashMap;
use std::ffi::CString;
use std::os::fd::BorrowedFd;

use napi_derive::napi;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::unistd::{AccessFlags, access, execve};

use crate::error::plain;

/// Replaces this process by the program at `path`. Returns only to say why that was not possible.
#[napi]
pub fn become_binary(path: String, arguments: Vec<String>, environment: HashMap<String, String>) -> String {
    if let Err(errno) = access(path.as_str(), AccessFlags::X_OK) {
        return format!("{path} cannot be executed: {}", plain(&errno.into()));
    }
    match prepare(&path, &arguments, &environment) {
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
    arguments: &[String],
    environment: &HashMap<String, String>,
) -> Result<Prepared, std::ffi::NulError> {
    let program = CString::new(path)?;
    let arguments = std::iter::once(path)
        .chain(arguments.iter().map(String::as_str))
        .map(CString::new);
    let environment = environment
        .iter()
        .map(|(name, value)| CString::new(format!("{name}={value}")));
    Ok((
        program,
        arguments.collect::<Result<_, _>>()?,
        environment.collect::<Result<_, _>>()?,
    ))
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
