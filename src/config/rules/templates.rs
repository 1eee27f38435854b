//! Rules about what the templates of a process refer to.

use super::{Port, Processes, Subject};
use crate::config::checked::Checked;
use crate::config::issue::Findings;
use crate::config::place::{Place, quoted};
use crate::config::suggest::nearest;
use crate::config::template::{NAMES, Template, Variable};

pub(super) fn apply(subject: &Subject, all: &Processes<'_>, findings: &mut Findings) {
    for (place, text) in templates(subject) {
        for name in Template::parse(&text).placeholders() {
            if let Some((message, fix)) = complaint(name, subject, all) {
                findings.issue(&place, format!("{place} uses {{{{{name}}}}}, {message}"), fix);
            }
        }
    }
}

fn templates(subject: &Subject) -> Vec<(Place, String)> {
    let mut templates = Vec::new();
    for name in ["command", "cwd"] {
        templates.extend(
            subject
                .process
                .text(name)
                .map(|text| (subject.place.key(name), text)),
        );
    }
    if let Checked::Environment(variables) = subject.process.value("env") {
        let env = subject.place.key("env");
        templates.extend(variables.into_iter().map(|(name, value)| (env.key(&name), value)));
    }
    templates
}

/// Why a placeholder can never have a value, and what to do about it.
fn complaint(name: &str, subject: &Subject, all: &Processes<'_>) -> Option<(String, String)> {
    match Variable::parse(name) {
        None => Some(("which is no variable".to_owned(), fix_for_unknown(name))),
        Some(Variable::Named("port")) if subject.port == Port::None => Some((
            "but the process has no port".to_owned(),
            "Give it one, for example port: {from: 18182, to: 18299}.".to_owned(),
        )),
        Some(Variable::PortOf(id)) => complaint_about_port(id, all),
        Some(Variable::Named(_) | Variable::Environment(_)) => None,
    }
}

fn complaint_about_port(id: &str, all: &Processes<'_>) -> Option<(String, String)> {
    let mut named = all
        .subjects
        .iter()
        .filter(|subject| subject.id.as_deref() == Some(id))
        .peekable();
    if named.peek().is_some() {
        let has_port = named.any(|subject| subject.port != Port::None);
        let fix = format!(
            "Give {} a port, for example port: {{from: 18182, to: 18299}}.",
            quoted(id)
        );
        return (!has_port).then(|| (format!("but {} has no port", quoted(id)), fix));
    }
    // A process whose id is broken may be the one that is meant.
    let is_certain = all.is_complete && all.subjects.iter().all(|subject| subject.id.is_some());
    let with_port = all.subjects.iter().filter(|subject| subject.port != Port::None);
    let ids: Vec<&str> = with_port.filter_map(|subject| subject.id.as_deref()).collect();
    let fix = match nearest(id, ids.iter().copied()).or(ids.first().copied()) {
        Some(id) => format!("Name a process that has a port, for example {{{{ports.{id}}}}}."),
        None => "Give the process you mean a port, for example port: {from: 18182, to: 18299}.".to_owned(),
    };
    is_certain.then(|| (format!("but no process has the id {}", quoted(id)), fix))
}

fn fix_for_unknown(name: &str) -> String {
    match nearest(name, NAMES.iter().copied()) {
        Some(known) => format!("Did you mean {{{{{known}}}}}?"),
        None => format!(
            "Use one of {}, ports.<id> or env.<NAME>, for example {{{{port}}}}.",
            NAMES.join(", ")
        ),
    }
}
