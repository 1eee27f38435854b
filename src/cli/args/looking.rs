//! The arguments of the commands that look at a running daemon.

use clap::Args;

use super::release_id;

#[derive(Debug, Args)]
pub(in crate::cli) struct PsOptions {
    /// Print the list anew every second, until Ctrl-C.
    #[arg(long)]
    pub watch: bool,
    /// Print JSON: a list, or a list a line with --watch.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct EventsOptions {
    /// Only the newest so many.
    #[arg(long, value_name = "COUNT")]
    pub limit: Option<usize>,
    /// Go on printing events as they happen, until Ctrl-C.
    #[arg(long)]
    pub follow: bool,
    /// Print JSON: a list, or a line for each event with --follow.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct LogsOptions {
    /// One process, such as worker#0, or all replicas by their base id.
    #[arg(long, value_name = "ID")]
    pub process: Option<String>,
    /// One release; without it all that are not stopped, with the services and singletons.
    #[arg(long, value_name = "ID", value_parser = release_id)]
    pub release: Option<String>,
    /// Go on printing lines as they are written, also those of later releases, until Ctrl-C.
    #[arg(long)]
    pub follow: bool,
    /// Print JSON: the lines of each process, or one object a line with --follow.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ConnectionsOptions {
    /// Those of one release.
    #[arg(long, value_name = "ID", value_parser = release_id)]
    pub release: Option<String>,
    /// Close the connection with this number.
    #[arg(long, value_name = "NUMBER")]
    pub close: Option<u64>,
    /// Print the connections as JSON.
    #[arg(long)]
    pub json: bool,
}
