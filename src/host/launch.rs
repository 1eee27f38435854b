//! Starting one child: a new session, a clean signal state, no stray descriptors, pipes for its output.
#![allow(
    unsafe_code,
    reason = "what happens between fork and exec has no safe wrapper"
)]

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::libc;

use super::{SpawnError, SpawnSpec};

/// What came of a start: the leader's pid and the read ends of its output pipes.
pub(super) struct Launched {
    pub pid: i32,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

/// Starts `/bin/sh -c <command>`. The caller reaps the leader.
pub(super) fn launch(spec: &SpawnSpec) -> Result<Launched, SpawnError> {
    // The shell's own error would not say whether the folder or the shell was missing.
    File::open(&spec.cwd)
        .and_then(|folder| folder.metadata())
        .and_then(|metadata| match metadata.is_dir() {
            true => Ok(()),
            false => Err(io::Error::from(io::ErrorKind::NotADirectory)),
        })
        .map_err(|source| SpawnError::Cwd {
            path: spec.cwd.clone(),
            source,
        })?;

    let mut command = Command::new("/bin/sh");
    command
        .arg("-c")
        .arg(&spec.command)
        .current_dir(&spec.cwd)
        .env_clear()
        .envs(spec.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // SAFETY: `prepare_child` only makes async-signal-safe system calls and touches no memory of the parent.
    unsafe { command.pre_exec(prepare_child) };

    let mut child = command.spawn().map_err(SpawnError::Shell)?;
    let stdout = child.stdout.take().expect("stdout was asked to be a pipe");
    let stderr = child.stderr.take().expect("stderr was asked to be a pipe");
    let pid = i32::try_from(child.id()).expect("a pid fits its own type");
    // Dropping the standard library's handle neither ends nor reaps the child; both are ours to do.
    Ok(Launched {
        pid,
        stdout: stdout.into(),
        stderr: stderr.into(),
    })
}

/// Runs in the child between fork and exec.
fn prepare_child() -> io::Result<()> {
    // SAFETY: plain system calls on our own process; the arguments are valid for all of them.
    unsafe {
        if libc::setsid() == -1 {
            return Err(io::Error::last_os_error());
        }
        // An ignored signal stays ignored across exec: whoever started the daemon must not decide what an app ignores.
        for signal in 1..=libc::SIGRTMAX() {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut nothing = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(nothing.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, nothing.as_ptr(), std::ptr::null_mut());
        close_descriptors_on_exec();
    }
    Ok(())
}

/// Marks every descriptor above stderr, so that none leaks into the app. They must stay open until exec: the standard
/// library reports a failed exec through one of them.
fn close_descriptors_on_exec() {
    #[cfg(target_os = "linux")]
    // SAFETY: a system call without pointers.
    unsafe {
        let marked = libc::syscall(
            libc::SYS_close_range,
            3 as libc::c_uint,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        );
        if marked == 0 {
            return;
        }
    }
    // Elsewhere, and on a kernel before 5.11: one by one, up to a limit that covers what a daemon opens.
    for descriptor in 3..4096 {
        // SAFETY: setting a flag on a descriptor that is not open fails and does nothing.
        unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}
