//! The arguments of the commands that work beside a daemon.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::release_id;

#[derive(Debug, Args)]
pub(in crate::cli) struct RecoverOptions {
    /// Stop each of them: SIGTERM, then SIGKILL.
    #[arg(long)]
    pub force: bool,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ValidateOptions {
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DoctorOptions {
    /// The folder of a release that is going to be deployed: it is checked too, and the daemon may run.
    #[arg(long, value_name = "PATH")]
    pub release_path: Option<PathBuf>,
    /// The id it is going to have.
    #[arg(long, value_name = "ID", value_parser = release_id, requires = "release_path")]
    pub release_id: Option<String>,
    /// The revision it is made from.
    #[arg(long, requires = "release_path")]
    pub revision: Option<String>,
    /// Print every check as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct PredeployCleanupOptions {
    /// The folder of the release that is going to be deployed.
    #[arg(long, value_name = "PATH")]
    pub release_path: Option<PathBuf>,
    /// Print what was done as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct CompletionOptions {
    /// The shell.
    #[arg(value_enum)]
    pub shell: ShellName,
}

/// A shell that completes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ShellName {
    Bash,
    Zsh,
    Fish,
}
