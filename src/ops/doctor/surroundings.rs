//! What else a daemon lives on: its state file, the processes of an earlier one, open files, and Node for a config that
//! is a module.

use nix::sys::resource::{Resource, getrlimit};

use super::Check;
use super::daemon::folder_of;
use crate::config::{Config, ConfigFile, Evaluator};
use crate::daemon::state::{Reading, StateFile};

/// Fewer open files than this are too few for a daemon with a handful of processes and some traffic.
const FEWEST_FILES: u64 = 1024;

/// What a daemon needs besides two descriptors for each client.
const RESERVED_FILES: u64 = 256;

/// `orphans`: how many the running daemon knows; without one, the state file tells.
pub(super) fn checks(config: &Config, file: &ConfigFile, orphans: Option<usize>) -> Vec<Check> {
    let mut checks = Vec::new();
    if let Some(path) = &config.state_path {
        let state = StateFile::new(path, &config.application);
        let reading = state.read();
        let folder = folder_of(path).and_then(|text| match &reading {
            Reading::Refused(error) => Err(format!(
                "{} will not be used: {error}; the daemon puts it aside and begins a new one",
                path.display()
            )),
            _ => Ok(text),
        });
        checks.push(Check::new("state path", folder));
        let left = match (orphans, reading) {
            (Some(orphans), _) => orphans,
            (None, Reading::Found(remains)) => remains.survivors().len(),
            (None, _) => 0,
        };
        checks.push(Check::new("orphans", left_over(left)).in_the_background());
    }
    checks.push(Check::new("open files", open_files(config)).in_the_background());
    checks.push(Check::new("node", node(file)).in_the_background());
    checks
}

fn left_over(count: usize) -> Result<String, String> {
    match count {
        0 => Ok("nothing is left over of an earlier daemon".to_owned()),
        count => Err(format!(
            "{count} left over of an earlier daemon; rollbridge recover lists them, and with --force stops them"
        )),
    }
}

fn open_files(config: &Config) -> Result<String, String> {
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
    let clients = config
        .proxy
        .max_connections
        .map(|clients| u64::try_from(clients).unwrap_or(u64::MAX));
    let needed = clients.map_or(FEWEST_FILES, |clients| {
        clients.saturating_mul(2).saturating_add(RESERVED_FILES)
    });
    match limit < needed {
        false => Ok(format!("{limit} may be open")),
        true => Err(format!(
            "{limit} may be open, and {needed} are needed; raise the limit (ulimit -n, LimitNOFILE)"
        )),
    }
}

fn node(file: &ConfigFile) -> Result<String, String> {
    if file.path.extension().is_some_and(|extension| extension == "json") {
        return Ok("not needed, the config is JSON".to_owned());
    }
    match Evaluator::from_environment().find_node() {
        Some(node) => Ok(node.display().to_string()),
        None => Err("there is no node on PATH to evaluate the config; install Node 20 or newer".to_owned()),
    }
}
