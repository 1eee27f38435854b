//! The arguments of the commands that work beside a daemon.

use clap::Args;

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
