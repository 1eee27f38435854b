//! Starting one child: a new session, a clean signal state, no stray descriptors, pipes for its output.
#![allow(
    unsafe_code,
    reason = "what happens between fork and exec has no safe wrapper"
)]

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::libc;
use nix::unistd::{AccessFlags, faccessat};

use super::{SpawnError, SpawnSpec, platform};

/// No system we run on has a signal above this one. Where it has fewer, the others cannot be reset, and that does no harm.
const HIGHEST_SIGNAL: libc::c_int = 64;

/// What came of a start.
#[derive(Debug)]
pub struct Launched {
    /// The leader's pid.
    pub pid: i32,
    /// The read end of its standard output.
    pub stdout: OwnedFd,
    /// The read end of its standard error.
    pub stderr: OwnedFd,
}

/// Starts `/bin/sh -c <command>`. The caller reaps the leader.
pub fn launch(spec: &SpawnSpec) -> Result<Launched, SpawnError> {
    // The shell's own error would not say whether the folder or the shell was missing.
    can_be_entered(&spec.cwd).map_err(|source| SpawnError::Cwd {
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

/// A folder can be worked in without being readable: what counts is that one may go into it.
fn can_be_entered(folder: &Path) -> io::Result<()> {
    if !folder.metadata()?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    faccessat(AT_FDCWD, folder, AccessFlags::X_OK, AtFlags::AT_EACCESS)?;
    Ok(())
}

/// Runs in the child between fork and exec.
fn prepare_child() -> io::Result<()> {
    // SAFETY: plain system calls on our own process; the arguments are valid for all of them.
    unsafe {
        if libc::setsid() == -1 {
            return Err(io::Error::last_os_error());
        }
        // An ignored signal stays ignored across exec: whoever started the daemon must not decide what an app ignores.
        for signal in 1..=HIGHEST_SIGNAL {
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
    if platform::close_on_exec(3) {
        return;
    }
    // One by one, up to a limit that covers what a daemon opens.
    for descriptor in 3..4096 {
        // SAFETY: setting a flag on a descriptor that is not open fails and does nothing.
        unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(cwd: &Path) -> SpawnSpec {
        SpawnSpec {
            command: "echo there".to_owned(),
            cwd: cwd.to_owned(),
            env: Vec::new(),
            token: String::new(),
        }
    }

    /// What a start in a folder of this mode says or fails with, for somebody whom modes concern.
    #[cfg(target_os = "linux")]
    fn start_in_a_folder_of_mode(mode: u32) -> Result<String, SpawnError> {
        use std::io::Read;
        use std::os::unix::fs::PermissionsExt;

        let set_mode = |folder: &Path, mode| {
            std::fs::set_permissions(folder, PermissionsExt::from_mode(mode)).expect("it is ours");
        };
        let folder = tempfile::tempdir().expect("a folder");
        set_mode(folder.path(), mode);
        let said = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                // Root may go anywhere. This concerns one thread alone, and does nothing for anybody else.
                nix::unistd::setfsuid(nix::unistd::Uid::from_raw(65534));
                let launched = launch(&spec(folder.path()))?;
                let mut said = String::new();
                std::fs::File::from(launched.stdout)
                    .read_to_string(&mut said)
                    .expect("text");
                let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(launched.pid), None);
                Ok(said)
            });
            thread.join().expect("no panic")
        });
        set_mode(folder.path(), 0o700);
        said
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_folder_that_can_be_entered_need_not_be_readable() {
        let said = start_in_a_folder_of_mode(0o311).expect("it can be entered");
        assert_eq!(said, "there\n");
        let error = start_in_a_folder_of_mode(0o644).expect_err("it is closed");
        assert!(
            error.to_string().starts_with("working directory /")
                && error.to_string().ends_with(": Permission denied"),
            "{error}"
        );
    }

    #[test]
    fn a_working_directory_must_be_a_folder() {
        for (path, words) in [
            ("/dev/null", "working directory /dev/null: not a directory"),
            (
                "/nowhere",
                "working directory /nowhere: No such file or directory",
            ),
        ] {
            let error = launch(&spec(Path::new(path))).expect_err("no folder");
            assert_eq!(error.to_string(), words);
        }
    }
}
