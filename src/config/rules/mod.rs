//! The rules that concern more than one field, over a config whose shapes were checked.
//!
//! A rule says nothing about a field that is broken already: one mistake gives one issue.

mod daemon;
mod ports;
mod process;
mod templates;

use super::Origin;
use super::checked::{Checked, CheckedObject};
use super::issue::Findings;
use super::place::Place;
use super::resolve::port_of;
use super::types::{Policy, PortSpec};

/// Applies every rule.
pub fn apply(config: &CheckedObject, origin: &Origin, findings: &mut Findings) {
    let processes = subjects(config);
    let all = Processes {
        subjects: &processes,
        is_complete: !config.is_broken("processes") && processes.len() == config.list("processes").len(),
    };

    daemon::exactly_one_proxied(&all, findings);
    daemon::unique_ids(&all, findings);
    daemon::application_and_control_path(config, origin, findings);
    daemon::legacy_takeover(config, findings);
    for subject in &processes {
        process::apply(subject, findings);
        templates::apply(subject, &all, findings);
    }
    ports::apply(config, &all, findings);
}

/// The processes the rules look at.
struct Processes<'a> {
    subjects: &'a [Subject],
    /// Whether none is missing here because it is broken as a whole.
    is_complete: bool,
}

/// One process, with what most rules ask for.
struct Subject {
    place: Place,
    process: CheckedObject,
    /// None when it is broken.
    id: Option<String>,
    /// None when it is broken.
    policy: Option<Policy>,
    port: Port,
}

/// What is known of a process's port.
#[derive(Clone, Copy, PartialEq)]
enum Port {
    None,
    Broken,
    Known(PortSpec),
}

impl Subject {
    fn is(&self, policy: Policy) -> bool {
        self.policy == Some(policy)
    }

    fn is_other_than(&self, policy: Policy) -> bool {
        self.policy.is_some_and(|own| own != policy)
    }

    /// The process in a sentence: `processes[2] ("web")`.
    fn name(&self) -> String {
        self.place.to_string()
    }
}

fn subjects(config: &CheckedObject) -> Vec<Subject> {
    let list = Place::root().key("processes");
    let subject = |(index, element)| match element {
        Checked::Object(process) => {
            let id = process.text("id");
            Some(Subject {
                place: list.index(index, id.as_deref()),
                policy: process.text("policy").and_then(|word| Policy::parse(&word)),
                port: match port_of(&process) {
                    Some(port) => Port::Known(port),
                    None if process.is_set("port") => Port::Broken,
                    None => Port::None,
                },
                process,
                id,
            })
        }
        _ => None,
    };
    config.list("processes").into_iter().filter_map(subject).collect()
}
