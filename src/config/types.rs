//! The validated config: every value in its own type, every default filled in, every path absolute.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use super::{os_text, signal_name};

/// A config without issues.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Name of the application.
    pub application: String,
    /// The control socket.
    pub control: Control,
    /// The proxy.
    pub proxy: Proxy,
    /// How long stopped releases are remembered.
    pub release_retention: Retention,
    /// Where the daemon records its state, if it does.
    #[serde(with = "os_text::optional")]
    pub state_path: Option<PathBuf>,
    /// What `predeploy-cleanup` stops of an older supervisor.
    pub legacy_takeover: Option<LegacyTakeover>,
    /// The managed processes in config order; exactly one is proxied.
    pub processes: Vec<ProcessDefinition>,
}

/// The control socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// Absolute path, at most 107 bytes.
    #[serde(with = "os_text")]
    pub path: PathBuf,
    /// Permission bits; the umask decides without them.
    pub mode: Option<u32>,
    /// Owner to change to.
    pub owner: Option<Principal>,
    /// Group to change to.
    pub group: Option<Principal>,
}

/// A user or group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Principal {
    /// By number.
    Id(u32),
    /// By name, not looked up yet.
    Name(String),
}

/// The proxy and how traffic moves between releases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proxy {
    /// Address to listen on.
    pub host: String,
    /// Port to listen on; 0 for any free one.
    pub port: u16,
    /// Address under which the proxied process is reached.
    pub upstream_host: String,
    /// Path of the health check where the process names none.
    pub health_path: String,
    /// How long a release may take to become healthy where the process does not say.
    pub health_timeout: Duration,
    /// How long a retired release may keep its connections; zero closes them at once.
    pub drain_timeout: Duration,
    /// From the stop signal to SIGKILL where the process does not say.
    pub force_stop_timeout: Duration,
    /// How long a request waits for a restarting active release; zero never waits.
    pub hold_timeout: Duration,
    /// How many requests may wait at once.
    pub max_held_requests: usize,
    /// How many client connections may be open; derived from the open-file limit when not given.
    pub max_connections: Option<usize>,
    /// After how long an idle client connection is closed.
    pub client_idle_timeout: Duration,
    /// Networks whose forwarding headers are believed.
    pub trusted_proxies: Vec<IpNet>,
}

/// How long stopped releases are remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// How many.
    pub keep: usize,
    /// For how long, if that is limited.
    pub max_age: Option<Duration>,
}

/// What `predeploy-cleanup` stops of an older supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegacyTakeover {
    /// Names of screen sessions.
    pub screens: Vec<String>,
    /// Processes, by command line.
    pub processes: Vec<LegacyProcess>,
    /// From SIGTERM to SIGKILL.
    pub force_stop_timeout: Duration,
}

/// A process of an older supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegacyProcess {
    /// Texts that all occur in its command line; at least one.
    pub includes: Vec<String>,
    /// What to call it.
    pub name: Option<String>,
}

/// One managed process, as configured.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct ProcessDefinition {
    /// Unique id, without `#`.
    pub id: String,
    /// Life cycle.
    pub policy: Policy,
    /// Shell command, a template.
    pub command: String,
    /// Working directory, a template; the release path when not given.
    pub cwd: Option<String>,
    /// Environment variables of its own; the values are templates.
    pub env: BTreeMap<String, String>,
    /// Port or range, if it has one.
    pub port: Option<PortSpec>,
    /// The health check; none when switched off, and for processes that are not proxied.
    pub health: Option<Health>,
    /// Signal that asks it to finish.
    #[serde(with = "signal_name")]
    pub stop_signal: Signal,
    /// From the stop signal to SIGKILL.
    pub graceful_stop: GracefulStop,
    /// From a crash to the restart.
    pub restart_delay: Duration,
    /// How often and how fast it is restarted.
    pub restart: RestartPolicy,
    /// Limits of its memory, if supervised.
    pub memory: Option<MemoryPolicy>,
    /// Commands that take part in stopping it.
    pub lifecycle: Lifecycle,
    /// Whether it stops as soon as its release is retired.
    pub non_blocking_drain: bool,
    /// How many instances run.
    pub replicas: u32,
    /// What a deploy does to a service.
    pub deploy_strategy: DeployStrategy,
    /// How many recent lines of output are kept.
    pub output_lines: usize,
}

/// Life cycle of a managed process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Policy {
    /// Receives the traffic; exactly one.
    Proxied,
    /// Belongs to a release.
    Companion,
    /// Never runs twice.
    Singleton,
    /// Outlives releases.
    Service,
}

/// What a deploy does to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DeployStrategy {
    /// One instance keeps running across deploys.
    Persistent,
    /// Each release starts its own, beside the old one.
    Handoff,
}

/// Which port a process gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PortSpec {
    /// This one; 0 for any free one.
    Fixed(u16),
    /// The first free one of a range, both ends included; `from` is at least 1 and not above `to`.
    Range {
        /// Lowest port.
        from: u16,
        /// Highest port.
        to: u16,
    },
}

/// The health check of the proxied process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Path asked for.
    pub path: String,
    /// How long it may take to become healthy, counted after `start_delay`.
    pub timeout: Duration,
    /// Longest pause between probes.
    pub interval: Duration,
    /// From the start of the process to the first probe.
    pub start_delay: Duration,
    /// How long one probe may take.
    pub request_timeout: Duration,
}

/// How long a process may take to finish after its stop signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GracefulStop {
    /// SIGKILL after this time.
    After(Duration),
    /// It is never killed.
    Indefinite,
}

/// How often and how fast a crashed process is restarted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RestartPolicy {
    /// How many restarts are allowed in the window; no limit without it.
    pub max_restarts: Option<u32>,
    /// Over which time restarts are counted; all of them without it.
    pub window: Option<Duration>,
    /// By how much the delay grows with each restart; at least 1, finite.
    pub backoff_factor: f64,
    /// Longest delay; no limit without it.
    pub max_delay: Option<Duration>,
}

/// Limits of a process's resident memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryPolicy {
    /// Above this it is restarted, in bytes.
    pub limit_bytes: u64,
    /// Above this an event warns, in bytes.
    pub warn_bytes: Option<u64>,
    /// Between two measurements.
    pub check_interval: Duration,
}

/// Commands that take part in stopping a process; none of them is a template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifecycle {
    /// Tells it to take on no more work.
    pub quiet_command: Option<String>,
    /// Returns when the work at hand is done.
    pub drain_command: Option<String>,
    /// Time for draining; zero does not drain.
    pub drain_timeout: Duration,
    /// Runs instead of the stop signal.
    pub stop_command: Option<String>,
}

impl Config {
    /// The process that receives the traffic.
    pub fn proxied(&self) -> &ProcessDefinition {
        self.processes
            .iter()
            .find(|process| process.policy == Policy::Proxied)
            .expect("a validated config has exactly one proxied process")
    }

    /// The definition with this id.
    pub fn process(&self, id: &str) -> Option<&ProcessDefinition> {
        self.processes.iter().find(|process| process.id == id)
    }
}

impl Policy {
    /// The word used in configs, commands and status.
    pub fn as_str(self) -> &'static str {
        match self {
            Policy::Proxied => "proxied",
            Policy::Companion => "companion",
            Policy::Singleton => "singleton",
            Policy::Service => "service",
        }
    }

    /// The policy with this word.
    pub fn parse(word: &str) -> Option<Policy> {
        [
            Policy::Proxied,
            Policy::Companion,
            Policy::Singleton,
            Policy::Service,
        ]
        .into_iter()
        .find(|policy| policy.as_str() == word)
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl DeployStrategy {
    /// The word used in configs.
    pub fn as_str(self) -> &'static str {
        match self {
            DeployStrategy::Persistent => "persistent",
            DeployStrategy::Handoff => "handoff",
        }
    }

    /// The strategy with this word.
    pub fn parse(word: &str) -> Option<DeployStrategy> {
        [DeployStrategy::Persistent, DeployStrategy::Handoff]
            .into_iter()
            .find(|strategy| strategy.as_str() == word)
    }
}

/// Without the values of the environment, which are secrets, so that a definition can be logged.
impl fmt::Debug for ProcessDefinition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ProcessDefinition")
            .field("id", &self.id)
            .field("policy", &self.policy)
            .field("command", &self.command)
            .field("cwd", &self.cwd)
            .field("env", &self.env.keys())
            .field("port", &self.port)
            .field("health", &self.health)
            .field("stop_signal", &self.stop_signal)
            .field("graceful_stop", &self.graceful_stop)
            .field("restart_delay", &self.restart_delay)
            .field("restart", &self.restart)
            .field("memory", &self.memory)
            .field("lifecycle", &self.lifecycle)
            .field("non_blocking_drain", &self.non_blocking_drain)
            .field("replicas", &self.replicas)
            .field("deploy_strategy", &self.deploy_strategy)
            .field("output_lines", &self.output_lines)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fields::{DEPLOY_STRATEGIES, POLICIES};

    #[test]
    fn words_lead_back_to_their_values() {
        for word in POLICIES {
            assert_eq!(Policy::parse(word).map(Policy::as_str), Some(*word));
        }
        for word in DEPLOY_STRATEGIES {
            assert_eq!(
                DeployStrategy::parse(word).map(DeployStrategy::as_str),
                Some(*word)
            );
        }
        assert_eq!(Policy::parse("Proxied"), None);
    }
}
