//! What `rollbridge validate` says about a config, for people and for programs.

use std::fmt::Write;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::Loaded;
use super::error::ConfigError;
use super::issue::Issue;
use super::types::Config;

/// The outcome of looking at a config.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The config file, absolute; none for a config that was handed over as an object.
    pub path: Option<PathBuf>,
    /// What to call the config in messages: the path as the user gave it.
    pub shown: String,
    /// The config, if there are no issues.
    pub config: Option<Config>,
    /// What must be put right.
    pub issues: Vec<Issue>,
    /// What is worth a look.
    pub warnings: Vec<Issue>,
}

impl Report {
    /// Whether the config can be used.
    pub fn is_valid(&self) -> bool {
        self.config.is_some()
    }

    /// The text for people, without a line break at the end.
    pub fn text(&self) -> String {
        let mut text = match &self.config {
            Some(config) => format!("✓ {} is {}", self.shown, summary(config)),
            None => {
                let count = counted(self.issues.len(), "configuration issue");
                format!("Found {count} in {}:{}", self.shown, numbered(&self.issues))
            }
        };
        if !self.warnings.is_empty() {
            let count = counted(self.warnings.len(), "warning");
            write!(text, "\n\n{count}:{}", numbered(&self.warnings)).expect("text takes everything");
        }
        text
    }

    /// The value `validate --json` prints.
    pub fn json(&self) -> Value {
        let config = self.config.as_ref().map(|config| {
            json!({
                "application": config.application,
                "processes": config.processes.len(),
                "proxy": {"host": config.proxy.host, "port": config.proxy.port},
            })
        });
        json!({
            "config": config,
            "issues": self.issues.iter().map(issue_json).collect::<Vec<_>>(),
            "warnings": self.warnings.iter().map(issue_json).collect::<Vec<_>>(),
            "path": self.path.as_ref().map(|path| path.to_string_lossy()),
            "valid": self.is_valid(),
        })
    }

    /// The config, or the report as an error.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] if there are issues.
    pub fn into_loaded(self) -> Result<Loaded, ConfigError> {
        match self.config {
            Some(config) => Ok(Loaded {
                config,
                warnings: self.warnings,
                path: self.path,
            }),
            None => Err(ConfigError::Invalid(Box::new(self))),
        }
    }
}

/// One line about a valid config: `valid: 4 processes, proxy on 127.0.0.1:8182`.
pub fn summary(config: &Config) -> String {
    let count = config.processes.len();
    let processes = if count == 1 {
        "1 process".to_owned()
    } else {
        format!("{count} processes")
    };
    let host = &config.proxy.host;
    let host = if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]")
    } else {
        host.clone()
    };
    match config.proxy.port {
        0 => format!("valid: {processes}, proxy on any free port of {host}"),
        port => format!("valid: {processes}, proxy on {host}:{port}"),
    }
}

fn counted(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

fn numbered(issues: &[Issue]) -> String {
    let entry = |(index, issue): (usize, &Issue)| {
        format!("\n\n{}. {}\n   Fix: {}", index + 1, issue.message, issue.fix)
    };
    issues.iter().enumerate().map(entry).collect()
}

fn issue_json(issue: &Issue) -> Value {
    json!({"message": issue.message, "fix": issue.fix})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{examine, example};
    use serde_json::json;

    fn report(issues: Vec<Issue>, warnings: Vec<Issue>) -> Report {
        let config = issues.is_empty().then(example);
        Report {
            path: Some("/srv/rollbridge.js".into()),
            shown: "rollbridge.js".to_owned(),
            config,
            issues,
            warnings,
        }
    }

    fn issue(message: &str) -> Issue {
        Issue {
            message: message.to_owned(),
            fix: "Change it.".to_owned(),
        }
    }

    #[test]
    fn the_documented_example_word_for_word() {
        let config = json!({"application": "a", "processes": [
            {"id": "web", "command": "a"}, {"id": "web", "command": "b"},
        ]});
        let expected = "Found 2 configuration issues in rollbridge.js:\n\n\
            1. Config must define exactly one proxied process; found 0\n   \
            Fix: Mark exactly one process with policy: proxied so Rollbridge knows where to forward traffic.\n\n\
            2. Duplicate process id: web\n   \
            Fix: Give each process a unique id; \"web\" is used more than once.";
        assert_eq!(examine(&config).text(), expected);
    }

    #[test]
    fn singular_and_warnings() {
        let text = report(vec![issue("one")], vec![issue("two"), issue("three")]).text();
        assert_eq!(
            text,
            "Found 1 configuration issue in rollbridge.js:\n\n1. one\n   Fix: Change it.\n\n\
             2 warnings:\n\n1. two\n   Fix: Change it.\n\n2. three\n   Fix: Change it."
        );
    }

    #[test]
    fn a_valid_config_is_one_line() {
        assert_eq!(
            report(vec![], vec![]).text(),
            "✓ rollbridge.js is valid: 4 processes, proxy on 127.0.0.1:8182"
        );
        let mut config = example();
        config.processes.truncate(1);
        config.proxy.host = "::1".to_owned();
        assert_eq!(summary(&config), "valid: 1 process, proxy on [::1]:8182");
    }

    #[test]
    fn json_has_every_field() {
        assert_eq!(
            report(vec![], vec![issue("w")]).json(),
            json!({
                "config": {"application": "ticket-server", "processes": 4, "proxy": {"host": "127.0.0.1", "port": 8182}},
                "issues": [],
                "warnings": [{"message": "w", "fix": "Change it."}],
                "path": "/srv/rollbridge.js",
                "valid": true,
            })
        );
        let invalid = report(vec![issue("i")], vec![]).json();
        assert_eq!(invalid["config"], Value::Null);
        assert_eq!(invalid["valid"], json!(false));
    }
}
