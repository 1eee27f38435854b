//! The arguments of the daemon itself, and of the halves it is made of.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::release_id;
use crate::daemon::{Bootstrap, ResumeFile, check_attestation, check_normalised, check_revision};
use crate::error::plain;
use crate::host::{LogFile, PidFile};

/// What a daemon is told to do. Its keeper passes all of it on to every engine.
#[derive(Clone, Debug, Default, Args)]
pub(in crate::cli) struct DaemonOptions {
    /// Begin with this release: its folder, as an absolute path without "." and "..".
    #[arg(long, value_name = "PATH", value_parser = check_normalised, requires_all = ["release_id", "revision"])]
    release_path: Option<PathBuf>,
    /// The id of the release to begin with.
    #[arg(long, value_name = "ID", value_parser = release_id, requires = "release_path")]
    release_id: Option<String>,
    /// The revision of the release to begin with.
    #[arg(long, value_parser = check_revision, requires = "release_path")]
    revision: Option<String>,
    /// Show this digest in the status, as proof of which start this is: sha256: and 64 digits.
    #[arg(long, value_name = "DIGEST", value_parser = check_attestation, requires = "release_path")]
    boot_attestation: Option<String>,
    /// Take the place of the daemon that runs, once the release is healthy: its sockets come over, and it drains.
    #[arg(long, requires = "boot_attestation")]
    takeover_owner: bool,
    /// Write the log to this file, and open it again on SIGHUP.
    #[arg(long, value_name = "PATH", value_parser = absolute)]
    daemon_log_path: Option<PathBuf>,
    /// Write the pid of the daemon to this file while it can be reached.
    #[arg(long, value_name = "PATH", value_parser = absolute)]
    daemon_pid_path: Option<PathBuf>,
    /// Keep in this file which release is active, and begin with that one after a reboot.
    #[arg(long, value_name = "PATH", value_parser = absolute)]
    daemon_resume_path: Option<PathBuf>,
}

/// A path as it is meant where we stand.
fn absolute(path: &str) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|error| plain(&error))
}

/// How a detached daemon is started, if there is none.
#[derive(Clone, Debug, Args)]
#[group(id = "daemon_start", multiple = true)]
pub(in crate::cli) struct EnsureOptions {
    /// Where a daemon that is started writes its log. Default: /tmp/rollbridge-<application>.log.
    #[arg(long, value_name = "PATH", value_parser = absolute)]
    pub daemon_log_path: Option<PathBuf>,
    /// Where it writes its pid. Default: /tmp/rollbridge-<application>.pid.
    #[arg(long, value_name = "PATH", value_parser = absolute)]
    pub daemon_pid_path: Option<PathBuf>,
    /// The folder for the copy of this program that it runs from. Default: below $XDG_STATE_HOME or ~/.local/state, else /tmp.
    #[arg(long, value_name = "PATH", value_parser = absolute)]
    pub daemon_runtime_path: Option<PathBuf>,
    /// How long it may take until it answers. Default: 10000.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..))]
    pub daemon_start_timeout_ms: Option<u64>,
    /// For the Node API: print an error as JSON too.
    #[arg(long, hide = true)]
    pub json: bool,
}

impl DaemonOptions {
    /// The release to begin with.
    pub fn bootstrap(&self) -> Option<Bootstrap> {
        Some(Bootstrap {
            release_path: self.release_path.clone()?,
            release_id: self.release_id.clone()?,
            revision: self.revision.clone()?,
            attestation: self.boot_attestation.clone(),
        })
    }

    /// The attestation under which another daemon is asked for its place, if it is to be.
    pub fn takeover(&self) -> Option<&str> {
        self.boot_attestation.as_deref().filter(|_| self.takeover_owner)
    }

    /// The file for its log.
    pub fn log(&self) -> Option<LogFile> {
        self.daemon_log_path.as_deref().map(LogFile::at)
    }

    /// The file for the pid of the daemon, which is this one.
    pub fn pid_file(&self, pid: i32) -> Option<PidFile> {
        self.daemon_pid_path
            .as_deref()
            .map(|path| PidFile::new(path, pid))
    }

    /// The file that keeps the release to begin with.
    pub fn resume_file(&self, application: &str) -> Option<ResumeFile> {
        let path = self.daemon_resume_path.as_deref();
        path.map(|path| ResumeFile::new(path, application))
    }

    /// The same as arguments.
    pub fn to_arguments(&self) -> Vec<OsString> {
        let texts = [
            (
                "--release-path",
                self.release_path.as_ref().map(|path| path.as_os_str()),
            ),
            ("--release-id", self.release_id.as_ref().map(AsRef::as_ref)),
            ("--revision", self.revision.as_ref().map(AsRef::as_ref)),
            (
                "--boot-attestation",
                self.boot_attestation.as_ref().map(AsRef::as_ref),
            ),
            (
                "--daemon-log-path",
                self.daemon_log_path.as_ref().map(|path| path.as_os_str()),
            ),
            (
                "--daemon-pid-path",
                self.daemon_pid_path.as_ref().map(|path| path.as_os_str()),
            ),
            (
                "--daemon-resume-path",
                self.daemon_resume_path.as_ref().map(|path| path.as_os_str()),
            ),
        ];
        let mut arguments = Vec::new();
        if self.takeover_owner {
            arguments.push(OsString::from("--takeover-owner"));
        }
        for (name, value) in texts {
            if let Some(value) = value {
                // In one word: a value may begin with a dash.
                let mut argument = OsString::from(format!("{name}="));
                argument.push(value);
                arguments.push(argument);
            }
        }
        arguments
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct EngineOptions {
    /// The descriptor of the socket to the keeper.
    #[arg(long, value_name = "DESCRIPTOR")]
    pub socket: i32,
    #[command(flatten)]
    pub daemon: DaemonOptions,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct KeeperOptions {
    /// The descriptor of the socket to the engine.
    #[arg(long, value_name = "DESCRIPTOR")]
    pub socket: i32,
}

#[cfg(test)]
mod tests {
    use super::super::{Arguments, Command};
    use super::*;
    use clap::Parser;

    fn parsed(arguments: &[&str]) -> Result<DaemonOptions, String> {
        let all = ["rollbridge", "daemon"].iter().chain(arguments);
        match Arguments::try_parse_from(all) {
            Ok(Arguments {
                command: Command::Daemon(options),
                ..
            }) => Ok(options),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn what_is_passed_on_means_the_same() {
        let attestation = format!("--boot-attestation=sha256:{}", "a".repeat(64));
        let given = [
            "--takeover-owner",
            "--release-path=/srv/app/v1",
            "--release-id=v1",
            "--revision=-odd one",
            &attestation,
            "--daemon-log-path=/var/log/shop.log",
            "--daemon-pid-path=/run/shop.pid",
            "--daemon-resume-path=/var/lib/shop/release.json",
        ];
        let options = parsed(&given).expect("good arguments");
        assert_eq!(options.to_arguments(), given.map(OsString::from));
        assert_eq!(
            options.bootstrap().map(|release| release.revision),
            Some("-odd one".to_owned())
        );
        assert!(parsed(&[]).expect("none is needed").bootstrap().is_none());
    }

    #[test]
    fn a_wrong_argument_is_named_with_what_to_do() {
        let table: [(&[&str], &[&str]); 7] = [
            (&["--takeover-owner"], &["--boot-attestation <DIGEST>"]),
            (
                &["--release-path", "/srv/v1"],
                &["--release-id <ID>", "--revision <REVISION>"],
            ),
            (
                &["--release-id", "v1", "--revision", "r"],
                &["--release-path <PATH>"],
            ),
            (
                &["--boot-attestation", "sha256:1"],
                &["--boot-attestation", "64 lower-case"],
            ),
            (
                &["--release-path", "v1", "--release-id", "v1", "--revision", "r"],
                &["--release-path", "must be absolute"],
            ),
            (
                &[
                    "--release-path",
                    "/srv/v1",
                    "--release-id",
                    "../v1",
                    "--revision",
                    "r",
                ],
                &["--release-id", "begin with a letter or digit"],
            ),
            (
                &[
                    "--release-path",
                    "/srv/v1",
                    "--release-id",
                    "v1",
                    "--revision",
                    "",
                ],
                &["--revision", "must not be empty"],
            ),
        ];
        for (arguments, words) in table {
            let said = parsed(arguments).expect_err("a wrong argument");
            for word in words {
                assert!(said.contains(word), "{arguments:?}: {said}");
            }
        }
    }
}
