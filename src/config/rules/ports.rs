//! Rules about ports of several processes and the proxy.

use super::{Port, Processes, Subject};
use crate::config::checked::CheckedObject;
use crate::config::environment::port_variable;
use crate::config::issue::Findings;
use crate::config::types::PortSpec;

pub(super) fn apply(config: &CheckedObject, all: &Processes<'_>, findings: &mut Findings) {
    let proxy_port = config.object("proxy").and_then(|proxy| proxy.integer("port"));
    if let Some(proxy_port) = proxy_port
        .and_then(|port| u16::try_from(port).ok())
        .filter(|port| *port != 0)
    {
        for subject in all.subjects {
            apart_from_proxy(subject, proxy_port, findings);
        }
    }
    for (index, subject) in all.subjects.iter().enumerate() {
        for earlier in &all.subjects[..index] {
            apart(earlier, subject, findings);
        }
    }
}

fn apart_from_proxy(subject: &Subject, proxy_port: u16, findings: &mut Findings) {
    let place = subject.place.key("port");
    let message = match subject.port {
        Port::Known(PortSpec::Fixed(port)) if port == proxy_port => {
            format!("{place} is {port}, the port of the proxy itself")
        }
        Port::Known(PortSpec::Range { from, to }) if (from..=to).contains(&proxy_port) => {
            format!("proxy.port {proxy_port} lies inside the range {from} to {to} of {place}")
        }
        _ => return,
    };
    let fix = "Move one of them away, for example proxy: {port: 8182} and port: {from: 18182, to: 18299}.";
    findings.issue(&place, message, fix);
}

fn apart(earlier: &Subject, later: &Subject, findings: &mut Findings) {
    let place = later.place.key("port");
    if let (Some(port), Some(other)) = (fixed(later.port), fixed(earlier.port))
        && port == other
    {
        findings.warn(
            &place,
            format!("{place} is {port}, the same port as that of {}", earlier.name()),
            format!(
                "Choose another port for one of them, for example port: {}.",
                port.checked_add(1).unwrap_or(1)
            ),
        );
    }
    if let (Some(id), Some(other)) = (&later.id, &earlier.id)
        && id != other
        && later.port != Port::None
        && earlier.port != Port::None
        && port_variable(id) == port_variable(other)
    {
        findings.warn(
            &later.place,
            format!(
                "{} and {} share the variable {} for their ports",
                earlier.name(),
                later.name(),
                port_variable(id)
            ),
            format!("Rename one of them, for example id: {:?}.", format!("{id}-2")),
        );
    }
}

/// The one port a process always has.
fn fixed(port: Port) -> Option<u16> {
    match port {
        Port::Known(PortSpec::Fixed(port)) if port != 0 => Some(port),
        Port::Known(PortSpec::Range { from, to }) if from == to => Some(from),
        _ => None,
    }
}
