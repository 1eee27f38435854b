//! The arguments of every command.

mod beside;
mod daemon;
mod looking;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::daemon::check_id;

pub(super) use beside::{
    CompletionOptions, DoctorOptions, PredeployCleanupOptions, RecoverOptions, ShellName, ValidateOptions,
};
pub(super) use daemon::{DaemonOptions, EngineOptions, EnsureOptions, KeeperOptions};
pub(super) use looking::{ConnectionsOptions, EventsOptions, LogsOptions, PsOptions};

/// Process supervisor and local traffic switcher for zero-downtime deploys.
#[derive(Debug, Parser)]
#[command(name = "rollbridge", version, max_term_width = 100)]
pub(super) struct Arguments {
    /// The config; without it, rollbridge.js, .mjs, .cjs, .ts, .mts or .json in this folder.
    #[arg(short, long, global = true, value_name = "PATH")]
    pub config: Option<PathBuf>,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the daemon in the foreground; its events are JSON lines on stdout.
    Daemon(DaemonOptions),
    /// The part of the daemon that does the work; only the daemon itself starts it.
    #[command(hide = true)]
    Engine(EngineOptions),
    /// The part of a daemon inside Node that starts its processes; only that daemon itself starts it.
    #[command(hide = true)]
    Keeper(KeeperOptions),
    /// Start a daemon in the background unless one answers; print its status.
    EnsureDaemon(EnsureOptions),
    /// Start a release, check its health, switch traffic to it, and let the old one drain.
    Deploy(DeployOptions),
    /// Go back to the release that was active before, or to the one named.
    Rollback(RollbackOptions),
    /// Print how things stand, as JSON.
    Status,
    /// List the processes: what runs, what drains and why it still does.
    Ps(PsOptions),
    /// List the open connections of each release, or close one.
    Connections(ConnectionsOptions),
    /// Stop the active release, or the one named; services stay.
    Stop(StopOptions),
    /// Restart processes in place: all but the proxied one, one by its id, or those of a policy.
    Restart(RestartOptions),
    /// Stop every process and end the daemon.
    Shutdown,
    /// Let another version of this program take over the running daemon; nothing is interrupted.
    Upgrade(UpgradeOptions),
    /// Print the daemon's recent events.
    Events(EventsOptions),
    /// Print what processes wrote lately.
    Logs(LogsOptions),
    /// List what a daemon that crashed has left running; with --force, stop it.
    Recover(RecoverOptions),
    /// Make ready for a deploy: end what cannot be used, what is left over, and an older supervisor.
    PredeployCleanup(PredeployCleanupOptions),
    /// Check the config and report every issue with a fix.
    Validate(ValidateOptions),
    /// Check whether a daemon could start here, or a release be deployed.
    Doctor(DoctorOptions),
    /// Write a starter config, never over an existing file.
    Init,
    /// Print a script that completes commands and options in a shell.
    Completion(CompletionOptions),
}

impl Command {
    /// How the result is wanted as JSON, where it would be text by itself.
    pub fn wanted_json(&self) -> Option<Json> {
        match self {
            Command::EnsureDaemon(options) => options.json.then_some(Json::Indented),
            Command::Ps(options) if options.watch => options.json.then_some(Json::Lines),
            Command::Connections(options) => options.json.then_some(Json::Indented),
            Command::Ps(options) => options.json.then_some(Json::Indented),
            Command::Events(options) if options.follow => options.json.then_some(Json::Lines),
            Command::Events(options) => options.json.then_some(Json::Indented),
            Command::Logs(options) if options.follow => options.json.then_some(Json::Lines),
            Command::Logs(options) => options.json.then_some(Json::Indented),
            Command::Recover(options) => options.json.then_some(Json::Indented),
            Command::PredeployCleanup(options) => options.json.then_some(Json::Indented),
            Command::Doctor(options) => options.json.then_some(Json::Indented),
            Command::Validate(options) => options.json.then_some(Json::Indented),
            _ => None,
        }
    }
}

/// How JSON is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Json {
    /// One value over several lines.
    Indented,
    /// One value a line.
    Lines,
}

/// The daemon's own rule, applied before it is asked.
fn release_id(id: &str) -> Result<String, String> {
    check_id(id).map_err(|error| error.to_string())
}

#[derive(Debug, Args)]
#[command(mut_group("daemon_start", |group| group.requires("ensure_daemon")))]
pub(super) struct DeployOptions {
    /// The folder of the prepared release.
    #[arg(long, value_name = "PATH")]
    pub release_path: PathBuf,
    /// The release's id; without it the revision, or the UTC time.
    #[arg(long, value_name = "ID", value_parser = release_id)]
    pub release_id: Option<String>,
    /// The revision it was made from.
    #[arg(long)]
    pub revision: Option<String>,
    /// Queue behind a running deploy instead of failing.
    #[arg(long)]
    pub wait: bool,
    /// Return only when the previous release has drained and stopped.
    #[arg(long)]
    pub wait_drained: bool,
    /// Print each step on stderr, also when it is not a terminal.
    #[arg(long)]
    pub progress: bool,
    /// Start a daemon in the background first, unless one answers.
    #[arg(long)]
    pub ensure_daemon: bool,
    #[command(flatten)]
    pub daemon: EnsureOptions,
}

#[derive(Debug, Args)]
pub(super) struct RollbackOptions {
    /// Which release; without it the one that was active before.
    #[arg(long, value_name = "ID", value_parser = release_id)]
    pub release_id: Option<String>,
    /// Queue behind a running deploy instead of failing.
    #[arg(long)]
    pub wait: bool,
    /// Print each step on stderr, also when it is not a terminal.
    #[arg(long)]
    pub progress: bool,
}

#[derive(Debug, Args)]
pub(super) struct RestartOptions {
    /// One process, such as worker#0, or all replicas by their base id.
    #[arg(long, value_name = "ID")]
    pub process: Option<String>,
    /// The processes of a policy: companion, singleton or service.
    #[arg(long, value_parser = ["companion", "singleton", "service"])]
    pub policy: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct UpgradeOptions {
    /// The program that takes over; without it, the one that runs this command.
    #[arg(long, value_name = "PATH")]
    pub binary: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct StopOptions {
    /// Which release; without it the active one.
    #[arg(long, value_name = "ID", value_parser = release_id)]
    pub release_id: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn what_the_daemon_would_refuse_is_a_wrong_argument() {
        for (arguments, fits) in [
            (["stop", "--release-id", "v1.2_3-a"], true),
            (["stop", "--release-id", "../v1"], false),
            (["rollback", "--release-id", ""], false),
            (["restart", "--policy", "service"], true),
            (["restart", "--policy", "proxied"], false),
        ] {
            let parsed = Arguments::try_parse_from(["rollbridge"].into_iter().chain(arguments));
            assert_eq!(parsed.is_ok(), fits, "{arguments:?}");
        }
    }
}
