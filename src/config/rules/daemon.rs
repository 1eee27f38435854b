//! Rules about the config as a whole.

use std::os::unix::ffi::OsStrExt;

use super::{Policy, Processes};
use crate::config::Origin;
use crate::config::checked::CheckedObject;
use crate::config::issue::Findings;
use crate::config::place::Place;
use crate::config::resolve::{application, control_path};

/// What a socket address holds, less the byte that ends it; macOS has four bytes less, but names the failure itself.
const MAX_SOCKET_PATH_BYTES: usize = 107;

pub(super) fn exactly_one_proxied(all: &Processes<'_>, findings: &mut Findings) {
    let count = all
        .subjects
        .iter()
        .filter(|subject| subject.is(Policy::Proxied))
        .count();
    let is_certain = all.is_complete && all.subjects.iter().all(|subject| subject.policy.is_some());
    if count > 1 || (count == 0 && is_certain) {
        findings.issue(
            &Place::root(),
            format!("Config must define exactly one proxied process; found {count}"),
            "Mark exactly one process with policy: proxied so Rollbridge knows where to forward traffic.",
        );
    }
}

pub(super) fn unique_ids(all: &Processes<'_>, findings: &mut Findings) {
    let ids: Vec<&String> = all
        .subjects
        .iter()
        .filter_map(|subject| subject.id.as_ref())
        .collect();
    for (index, id) in ids.iter().enumerate() {
        let is_second = ids[..index].iter().filter(|earlier| *earlier == id).count() == 1;
        if is_second {
            findings.issue(
                &Place::root(),
                format!("Duplicate process id: {id}"),
                format!("Give each process a unique id; \"{id}\" is used more than once."),
            );
        }
    }
}

pub(super) fn application_and_control_path(config: &CheckedObject, origin: &Origin, findings: &mut Findings) {
    if application(config, origin).is_none() && !config.is_broken("application") {
        findings.issue(
            &Place::root(),
            "application is required, because the config's folder has no name to use instead",
            "Add it, for example application: \"ticket-server\".",
        );
    }
    let Some(path) = control_path(config, origin) else {
        return;
    };
    let bytes = path.as_os_str().as_bytes().len();
    if bytes > MAX_SOCKET_PATH_BYTES {
        findings.issue(
            &Place::root().key("control").key("path"),
            format!("control.path is {bytes} bytes long; a socket path has at most {MAX_SOCKET_PATH_BYTES}"),
            "Choose a shorter path, for example control: {path: \"/tmp/rollbridge.sock\"}.",
        );
    }
}

pub(super) fn legacy_takeover(config: &CheckedObject, findings: &mut Findings) {
    let Some(takeover) = config.object("legacyTakeover") else {
        return;
    };
    let is_empty = |name| !takeover.is_broken(name) && takeover.list(name).is_empty();
    if is_empty("screens") && is_empty("processes") {
        findings.issue(
            &Place::root().key("legacyTakeover"),
            "legacyTakeover names nothing to stop",
            "Name screens or processes, for example legacyTakeover: {screens: [\"ticket-server\"]}, or remove it.",
        );
    }
}
