//! The engine of a daemon: its whole life, from its config to its last log line.

use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;

use super::args::EngineOptions;
use super::booting::{Booted, boot};
use super::failure::Failure;
use super::log_writer::{LogWriter, Reopening};
use super::passed_sockets::PassedSockets;
use super::taking_over::{self, TakingOver};
use super::{output, service_status};
use crate::config::{self, Config, ConfigFile, Issue, Loaded};
use crate::control::server::{Existing, Server};
use crate::control::socket::is_live;
use crate::daemon::{
    ConfigSource, Engine, OWNER, ResumeError, ResumeFile, Retired, Start, SuccessionError, listen,
    note_event, noted_config, noted_events, rehearse,
};
use crate::error::{ErrorCode, plain};
use crate::events::{Event, EventLog};
use crate::fail_point;
use crate::host::platform::name_process;
use crate::host::{Estate, PidFile, ProcessIdentity};
use crate::keeper::{Inheritance, KeeperHost, inherited_socket};
use crate::ops::introduction::{Listener, introduce};

/// The names under which the keeper holds the listeners.
const PROXY: &str = "proxy";
const CONTROL: &str = "control";

/// Runs the engine to its end; it serves what is in flight to the end also where another program takes over.
pub(super) fn run(config: Option<&Path>, options: &EngineOptions) -> ExitCode {
    let lived = super::runtime().and_then(|runtime| {
        let lived = runtime.block_on(async { live(&super::locate(config)?, options).await });
        match &lived {
            // What still stands in it is another engine's by now: it must neither go on nor be tidied up.
            Ok(Some(_)) => std::mem::forget(runtime),
            // A file system call that hangs must not keep a finished engine from ending.
            _ => runtime.shutdown_background(),
        }
        lived
    });
    let ended = lived.and_then(|retired| match retired {
        None => Ok(()),
        Some(retired) => retired
            .hand_over()
            .map_err(|error| Failure::internal(format!("cannot hand over connections: {}", plain(&error)))),
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(None),
    }
}

/// Whether an engine of this program could go on from such notes.
fn understands(notes: &Estate) -> Result<(), String> {
    fail_point::taking_over("rehearsing");
    rehearse(notes).map_err(|error| error.to_string())
}

async fn live(file: &ConfigFile, options: &EngineOptions) -> Result<Option<Retired>, Failure> {
    // It was started by another name, which would stand in every list of processes.
    name_process(c"rollbridge");
    // Before anything else is opened, so that the number still means what the keeper said.
    let keeper = nix::unistd::getppid().as_raw();
    let connected = inherited_socket(options.socket)
        .and_then(|socket| KeeperHost::connect(socket, Some(keeper), understands));
    let (host, mut left) = connected.map_err(|error| {
        let reason = plain(&error);
        Failure::internal(format!(
            "cannot reach the keeper: {reason}; start it with rollbridge daemon"
        ))
    })?;
    let host = Arc::new(host);
    // From here on no signal ends the daemon halfway.
    let mut signals = Signals::listen()
        .map_err(|error| Failure::internal(format!("cannot listen for signals: {error}")))?;
    let noted = noted_config(&left.estate).map_err(ResumeError::from)?;
    let mut passed = PassedSockets::among(&mut left.listeners);
    let options = &options.daemon;
    let mut taking_over = None;
    let (config, listener) = match (noted, left.listeners.remove(PROXY)) {
        // Nothing is evaluated again: this is the engine after another.
        (Some(config), Some(listener)) => (config, TcpListener::from(listener)),
        _ => {
            let loaded = tokio::select! {
                loaded = config::load(file) => loaded,
                // Nothing is there yet that would have to be stopped.
                () = signals.end() => {
                    host.farewell().await;
                    return Ok(None);
                }
            };
            let Loaded { config, warnings, .. } = loaded?;
            warnings.iter().for_each(tell_warning);
            if let Some(attestation) = options.takeover() {
                taking_over = taking_over::ask(&config, attestation, keeper).await?;
            } else if !passed.has_control(&config) {
                refuse_if_live(&config).await?;
            }
            let listener = match &taking_over {
                Some(owner) => owner.proxy.try_clone().map_err(|error| cannot_hold(&error))?,
                None => find_listener(&mut passed, &config)?,
            };
            passed.refuse_the_rest(&config)?;
            (Arc::new(config), listener)
        }
    };
    let control = existing_control(&mut passed, &mut left, &config);
    let held = listener.as_fd().try_clone_to_owned();
    host.hold(PROXY, held.map_err(|error| cannot_hold(&error))?);
    let mut log = LogWriter::start(host.clone(), options.log().as_ref())
        .map_err(|error| Failure::internal(format!("cannot start the log writer: {error}")))?;
    let noted = noted_events(&left.estate).map_err(ResumeError::from)?;
    log.go_on(&left.estate, &noted);
    let sink = {
        let (print, host) = (log.sink(), host.clone());
        move |event: &Arc<Event>| {
            note_event(&*host, event);
            print(event);
        }
    };
    let events = Arc::new(EventLog::resume(noted, sink));
    log.report_to(events.clone());
    let start = Start {
        config,
        source: ConfigSource::File(file.clone()),
        listener,
        host: host.clone(),
        events,
        environment: std::env::vars_os().collect(),
        daemon: ProcessIdentity::of(keeper),
        past: left.past.clone(),
        handovers: left.take_handovers(),
        bootstrap: options.bootstrap(),
        succession: taking_over.as_ref().map(|owner| owner.succession.clone()),
        owner: left.listeners.remove(OWNER),
    };
    let outside = Outside {
        log: options.log().map(|file| log.reopening(file)),
        pid_file: options.pid_file(keeper),
        control,
        keeper,
        taking_over,
        resume_file: options.resume_file(&start.config.application),
    };
    let served = serve(start, left, host.clone(), signals, outside).await;
    log.finish().await;
    match served? {
        Served::ToTheEnd => Ok(None),
        Served::UntilUpgraded(engine) => Ok(engine.retire(&host).await),
    }
}

/// How the service of an engine ended.
enum Served {
    /// The daemon ends.
    ToTheEnd,
    /// Another program takes over.
    UntilUpgraded(Engine),
}

/// Ends this engine as a crash would: whatever it tidied up on its way would end the processes it has taken over.
fn give_up(failure: Failure) -> ! {
    failure.tell(None);
    std::process::exit(1)
}

fn cannot_hold(error: &std::io::Error) -> Failure {
    Failure::internal(format!(
        "cannot pass the listeners to the keeper: {}; raise the limit of open files (ulimit -n, LimitNOFILE)",
        plain(error)
    ))
}

/// What of a daemon its operator meets beside its sockets.
struct Outside {
    log: Option<Reopening>,
    pid_file: Option<PidFile>,
    control: Option<Existing>,
    keeper: i32,
    taking_over: Option<TakingOver>,
    resume_file: Option<ResumeFile>,
}

/// The control socket that is there already.
fn existing_control(passed: &mut PassedSockets, left: &mut Inheritance, config: &Config) -> Option<Existing> {
    let held = left.listeners.remove(CONTROL).map(UnixListener::from);
    match passed.control(config) {
        Some(listener) => Some(Existing::Passed {
            listener,
            was_used: held.is_some(),
        }),
        None => held.map(Existing::Held),
    }
}

async fn serve(
    start: Start,
    left: Inheritance,
    host: Arc<KeeperHost>,
    signals: Signals,
    outside: Outside,
) -> Result<Served, Failure> {
    if left.past.is_there() {
        fail_point::taking_over("taking over");
    }
    let Outside {
        log,
        pid_file,
        control,
        keeper,
        taking_over,
        resume_file,
    } = outside;
    let resumed = left.past.is_there();
    let (release, named_by) = match (&start.bootstrap, &resume_file) {
        _ if resumed => (None, None),
        (None, Some(file)) => (
            file.read()
                .map_err(|error| Failure::internal(error.to_string()))?,
            Some(file),
        ),
        (given, _) => (given.clone(), None),
    };
    let engine = Engine::resume(start, left.estate, |error| give_up(error.into()))?;
    let signals = tokio::spawn(signals.obey(engine.clone(), log));
    let keeper_lost = {
        let (engine, host) = (engine.clone(), host.clone());
        tokio::spawn(async move {
            host.lost().await;
            engine.shutdown().await;
        })
    };
    if let Some(release) = release {
        match boot(&engine, &release, named_by).await? {
            Booted::Serves => {}
            Booted::WasEnded => return end(&host, &keeper_lost).await,
        }
    }
    let has_taken_over = taking_over.is_some();
    let control = match taking_over {
        Some(owner) => match take_place(&engine, owner, &host).await? {
            Some(control) => Some(control),
            None => return end(&host, &keeper_lost).await,
        },
        None => control,
    };
    let server = match Server::bind(&engine, control) {
        Ok(server) => server,
        // The next one may do better.
        Err(error) if resumed => give_up(error.into()),
        Err(error) => {
            engine.shutdown().await;
            return Err(error.into());
        }
    };
    match server.listener() {
        Ok(listener) => host.hold(CONTROL, listener),
        Err(error) if resumed => give_up(cannot_hold(&error)),
        Err(error) => return Err(cannot_hold(&error)),
    }
    if let Some(pid_file) = pid_file.as_ref().filter(|_| !resumed)
        && let Err(error) = pid_file.write()
    {
        if has_taken_over {
            // There is no way back; the daemon serves, and can be found without the file.
            output::tell(&format!("warning: {error}"));
        } else {
            engine.shutdown().await;
            server.serve(engine).await;
            return Err(Failure::internal(error.to_string()));
        }
    }
    host.ready();
    if let Some(file) = resume_file {
        tokio::spawn(engine.clone().keep_resume_file(file));
    }
    if service_status::is_wanted() {
        tokio::spawn(service_status::keep_told(engine.clone(), host.clone()));
        tokio::spawn(service_status::keep_watched(engine.clone(), host.clone(), keeper));
    }
    server.serve(engine.clone()).await;
    if engine.is_retiring() {
        signals.abort();
        keeper_lost.abort();
        return Ok(Served::UntilUpgraded(engine));
    }
    if let Some(pid_file) = pid_file {
        pid_file.remove();
    }
    signals.abort();
    end(&host, &keeper_lost).await
}

/// A listener for the proxy, of the service manager's or of one's own.
fn find_listener(passed: &mut PassedSockets, config: &Config) -> Result<TcpListener, Failure> {
    match passed.proxy(config) {
        Some(listener) => Ok(listener),
        None => listen(config).map_err(|error| Failure::internal(error.to_string())),
    }
}

/// The last step into another daemon's place. Where it fails, that one goes on; none where somebody ended this one meanwhile.
async fn take_place(
    engine: &Engine,
    owner: TakingOver,
    host: &KeeperHost,
) -> Result<Option<Existing>, Failure> {
    if let Err(error) = engine.take_place().await {
        engine.shutdown().await;
        return match error {
            SuccessionError::Ended => Ok(None),
            error => Err(Failure::new(ErrorCode::UpgradeFailed, error.to_string())),
        };
    }
    // Without it a next engine would only miss the clients that have not come over by then.
    if let Ok(way) = owner.succession.handle() {
        host.hold(OWNER, way);
    }
    drop(owner.asked);
    Ok(Some(Existing::Held(owner.control)))
}

/// The last word to the keeper, unless that is what has ended.
async fn end(host: &KeeperHost, keeper_lost: &JoinHandle<()>) -> Result<Served, Failure> {
    match keeper_lost.is_finished() {
        false => {
            host.farewell().await;
            Ok(Served::ToTheEnd)
        }
        true => Err(Failure::internal(
            "the keeper process of the daemon has ended, so its processes were stopped; start the daemon again"
                .to_owned(),
        )),
    }
}

/// The signals a daemon knows. Those that come before anybody acts on them are kept.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Somebody wants the daemon to end.
    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// SIGTERM and SIGINT begin a shutdown; any more of them change nothing. SIGHUP opens the log again, if it has a file of
    /// its own, and is ignored otherwise: a terminal that goes away does not end the daemon.
    async fn obey(mut self, engine: Engine, log: Option<Reopening>) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
                _ = self.hang_up.recv() => {
                    if let Some(log) = &log {
                        engine.events().record(log.clone().reopen().await);
                    }
                    continue;
                }
            }
            let engine = engine.clone();
            tokio::spawn(async move { engine.shutdown().await });
        }
    }
}

pub(super) fn tell_warning(warning: &Issue) {
    output::tell(&format!("warning: {}; {}", warning.message, warning.fix));
}

/// A second daemon on the same socket is refused before it takes anything, with the name of the first.
async fn refuse_if_live(config: &Config) -> Result<(), Failure> {
    let path = &config.control.path;
    if !is_live(path) {
        return Ok(());
    }
    let who = match introduce(&config.control).await {
        Listener::Daemon(daemon) => {
            let release = daemon.active_release_id.as_ref();
            let release = release.map_or("no active release".to_owned(), |id| {
                format!("release {id} active")
            });
            format!("the daemon of {}, with {release},", daemon.application)
        }
        Listener::Stranger(_) | Listener::Nobody => "a program that does not answer as a daemon".to_owned(),
    };
    Err(Failure::new(
        ErrorCode::Internal,
        format!(
            "{who} already listens on {}; use it with rollbridge deploy, end it with rollbridge shutdown, or set another \
             control.path",
            path.display()
        ),
    ))
}
