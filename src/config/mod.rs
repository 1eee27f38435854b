//! The config: its types, loading, validation and templates.
//!
//! A file becomes a JSON value (`evaluate`), every value is checked against the table of fields (`fields`, `check`), the
//! rules that concern several fields are applied (`rules`), and what has no issues becomes the typed [`Config`]
//! (`resolve`). Nothing here writes, listens or starts anything but the Node that evaluates a module.

mod check;
mod checked;
mod environment;
mod error;
mod evaluate;
mod expected;
pub mod fields;
mod issue;
mod lexical;
mod locate;
pub(crate) mod os_text;
mod place;
mod reload;
mod rendering;
mod report;
mod resolve;
mod rules;
mod scalar;
mod schema;
pub(crate) mod signal_name;
mod socket_folder;
mod suggest;
mod template;
mod types;

use std::path::PathBuf;

use serde_json::Value;

pub use check::Problem;
pub use environment::{port_variable, process_environment};
pub use error::ConfigError;
pub use evaluate::{Content, Evaluated, Evaluator, read};
pub use issue::Issue;
pub use locate::{ConfigFile, FILE_NAMES, locate};
pub use place::{Place, Step};
pub use reload::{ReloadIncompatible, check_reload};
pub use rendering::{MissingValue, Rendered, render_process};
pub use report::{Report, summary};
pub use schema::schema;
pub use template::{NoValue, Template, Variable, Variables};
pub use types::{
    Config, Control, DeployStrategy, GracefulStop, Health, LegacyProcess, LegacyTakeover, Lifecycle,
    MemoryPolicy, Policy, PortSpec, Principal, ProcessDefinition, Proxy, RestartPolicy, Retention,
};

use checked::Checked;
use issue::{Findings, Verdict};

/// Where a config comes from: what its relative paths and its default name depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Where relative paths start, absolute.
    pub folder: PathBuf,
    /// The application's name if the config gives none.
    pub application: Option<String>,
    /// The config file, absolute; none for an object.
    pub path: Option<PathBuf>,
    /// What to call the config in messages.
    pub shown: String,
}

/// A config that can be used.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The config.
    pub config: Config,
    /// What is worth a look.
    pub warnings: Vec<Issue>,
    /// The config file, absolute; none for an object.
    pub path: Option<PathBuf>,
}

/// Loads the config in `file`, evaluating it anew. Needs a tokio runtime with I/O and time enabled.
///
/// # Errors
///
/// The file cannot be read or evaluated, or the config has issues.
pub async fn load(file: &ConfigFile) -> Result<Loaded, ConfigError> {
    examine(file).await?.into_loaded()
}

/// Evaluates the config in `file` and reports everything there is to say about it.
///
/// # Errors
///
/// The file cannot be read or evaluated.
pub async fn examine(file: &ConfigFile) -> Result<Report, ConfigError> {
    let evaluated = Evaluator::from_environment().evaluate(file).await?;
    Ok(examine_value(
        &evaluated.value,
        &evaluated.problems,
        &Origin::of(file),
    ))
}

/// Reports everything there is to say about a config that is already a value, such as an object from Node.
pub fn examine_value(value: &Value, problems: &[Problem], origin: &Origin) -> Report {
    let (config, mut verdict) = validate(value, problems, origin);
    let socket = config.as_ref().map(|config| config.control.path.as_path());
    verdict
        .warnings
        .extend(socket.and_then(socket_folder::socket_folder_warning));
    Report {
        path: origin.path.clone(),
        shown: origin.shown.clone(),
        config,
        issues: verdict.issues,
        warnings: verdict.warnings,
    }
}

/// The pure part: shapes, then rules, then the typed config if nothing is wrong.
fn validate(value: &Value, problems: &[Problem], origin: &Origin) -> (Option<Config>, Verdict) {
    let mut findings = Findings::default();
    let checked = check::check(value, problems, &mut findings);
    let mut config = None;
    if let Checked::Object(checked) = checked {
        rules::apply(&checked, origin, &mut findings);
        config = resolve::resolve(&checked, origin);
    }
    let verdict = findings.in_order(value);
    (config.filter(|_| verdict.issues.is_empty()), verdict)
}

impl Origin {
    /// The origin of what `file` holds.
    pub fn of(file: &ConfigFile) -> Origin {
        Origin {
            folder: file.folder().to_owned(),
            application: file.folder_name(),
            path: Some(file.path.clone()),
            shown: file.shown.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
