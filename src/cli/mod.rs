//! The command line: arguments in, one command, an exit status out.
//!
//! Results go to stdout, everything else to stderr. Exit statuses: 0 done, 1 failed, 2 usage, 3 no daemon, 4 unknown.

mod args;
mod booting;
mod completion;
mod connections;
mod daemon;
mod deploy;
mod doctor;
mod ensure_daemon;
mod events;
mod failure;
mod figures;
mod follow;
mod init;
mod keeper;
mod log_output;
mod log_writer;
mod logs;
mod next_step;
mod output;
mod passed_sockets;
mod predeploy_cleanup;
mod progress;
mod ps;
mod recover;
mod restart;
mod rollback;
mod service_status;
mod shutdown;
mod status;
mod stop;
mod style;
mod table;
mod taking_over;
mod upgrade;
mod validate;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use serde_json::json;
use tokio::runtime::Runtime;

use crate::config::{self, ConfigFile, Loaded};
use crate::control::client::{Client, Line};
use crate::error::plain;
use args::{Arguments, Command};
use failure::Failure;

/// Runs the command that `arguments` ask for; the first of them is the program's name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(wrong) => {
            // A closed stdout or stderr is no reason to end differently.
            let _ = wrong.print();
            return ExitCode::from(u8::try_from(wrong.exit_code()).unwrap_or(2));
        }
    };
    if let Command::Daemon(options) = &arguments.command {
        // Before there is a runtime: the keeper has one thread.
        return keeper::run(arguments.config.as_deref(), options);
    }
    if let Command::Keeper(options) = &arguments.command {
        return keeper::run_attached(options.socket);
    }
    if let Command::Engine(options) = &arguments.command {
        return daemon::run(arguments.config.as_deref(), options);
    }
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(failure) => return failure.tell(None),
    };
    let outcome = runtime.block_on(execute(&arguments));
    // A file system call that hangs must not keep a finished command from ending.
    runtime.shutdown_background();
    match outcome {
        Ok(status) => status,
        Err(failure) => failure.tell(arguments.command.wanted_json()),
    }
}

fn runtime() -> Result<Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::internal(format!("cannot start the runtime: {error}")))
}

async fn execute(arguments: &Arguments) -> Result<ExitCode, Failure> {
    match &arguments.command {
        // These need no config.
        Command::Init => return init::run(arguments.config.as_deref()).map(|()| ExitCode::SUCCESS),
        Command::Completion(options) => return completion::run(options).map(|()| ExitCode::SUCCESS),
        _ => {}
    }
    let file = locate(arguments.config.as_deref())?;
    let done = match &arguments.command {
        Command::Daemon(_) | Command::Engine(_) | Command::Keeper(_) => {
            unreachable!("these have runtimes of their own")
        }
        Command::EnsureDaemon(options) => ensure_daemon::run(&file, options).await,
        Command::Deploy(options) => deploy::run(&file, options).await,
        Command::Rollback(options) => rollback::run(&file, options).await,
        Command::Restart(options) => restart::run(&file, options).await,
        Command::Status => status::run(&file).await,
        Command::Connections(options) => connections::run(&file, options).await,
        Command::Ps(options) => ps::run(&file, options).await,
        Command::Stop(options) => stop::run(&file, options).await,
        Command::Shutdown => shutdown::run(&file).await,
        Command::Upgrade(options) => upgrade::run(&file, options).await,
        Command::Events(options) => events::run(&file, options).await,
        Command::Logs(options) => logs::run(&file, options).await,
        Command::PredeployCleanup(options) => predeploy_cleanup::run(&file, options).await,
        Command::Doctor(options) => return doctor::run(&file, options).await,
        Command::Init | Command::Completion(_) => unreachable!("they need no config"),
        Command::Recover(options) => return recover::run(&file, options).await,
        Command::Validate(options) => return validate::run(&file, options).await,
    };
    done.map(|()| ExitCode::SUCCESS)
}

fn locate(explicit: Option<&Path>) -> Result<ConfigFile, Failure> {
    // An absolute path works also where the working directory is gone.
    if let Some(path) = explicit.filter(|path| path.is_absolute()) {
        return Ok(ConfigFile::at(path, path));
    }
    let here = std::env::current_dir().map_err(|error| {
        Failure::internal(format!(
            "cannot tell the working directory: {}; change to a folder that exists, or name the config by its absolute \
             path",
            plain(&error)
        ))
    })?;
    Ok(config::locate(explicit, &here)?)
}

/// For whoever cannot reach a daemon because of its config.
const WITHOUT_CONFIG: &str =
    "a daemon that runs goes on with the config it has; to end it without reading this one, send it SIGTERM";

/// Loads the config and connects to its daemon.
async fn connect(file: &ConfigFile) -> Result<Client, Failure> {
    Ok(Client::connect(&load(file).await?.config.control).await?)
}

/// The same for a command by which the daemon takes on what the config says now: tells what is worth a look in it.
async fn connect_and_warn(file: &ConfigFile) -> Result<Client, Failure> {
    let Loaded { config, warnings, .. } = load(file).await?;
    warnings.iter().for_each(daemon::tell_warning);
    Ok(Client::connect(&config.control).await?)
}

async fn load(file: &ConfigFile) -> Result<Loaded, Failure> {
    let loaded = config::load(file).await;
    loaded.map_err(|error| Failure::from(error).with_hint(WITHOUT_CONFIG))
}

/// Asks the daemon one thing and waits for the answer; `watch` sees the lines before it.
async fn ask(
    client: &mut Client,
    request: serde_json::Value,
    watch: impl FnMut(Line),
) -> Result<Line, Failure> {
    let request = request.as_object().cloned().unwrap_or_default();
    let answer = client.request(&request, watch).await?;
    match answer.get("status") {
        Some(status) if status == "success" => Ok(answer),
        _ => Err(Failure::from_daemon(&answer)),
    }
}

/// Asks a command without parameters and prints the answer.
async fn ask_and_print(file: &ConfigFile, command: &str) -> Result<(), Failure> {
    let mut client = connect(file).await?;
    let answer = ask(&mut client, json!({ "command": command }), |_| ()).await?;
    output::print_json(&answer)?;
    Ok(())
}
