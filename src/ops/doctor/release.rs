//! The release that is going to be deployed: its folder, and what each process would be started from.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::unistd::{AccessFlags, access};

use super::{Candidate, Check};
use crate::config::{Config, PortSpec, Variables, render_process};
use crate::daemon::pin;
use crate::error::plain;

/// The folder, the templates and the working directories; without a folder there is nothing more to look at.
pub(super) fn checks(config: &Config, candidate: &Candidate) -> Vec<Check> {
    let path = match pin(&candidate.path) {
        Ok(path) => path,
        Err(reason) => {
            let problem = format!(
                "{}: {reason}; prepare the release before it is deployed",
                candidate.path.display()
            );
            return vec![Check::new("release path", Err(problem))];
        }
    };
    let (folders, problems) = rendered(config, candidate, &path);
    vec![
        Check::new("release path", Ok(format!("{} is a folder", path.display()))),
        Check::new(
            "templates",
            match problems.is_empty() {
                true => Ok(format!(
                    "every placeholder of {} processes has a value",
                    config.processes.len()
                )),
                false => Err(problems.join("; ")),
            },
        ),
        Check::new("working directories", directories(&folders)),
    ]
}

/// The working directory of each process, and what could not be filled in.
fn rendered(config: &Config, candidate: &Candidate, path: &Path) -> (Vec<(String, PathBuf)>, Vec<String>) {
    let ports: BTreeMap<String, u16> = config
        .processes
        .iter()
        .filter_map(|process| Some((process.id.clone(), lowest(process.port.as_ref()?))))
        .collect();
    let environment: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
    let environment = Arc::new(environment);
    let release_id = candidate.id.clone().or_else(|| candidate.revision.clone());
    let release_id = release_id.unwrap_or_else(|| "release".to_owned());
    let (mut folders, mut problems) = (Vec::new(), Vec::new());
    for process in &config.processes {
        let variables = Variables {
            application: config.application.clone(),
            process_id: process.id.clone(),
            release_id: release_id.clone(),
            release_path: path.to_owned(),
            revision: candidate.revision.clone(),
            replica_index: 0,
            replica_count: process.replicas,
            port: ports.get(&process.id).copied(),
            ports: ports.clone(),
            proxy_host: config.proxy.host.clone(),
            proxy_port: config.proxy.port,
            proxy_upstream_host: config.proxy.upstream_host.clone(),
            daemon_environment: environment.clone(),
        };
        match render_process(process, &variables) {
            Ok(rendered) => folders.push((process.id.clone(), rendered.cwd)),
            Err(missing) => problems.push(missing.to_string()),
        }
    }
    (folders, problems)
}

fn lowest(port: &PortSpec) -> u16 {
    match port {
        PortSpec::Fixed(port) => *port,
        PortSpec::Range { from, .. } => *from,
    }
}

fn directories(folders: &[(String, PathBuf)]) -> Result<String, String> {
    let problems: Vec<String> = folders
        .iter()
        .filter_map(|(id, folder)| {
            let reason = match std::fs::metadata(folder) {
                Err(error) => plain(&error),
                Ok(found) if !found.is_dir() => "it is not a directory".to_owned(),
                Ok(_) => match access(folder, AccessFlags::X_OK) {
                    Ok(()) => return None,
                    Err(errno) => plain(&errno.into()),
                },
            };
            Some(format!("{} of {id}: {reason}", folder.display()))
        })
        .collect();
    match problems.is_empty() {
        true => Ok("every process has its folder".to_owned()),
        false => Err(format!(
            "{}; correct cwd, or put what is missing into the release",
            problems.join("; ")
        )),
    }
}
