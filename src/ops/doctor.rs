//! Whether a daemon could start here, or a release could be deployed: the config, then the machine around it.
//!
//! It changes nothing, and leaves nothing behind.

mod daemon;
mod release;
mod surroundings;

use std::path::PathBuf;

use crate::config::{self, ConfigError, ConfigFile, Report};

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was found, and what to do about it.
    pub detail: String,
    /// Of interest even where all is well.
    pub is_shown: bool,
}

/// The release that is going to be deployed.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its folder, absolute.
    pub path: PathBuf,
    /// Its id, if it was given.
    pub id: Option<String>,
    /// Its revision, if it was given.
    pub revision: Option<String>,
}

impl Check {
    fn new(name: &'static str, found: Result<String, String>) -> Check {
        let ok = found.is_ok();
        Check {
            name,
            ok,
            detail: found.unwrap_or_else(|problem| problem),
            is_shown: true,
        }
    }

    /// Only of interest to people where it fails.
    fn in_the_background(mut self) -> Check {
        self.is_shown = !self.ok;
        self
    }
}

/// Looks at everything. With a release, a running daemon is what it is going to be deployed to.
///
/// # Errors
///
/// The config cannot be found.
pub async fn examine(file: &ConfigFile, candidate: Option<&Candidate>) -> Vec<Check> {
    let report = config::examine(file).await;
    let mut checks = vec![Check::new("config", config_check(&report))];
    let Ok(Report {
        config: Some(config), ..
    }) = &report
    else {
        // Everything else depends on it.
        return checks;
    };
    let mut look = daemon::look(config, candidate.is_some()).await;
    checks.append(&mut look.checks);
    if let Some(candidate) = candidate {
        checks.extend(release::checks(config, candidate));
    }
    checks.extend(surroundings::checks(config, file, look.orphans));
    checks
}

fn config_check(report: &Result<Report, ConfigError>) -> Result<String, String> {
    match report {
        Err(error) => Err(error.to_string()),
        Ok(Report {
            config: Some(config),
            warnings,
            ..
        }) => {
            let warnings = warnings
                .iter()
                .map(|warning| format!("; warning: {}; {}", warning.message, warning.fix));
            Ok(config::summary(config) + &warnings.collect::<String>())
        }
        Ok(report) => {
            let issues: Vec<String> = report
                .issues
                .iter()
                .map(|issue| format!("{} ({})", issue.message, issue.fix))
                .collect();
            Err(issues.join("; "))
        }
    }
}
