//! From a checked config to the typed one: defaults filled in, paths made absolute.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

use super::Origin;
use super::checked::{Checked, CheckedObject};
use super::lexical;
use super::types::{
    Config, Control, DeployStrategy, GracefulStop, Health, LegacyProcess, LegacyTakeover, Lifecycle,
    MemoryPolicy, Policy, PortSpec, Principal, ProcessDefinition, Proxy, RestartPolicy, Retention,
};

/// The typed config. There is one exactly if nothing is broken and every rule holds.
pub fn resolve(config: &CheckedObject, origin: &Origin) -> Option<Config> {
    let proxy = resolve_proxy(&config.object("proxy")?)?;
    let retention = config.object("releaseRetention")?;
    let processes = config.list("processes");
    Some(Config {
        application: application(config, origin)?,
        control: resolve_control(config, origin)?,
        release_retention: Retention {
            keep: count(retention.integer("keep")?),
            max_age: unless_zero(milliseconds(&retention, "maxAgeMs")?),
        },
        state_path: config
            .text("statePath")
            .map(|path| lexical::absolute(&origin.folder, Path::new(&path))),
        legacy_takeover: match config.object("legacyTakeover") {
            Some(takeover) => Some(resolve_legacy_takeover(&takeover, &proxy)?),
            None => None,
        },
        processes: processes
            .iter()
            .map(|(_, process)| match process {
                Checked::Object(process) => resolve_process(process, &proxy),
                _ => None,
            })
            .collect::<Option<_>>()?,
        proxy,
    })
}

/// The application's name, or that of the config's folder; none at the root of the file system.
pub fn application(config: &CheckedObject, origin: &Origin) -> Option<String> {
    match config.value("application") {
        Checked::Text(name) => Some(name),
        Checked::Unset => origin.application.clone(),
        _ => None,
    }
}

/// The path of the control socket, absolute.
pub fn control_path(config: &CheckedObject, origin: &Origin) -> Option<PathBuf> {
    match config.object("control")?.value("path") {
        Checked::Text(path) => Some(lexical::absolute(&origin.folder, Path::new(&path))),
        Checked::Unset => Some(PathBuf::from(format!(
            "/tmp/rollbridge-{}.sock",
            application(config, origin)?
        ))),
        _ => None,
    }
}

/// The port of a process; none when it has none, or it is broken.
pub fn port_of(process: &CheckedObject) -> Option<PortSpec> {
    match process.value("port") {
        Checked::Integer(port) => Some(PortSpec::Fixed(u16::try_from(port).ok()?)),
        Checked::Object(range) => {
            let end = |name| range.integer(name).and_then(|port| u16::try_from(port).ok());
            Some(PortSpec::Range {
                from: end("from")?,
                to: end("to")?,
            })
        }
        _ => None,
    }
}

fn resolve_control(config: &CheckedObject, origin: &Origin) -> Option<Control> {
    let control = config.object("control")?;
    Some(Control {
        path: control_path(config, origin)?,
        mode: if let Checked::Mode(mode) = control.value("mode") {
            Some(mode)
        } else {
            None
        },
        owner: principal(&control, "owner"),
        group: principal(&control, "group"),
    })
}

fn principal(control: &CheckedObject, name: &str) -> Option<Principal> {
    if let Checked::Principal(principal) = control.value(name) {
        Some(principal)
    } else {
        None
    }
}

fn resolve_proxy(proxy: &CheckedObject) -> Option<Proxy> {
    let host = proxy.text("host")?;
    Some(Proxy {
        upstream_host: proxy.text("upstreamHost").unwrap_or_else(|| reachable(&host)),
        host,
        port: u16::try_from(proxy.integer("port")?).ok()?,
        health_path: proxy.text("healthPath")?,
        health_timeout: milliseconds(proxy, "healthTimeoutMs")?,
        drain_timeout: milliseconds(proxy, "drainTimeoutMs")?,
        force_stop_timeout: milliseconds(proxy, "forceStopTimeoutMs")?,
        hold_timeout: milliseconds(proxy, "holdTimeoutMs")?,
        max_held_requests: count(proxy.integer("maxHeldRequests")?),
        max_connections: proxy.integer("maxConnections").map(count),
        client_idle_timeout: milliseconds(proxy, "clientIdleTimeoutMs")?,
        trusted_proxies: proxy
            .list("trustedProxies")
            .into_iter()
            .filter_map(network)
            .collect(),
    })
}

/// Where an application on this machine is reached when the proxy listens on `host`.
fn reachable(host: &str) -> String {
    let address = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>();
    if address.is_ok_and(|address| address.is_unspecified()) {
        "127.0.0.1".to_owned()
    } else {
        host.to_owned()
    }
}

fn network((_, element): (usize, Checked)) -> Option<IpNet> {
    if let Checked::Network(network) = element {
        Some(network)
    } else {
        None
    }
}

fn resolve_legacy_takeover(takeover: &CheckedObject, proxy: &Proxy) -> Option<LegacyTakeover> {
    let processes = takeover.list("processes");
    Some(LegacyTakeover {
        screens: texts(takeover, "screens"),
        processes: processes
            .iter()
            .map(|(_, process)| match process {
                Checked::Object(process) => Some(LegacyProcess {
                    includes: texts(process, "includes"),
                    name: process.text("name"),
                }),
                _ => None,
            })
            .collect::<Option<_>>()?,
        force_stop_timeout: milliseconds(takeover, "forceStopTimeoutMs").unwrap_or(proxy.force_stop_timeout),
    })
}

fn texts(object: &CheckedObject, name: &str) -> Vec<String> {
    let text = |(_, element)| {
        if let Checked::Text(text) = element {
            Some(text)
        } else {
            None
        }
    };
    object.list(name).into_iter().filter_map(text).collect()
}

fn resolve_process(process: &CheckedObject, proxy: &Proxy) -> Option<ProcessDefinition> {
    let policy = Policy::parse(&process.text("policy")?)?;
    let Checked::Environment(env) = process.value("env") else {
        return None;
    };
    let Checked::Signal(stop_signal) = process.value("stopSignal") else {
        return None;
    };
    let Checked::Boolean(non_blocking_drain) = process.value("nonBlockingDrain") else {
        return None;
    };
    Some(ProcessDefinition {
        id: process.text("id")?,
        policy,
        command: process.text("command")?,
        cwd: process.text("cwd"),
        env,
        port: port_of(process),
        health: if policy == Policy::Proxied {
            resolve_health(process, proxy)
        } else {
            None
        },
        stop_signal,
        graceful_stop: match process.value("gracefulStopMs") {
            Checked::Integer(ms) => GracefulStop::After(Duration::from_millis(ms)),
            Checked::Text(_) => GracefulStop::Indefinite,
            _ => GracefulStop::After(proxy.force_stop_timeout),
        },
        restart_delay: milliseconds(process, "restartDelayMs")?,
        restart: resolve_restart(&process.object("restart")?)?,
        memory: match process.object("memory") {
            Some(memory) => Some(resolve_memory(&memory)?),
            None => None,
        },
        lifecycle: resolve_lifecycle(&process.object("lifecycle")?)?,
        non_blocking_drain,
        replicas: u32::try_from(process.integer("replicas")?).ok()?,
        deploy_strategy: DeployStrategy::parse(&process.text("deployStrategy")?)?,
        output_lines: count(process.integer("outputLines")?),
    })
}

/// Without a `health` block the check is on; `false` is the only way to switch it off.
fn resolve_health(process: &CheckedObject, proxy: &Proxy) -> Option<Health> {
    let health = match process.value("health") {
        Checked::Object(health) => health,
        Checked::Unset => CheckedObject::new(super::fields::HEALTH, Vec::new()),
        _ => return None,
    };
    Some(Health {
        path: health.text("path").unwrap_or_else(|| proxy.health_path.clone()),
        timeout: milliseconds(&health, "timeoutMs").unwrap_or(proxy.health_timeout),
        interval: milliseconds(&health, "intervalMs")?,
        start_delay: milliseconds(&health, "startDelayMs")?,
        request_timeout: milliseconds(&health, "requestTimeoutMs")?,
    })
}

fn resolve_restart(restart: &CheckedObject) -> Option<RestartPolicy> {
    let Checked::Number(backoff_factor) = restart.value("backoffFactor") else {
        return None;
    };
    Some(RestartPolicy {
        max_restarts: restart
            .integer("maxRestarts")
            .and_then(|restarts| u32::try_from(restarts).ok()),
        window: unless_zero(milliseconds(restart, "windowMs")?),
        backoff_factor,
        max_delay: unless_zero(milliseconds(restart, "maxDelayMs")?),
    })
}

fn resolve_memory(memory: &CheckedObject) -> Option<MemoryPolicy> {
    Some(MemoryPolicy {
        limit_bytes: memory.integer("limitBytes")?,
        warn_bytes: memory.integer("warnBytes").filter(|bytes| *bytes > 0),
        check_interval: milliseconds(memory, "checkIntervalMs")?,
    })
}

fn resolve_lifecycle(lifecycle: &CheckedObject) -> Option<Lifecycle> {
    Some(Lifecycle {
        quiet_command: lifecycle.text("quietCommand"),
        drain_command: lifecycle.text("drainCommand"),
        drain_timeout: milliseconds(lifecycle, "drainTimeoutMs")?,
        stop_command: lifecycle.text("stopCommand"),
    })
}

fn milliseconds(object: &CheckedObject, name: &str) -> Option<Duration> {
    object.integer(name).map(Duration::from_millis)
}

fn unless_zero(duration: Duration) -> Option<Duration> {
    Some(duration).filter(|duration| !duration.is_zero())
}

/// A count; on a machine whose words are smaller than the number, as many as there can be.
fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
