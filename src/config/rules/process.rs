//! Rules about one process.

use nix::sys::signal::Signal;

use super::{Policy, Port, Subject};
use crate::config::checked::{Checked, CheckedObject};
use crate::config::issue::Findings;
use crate::config::types::PortSpec;

pub(super) fn apply(subject: &Subject, findings: &mut Findings) {
    port(subject, findings);
    replicas(subject, findings);
    non_blocking_drain(subject, findings);
    deploy_strategy(subject, findings);
    health(subject, findings);
    graceful_stop(subject, findings);
    memory(subject, findings);
    if let Some(lifecycle) = subject.process.object("lifecycle") {
        hooks(subject, &lifecycle, findings);
    }
}

fn port(subject: &Subject, findings: &mut Findings) {
    let name = subject.name();
    let place = subject.place.key("port");
    match subject.port {
        Port::None if subject.is(Policy::Proxied) => findings.issue(
            &subject.place,
            format!("{name} is proxied and must define a port"),
            "Give it a range, so that two releases can overlap, for example port: {from: 18182, to: 18299}.",
        ),
        Port::Known(PortSpec::Range { from, to }) if from > to => findings.issue(
            &place,
            format!("{place} is inverted: from is {from} and to is {to}"),
            format!("Swap the two, for example port: {{from: {to}, to: {from}}}."),
        ),
        Port::Known(spec)
            if is_single(spec) && (subject.is(Policy::Proxied) || subject.is(Policy::Companion)) =>
        {
            findings.warn(
                &place,
                format!("{place} is a single port, so the old and the new release cannot run side by side"),
                "Use a range, for example port: {from: 18182, to: 18299}.",
            );
        }
        _ => {}
    }
}

fn is_single(spec: PortSpec) -> bool {
    match spec {
        PortSpec::Fixed(port) => port != 0,
        PortSpec::Range { from, to } => from == to,
    }
}

fn replicas(subject: &Subject, findings: &mut Findings) {
    let place = subject.place.key("replicas");
    if subject
        .process
        .integer("replicas")
        .is_none_or(|replicas| replicas <= 1)
    {
        return;
    }
    if subject.is_other_than(Policy::Companion) {
        findings.issue(
            &place,
            format!("{place} is above 1, but only a companion can have replicas"),
            "Remove replicas, or make it a companion, for example policy: \"companion\".",
        );
    } else if subject.port != Port::None {
        findings.issue(
            &place,
            format!("{place} is above 1, but the process has a port, which replicas cannot share"),
            "Remove the port, or define one process per port, for example id: \"worker-1\" and id: \"worker-2\".",
        );
    }
}

fn non_blocking_drain(subject: &Subject, findings: &mut Findings) {
    let place = subject.place.key("nonBlockingDrain");
    if subject.process.value("nonBlockingDrain") == Checked::Boolean(true)
        && subject.is_other_than(Policy::Companion)
    {
        findings.issue(
            &place,
            format!("{place} is only for companions"),
            "Remove it, or make the process a companion, for example policy: \"companion\".",
        );
    }
}

fn deploy_strategy(subject: &Subject, findings: &mut Findings) {
    let place = subject.place.key("deployStrategy");
    let Some(strategy) = subject.process.text("deployStrategy") else {
        return;
    };
    if subject.process.is_set("deployStrategy") && subject.is_other_than(Policy::Service) {
        findings.issue(
            &place,
            format!("{place} is only for services"),
            "Remove it, or make the process a service, for example policy: \"service\".",
        );
        return;
    }
    let has_room = match subject.port {
        Port::Broken => true,
        Port::Known(PortSpec::Range { from, to }) => from != to,
        Port::None | Port::Known(PortSpec::Fixed(_)) => false,
    };
    if strategy == "handoff" && subject.is(Policy::Service) && !has_room {
        findings.issue(
            &place,
            format!("{place} is handoff, which needs a range of two or more ports"),
            "Give the service a range, for example port: {from: 17330, to: 17399}.",
        );
    }
}

fn health(subject: &Subject, findings: &mut Findings) {
    let place = subject.place.key("health");
    if subject.process.is_set("health") && subject.is_other_than(Policy::Proxied) {
        findings.warn(
            &place,
            format!("{place} has no effect: only the proxied process is health-checked"),
            "Remove it, or move it to the process with policy: \"proxied\".",
        );
    }
}

fn graceful_stop(subject: &Subject, findings: &mut Findings) {
    let place = subject.place.key("gracefulStopMs");
    if subject.is(Policy::Singleton) && matches!(subject.process.value("gracefulStopMs"), Checked::Text(_)) {
        findings.warn(
            &place,
            format!("{place} is indefinite: while a singleton does not stop, no deploy can finish"),
            "Set a limit, for example gracefulStopMs: 60000.",
        );
    }
}

fn memory(subject: &Subject, findings: &mut Findings) {
    let place = subject.place.key("memory").key("warnBytes");
    let Some(memory) = subject.process.object("memory") else {
        return;
    };
    let (Some(limit), Some(warn)) = (memory.integer("limitBytes"), memory.integer("warnBytes")) else {
        return;
    };
    if warn > 0 && warn >= limit {
        findings.warn(
            &place,
            format!(
                "{place} is {warn}, not below limitBytes ({limit}), so the restart comes before the warning"
            ),
            format!(
                "Choose a smaller number, for example warnBytes: {}.",
                limit / 4 * 3
            ),
        );
    }
}

fn hooks(subject: &Subject, lifecycle: &CheckedObject, findings: &mut Findings) {
    let place = subject.place.key("lifecycle");
    if lifecycle.text("drainCommand").is_some() && lifecycle.integer("drainTimeoutMs") == Some(0) {
        let here = place.key("drainCommand");
        findings.issue(
            &here,
            format!("{here} needs a drainTimeoutMs above 0"),
            "Say how long draining may take, for example drainTimeoutMs: 60000.",
        );
    }
    let signal = subject.process.value("stopSignal");
    if lifecycle.text("stopCommand").is_some()
        && let Checked::Signal(signal) = signal
        && signal != Signal::SIGTERM
    {
        let here = place.key("stopCommand");
        findings.issue(
            &here,
            format!(
                "{here} runs instead of stopSignal, so {} would never be sent",
                signal.as_str()
            ),
            format!(
                "Remove one of the two, for example send it with stopCommand: \"kill -{} $ROLLBRIDGE_PID\".",
                signal.as_str().trim_start_matches("SIG")
            ),
        );
    }
    for name in ["quietCommand", "drainCommand", "stopCommand"] {
        if lifecycle.text(name).is_some_and(|command| command.contains("{{")) {
            let here = place.key(name);
            findings.warn(
                &here,
                format!("{here} contains {{{{, but hooks are not templates"),
                "Use the environment, which hooks share with the process, for example $ROLLBRIDGE_PORT.",
            );
        }
    }
}
