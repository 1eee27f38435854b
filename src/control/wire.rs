//! The wire JSON of everything the daemon says. Field names are a promise: other tools parse them.

use serde_json::{Map, Value, json};

use crate::clock::Timestamp;
use crate::daemon::state::Record;
use crate::daemon::status::{ProcessStatus, ReleaseStatus};
use crate::daemon::{Bootstrap, Deployed, EngineError, FollowedLine, ProcessLogs, ReleaseConnection, Status};
use crate::error::ErrorCode;
use crate::events::Event;
use crate::host::{Exit, RUNTIME_FORMAT, Resident, RuntimeCopy};
use crate::process::LogLine;
use crate::release::{Detail, Step};

/// The version of the protocol; raised when an older client would misunderstand.
pub const PROTOCOL_VERSION: u32 = 1;

/// An error line.
pub fn error(code: ErrorCode, message: &str) -> Map<String, Value> {
    object(json!({ "status": "error", "error": message, "code": code.as_str() }))
}

/// What the engine refused or failed to do.
pub fn engine_error(failed: &EngineError) -> Map<String, Value> {
    let mut line = error(failed.code(), &failed.to_string());
    if matches!(failed, EngineError::Upgrading) {
        // Nothing of it has begun; whoever takes over can be asked the same.
        line.insert("retry".into(), true.into());
    }
    if let EngineError::Restart(error) = failed {
        line.insert("processId".into(), error.process_id().into());
    }
    if let EngineError::Deploy(deploy) = failed {
        let failure = &deploy.failure;
        line.insert("phase".into(), deploy.phase.as_str().into());
        line.insert("releaseId".into(), deploy.release_id.clone().into());
        line.insert("activeReleaseId".into(), deploy.active_release_id.clone().into());
        line.insert("processId".into(), failure.process_id.clone().into());
        line.insert(
            "exitCode".into(),
            failure.exit.and_then(|exit| exit.code()).into(),
        );
        line.insert(
            "exitSignal".into(),
            failure.exit.and_then(|exit| exit.signal_name()).into(),
        );
        line.insert("logs".into(), failure.logs.iter().map(log_line).collect());
    }
    line
}

/// A success line with these fields.
pub fn success(fields: Value) -> Map<String, Value> {
    let mut line = object(json!({ "status": "success" }));
    line.extend(object(fields));
    line
}

/// What a deploy came to.
pub fn deployed(deployed: &Deployed) -> Value {
    json!({ "activeReleaseId": deployed.active_release_id, "previousReleaseId": deployed.previous_release_id })
}

/// A progress line.
pub fn progress(step: &Step) -> Map<String, Value> {
    let mut line = object(json!({
        "status": "progress",
        "at": step.at.to_rfc3339(),
        "phase": step.phase.as_str(),
    }));
    if let Some(process_id) = &step.process_id {
        line.insert("processId".into(), process_id.clone().into());
    }
    line.insert("message".into(), step.message.clone().into());
    let data = match &step.detail {
        Detail::None => return line,
        Detail::Started { pid, port } => json!({ "pid": pid, "port": port }),
        Detail::Probe { attempt, elapsed } => {
            json!({ "attempt": attempt, "elapsedMs": elapsed.as_millis() as u64 })
        }
    };
    line.insert("data".into(), data);
    line
}

/// A progress line for whoever waits until the previous release has drained.
pub fn draining(previous: &str) -> Map<String, Value> {
    object(json!({
        "status": "progress",
        "at": Timestamp::now().to_rfc3339(),
        "phase": "drain",
        "message": format!("waiting until {previous} has drained and stopped"),
    }))
}

/// The answer for whoever waits until the previous release has drained, when the daemon is upgraded meanwhile.
pub fn not_waited(previous: &str) -> Map<String, Value> {
    let message = format!(
        "the deploy is done, but the daemon was upgraded before {previous} had drained; rollbridge ps tells when it has"
    );
    error(ErrorCode::ShuttingDown, &message)
}

/// An event as `events` lists it and as the daemon logs it.
pub fn event(event: &Event) -> Value {
    let mut line = object(json!({ "seq": event.seq, "at": event.at.to_rfc3339() }));
    // A milestone is plain data under string keys; there is nothing in it that could fail to serialise.
    line.extend(object(serde_json::to_value(&event.milestone).unwrap_or_default()));
    Value::Object(line)
}

/// An event as a line of its own, for a follower.
pub fn followed_event(followed: &Event) -> Map<String, Value> {
    let mut line = object(json!({ "status": "event" }));
    line.extend(object(event(followed)));
    line
}

/// A line of output as a line of its own, for a follower. `origin` names the process for good, for `since`.
pub fn followed_line(followed: &FollowedLine) -> Map<String, Value> {
    let mut line = object(json!({
        "status": "log",
        "id": followed.id,
        "source": followed.source,
        "origin": followed.origin,
    }));
    line.extend(object(log_line(&followed.line)));
    line
}

/// Tells a follower that it was too slow.
pub fn lagged(missed: u64) -> Map<String, Value> {
    object(json!({ "status": "lagged", "missed": missed }))
}

/// The status payload.
pub fn status(status: &Status) -> Value {
    json!({
        "application": status.application,
        "version": env!("CARGO_PKG_VERSION"),
        "protocolVersion": PROTOCOL_VERSION,
        "activeReleaseId": status.active_release_id,
        "control": { "path": status.control_path.display().to_string() },
        "proxy": {
            "host": status.proxy.ip().to_string(),
            "port": status.proxy.port(),
            "upstreamHost": status.upstream_host,
        },
        "daemonRuntime": status.runtime.as_ref().map(runtime),
        "bootstrap": status.bootstrap.as_ref().map(bootstrap),
        "engine": {
            "pid": status.engine.pid,
            "restarts": status.engine.restarts,
            "exitCode": status.engine.last_exit.and_then(Exit::code),
            "exitSignal": status.engine.last_exit.and_then(Exit::signal_name),
        },
        "orphans": status.orphans.iter().map(orphan).collect::<Vec<_>>(),
        "releases": status.releases.iter().map(release).collect::<Vec<_>>(),
        "services": status.services.iter().map(standing).collect::<Vec<_>>(),
        "singletons": status.singletons.iter().map(standing).collect::<Vec<_>>(),
    })
}

fn runtime(copy: &RuntimeCopy) -> Value {
    json!({
        "format": RUNTIME_FORMAT,
        "version": env!("CARGO_PKG_VERSION"),
        "digest": copy.digest,
        "path": copy.path.display().to_string(),
    })
}

fn bootstrap(bootstrap: &Bootstrap) -> Value {
    json!({
        "releaseId": bootstrap.release_id,
        "releasePath": bootstrap.release_path.display().to_string(),
        "revision": bootstrap.revision,
        "attestation": bootstrap.attestation,
    })
}

/// A process that an earlier daemon left over.
pub fn orphan(orphan: &Record) -> Value {
    json!({ "id": orphan.id, "pid": orphan.process.pid, "releaseId": orphan.release_id })
}

fn release(release: &ReleaseStatus) -> Value {
    json!({
        "releaseId": release.id,
        "instance": release.instance,
        "releasePath": release.path.display().to_string(),
        "revision": release.revision,
        "state": release.life.phase().as_str(),
        "ports": release.ports,
        "connections": { "http": release.http, "websocket": release.websocket },
        "connectionCount": release.http + release.websocket,
        "activatedAt": time(release.life.activated_at()),
        "drainStartedAt": time(release.life.drain_started_at()),
        "stoppedAt": time(release.life.stopped_at()),
        "processes": release.processes.iter().map(process).collect::<Vec<_>>(),
    })
}

fn standing(status: &ProcessStatus) -> Value {
    json!({ "id": status.identity.base_id, "process": process(status) })
}

fn process(process: &ProcessStatus) -> Value {
    let ProcessStatus {
        identity,
        status,
        logs,
        usage,
    } = process;
    let uptime_ms = match (status.pid, status.started_at) {
        (Some(_), Some(started_at)) => Some(Timestamp::now().since(started_at).as_millis() as u64),
        _ => None,
    };
    json!({
        "id": identity.id,
        "baseId": identity.base_id,
        "replicaIndex": identity.replica_index,
        "policy": identity.policy.as_str(),
        "releaseId": status.release_id,
        "state": status.condition.as_str(),
        "pid": status.pid,
        "port": status.port,
        "command": status.command,
        "cwd": status.cwd.as_ref().map(|cwd| cwd.display().to_string()),
        "startedAt": time(status.started_at),
        "uptimeMs": uptime_ms,
        "restarts": status.restarts,
        "nextRestartAt": time(status.next_restart_at),
        "lastStartReason": status.last_start_reason.map(|reason| reason.as_str()),
        "exitCode": status.last_exit.and_then(|exit| exit.code()),
        "exitSignal": status.last_exit.and_then(|exit| exit.signal_name()),
        "logs": logs.iter().map(log_line).collect::<Vec<_>>(),
        "rssBytes": usage.as_ref().map(|usage| usage.rss_bytes),
        "memoryRestarts": status.memory_restarts,
        "lastMemoryRestartAt": time(status.last_memory_restart_at),
        "children": usage.as_ref().map(|usage| usage.members.iter().map(child).collect::<Vec<_>>()),
    })
}

fn child(member: &Resident) -> Value {
    json!({ "pid": member.pid, "command": member.command, "rssBytes": member.rss_bytes })
}

/// An open connection.
pub fn connection(open: &ReleaseConnection) -> Value {
    let connection = &open.connection;
    json!({
        "number": connection.number,
        "releaseId": open.release_id,
        "instance": open.instance,
        "kind": if connection.is_upgraded { "websocket" } else { "http" },
        "client": connection.peer.to_string(),
        "method": connection.method,
        "path": connection.path,
        "ageMs": connection.age.as_millis() as u64,
        "bytesIn": connection.bytes_in,
        "bytesOut": connection.bytes_out,
    })
}

/// The recent output of one process.
pub fn process_logs(logs: &ProcessLogs) -> Value {
    let lines: Vec<Value> = logs.lines.iter().map(log_line).collect();
    json!({ "id": logs.id, "source": logs.source, "logs": lines })
}

fn log_line(line: &LogLine) -> Value {
    json!({
        "seq": line.seq,
        "at": line.at.to_rfc3339(),
        "stream": line.stream.as_str(),
        "line": line.line,
    })
}

fn time(at: Option<Timestamp>) -> Option<String> {
    at.map(Timestamp::to_rfc3339)
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
