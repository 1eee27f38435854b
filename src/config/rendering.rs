//! Filling in the templates of one process for one start.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::template::{NoValue, Template, Variables};
use super::types::ProcessDefinition;

/// Command, folder and own environment of a process, ready to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// What the shell runs.
    pub command: String,
    /// The working directory, absolute if the release path is.
    pub cwd: PathBuf,
    /// The process's own environment variables.
    pub env: BTreeMap<String, String>,
}

/// A placeholder has no value, so the process cannot start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{{{{{placeholder}}}}} has no value in {field} of process {process:?}")]
pub struct MissingValue {
    /// The name between the braces.
    pub placeholder: String,
    /// `command`, `cwd` or `env.<NAME>`.
    pub field: String,
    /// The base id of the process.
    pub process: String,
}

/// Renders every template of `definition`.
///
/// # Errors
///
/// The first placeholder without a value.
pub fn render_process(
    definition: &ProcessDefinition,
    variables: &Variables,
) -> Result<Rendered, MissingValue> {
    let render = |field: &str, text: &str| {
        Template::parse(text)
            .render(variables)
            .map_err(|NoValue(placeholder)| MissingValue {
                placeholder,
                field: field.to_owned(),
                process: definition.id.clone(),
            })
    };
    let command = render("command", &definition.command)?;
    let cwd = match &definition.cwd {
        Some(cwd) => render("cwd", cwd)?,
        None => String::new(),
    };
    let env = definition
        .env
        .iter()
        .map(|(name, value)| Ok((name.clone(), render(&format!("env.{name}"), value)?)))
        .collect::<Result<_, _>>()?;
    let cwd = match cwd.as_str() {
        "" => variables.release_path.clone(),
        relative_or_absolute => variables.release_path.join(relative_or_absolute),
    };
    Ok(Rendered { command, cwd, env })
}

#[cfg(test)]
mod tests {
    use super::super::template::tests::variables;
    use super::*;
    use crate::config::tests::example;

    #[test]
    fn working_directories_start_at_the_release_path() {
        let mut web = example().proxied().clone();
        let cases = [
            (None, "/srv/releases/v1"),
            (Some("backend"), "/srv/releases/v1/backend"),
            (Some("{{releasePath}}/backend"), "/srv/releases/v1/backend"),
            (Some("/opt/{{application}}"), "/opt/ticket-server"),
        ];
        for (cwd, expected) in cases {
            web.cwd = cwd.map(str::to_owned);
            let rendered = render_process(&web, &variables()).expect("all values exist");
            assert_eq!(rendered.cwd, PathBuf::from(expected));
        }
    }

    #[test]
    fn a_missing_value_names_placeholder_field_and_process() {
        let mut web = example().proxied().clone();
        web.env = BTreeMap::from([("API_URL".to_owned(), "http://x:{{ports.nope}}/secret".to_owned())]);
        let error = render_process(&web, &variables()).expect_err("there is no such process");
        assert_eq!(
            error.to_string(),
            r#"{{ports.nope}} has no value in env.API_URL of process "web""#
        );
    }
}
