//! Templates: text with `{{name}}` placeholders, parsed once and rendered at every start of a process.
//!
//! Between the braces stands a name of letters, digits, `_`, `.` and `-`, with spaces around it if one likes. Braces
//! around other things are ordinary text, so that shell, JSON and jq keep working.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::Arc;

/// The names of all variables that stand for themselves; besides them there are `ports.<id>` and `env.<NAME>`.
pub const NAMES: &[&str] = &[
    "releasePath",
    "releaseId",
    "revision",
    "application",
    "processId",
    "port",
    "replicaIndex",
    "replicaCount",
    "proxy.host",
    "proxy.port",
    "proxy.upstreamHost",
];

/// A parsed template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Placeholder(String),
}

/// What a placeholder asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variable<'a> {
    /// A name of [`NAMES`].
    Named(&'static str),
    /// The port of the process with this id.
    PortOf(&'a str),
    /// A variable of the daemon's environment.
    Environment(&'a str),
}

/// The values of all variables for one start of one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variables {
    /// The application's name.
    pub application: String,
    /// The base id of the process, the same for all its replicas.
    pub process_id: String,
    /// The release's id.
    pub release_id: String,
    /// The release's folder, absolute.
    pub release_path: PathBuf,
    /// The revision; the release id stands in for it when none was given.
    pub revision: Option<String>,
    /// Which replica this is, from 0.
    pub replica_index: u32,
    /// How many replicas there are.
    pub replica_count: u32,
    /// The port of the process.
    pub port: Option<u16>,
    /// The ports of all processes that have one, by id.
    pub ports: BTreeMap<String, u16>,
    /// Where the proxy listens.
    pub proxy_host: String,
    /// Where the proxy listens, never 0.
    pub proxy_port: u16,
    /// Where the proxied process is reached.
    pub proxy_upstream_host: String,
    /// The daemon's environment.
    pub daemon_environment: Arc<BTreeMap<OsString, OsString>>,
}

/// A placeholder without a value, as written between the braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoValue(pub String);

impl Template {
    /// Parses a text; every text is a template.
    pub fn parse(text: &str) -> Template {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(start) = rest.find("{{") {
            literal.push_str(&rest[..start]);
            rest = &rest[start..];
            if let Some((name, after)) = placeholder(rest) {
                if !literal.is_empty() {
                    parts.push(Part::Literal(std::mem::take(&mut literal)));
                }
                parts.push(Part::Placeholder(name.to_owned()));
                rest = after;
            } else {
                // Only one brace is passed over: the next one may begin a placeholder, as in `{{{port}}`.
                literal.push('{');
                rest = &rest[1..];
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Template { parts }
    }

    /// The names between the braces, in order.
    pub fn placeholders(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Placeholder(name) => Some(name.as_str()),
            Part::Literal(_) => None,
        })
    }

    /// The text with every placeholder filled in.
    ///
    /// # Errors
    ///
    /// The first placeholder that has no value.
    pub fn render(&self, variables: &Variables) -> Result<String, NoValue> {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Literal(text) => Ok(text.clone()),
                Part::Placeholder(name) => Variable::parse(name)
                    .and_then(|variable| variables.value(variable))
                    .ok_or_else(|| NoValue(name.clone())),
            })
            .collect()
    }
}

impl Variable<'_> {
    /// The variable of this name, if there can be one.
    pub fn parse(name: &str) -> Option<Variable<'_>> {
        if let Some(known) = NAMES.iter().find(|known| **known == name) {
            return Some(Variable::Named(known));
        }
        match name.split_once('.')? {
            ("ports", id) if !id.is_empty() => Some(Variable::PortOf(id)),
            ("env", name) if !name.is_empty() => Some(Variable::Environment(name)),
            _ => None,
        }
    }
}

impl Variables {
    /// The revision, or the release id when none was given.
    pub fn revision_or_release_id(&self) -> &str {
        self.revision.as_deref().unwrap_or(&self.release_id)
    }

    fn value(&self, variable: Variable<'_>) -> Option<String> {
        match variable {
            Variable::PortOf(id) => self.ports.get(id).map(u16::to_string),
            Variable::Environment(name) => self
                .daemon_environment
                .get(OsStr::new(name))
                .and_then(|value| value.to_str())
                .map(str::to_owned),
            Variable::Named(name) => match name {
                "releasePath" => self.release_path.to_str().map(str::to_owned),
                "releaseId" => Some(self.release_id.clone()),
                "revision" => Some(self.revision_or_release_id().to_owned()),
                "application" => Some(self.application.clone()),
                "processId" => Some(self.process_id.clone()),
                "port" => self.port.map(|port| port.to_string()),
                "replicaIndex" => Some(self.replica_index.to_string()),
                "replicaCount" => Some(self.replica_count.to_string()),
                "proxy.host" => Some(self.proxy_host.clone()),
                "proxy.port" => Some(self.proxy_port.to_string()),
                "proxy.upstreamHost" => Some(self.proxy_upstream_host.clone()),
                _ => None,
            },
        }
    }
}

/// The name and the remaining text, if `text` begins with a placeholder.
fn placeholder(text: &str) -> Option<(&str, &str)> {
    let inside = text.strip_prefix("{{")?.trim_start_matches([' ', '\t']);
    let is_name = |character: char| character.is_ascii_alphanumeric() || "_.-".contains(character);
    let end = inside.find(|character| !is_name(character))?;
    let after = inside[end..].trim_start_matches([' ', '\t']).strip_prefix("}}")?;
    (end > 0).then(|| (&inside[..end], after))
}

#[cfg(test)]
pub(in crate::config) mod tests {
    use super::*;

    pub fn variables() -> Variables {
        Variables {
            application: "ticket-server".to_owned(),
            process_id: "web".to_owned(),
            release_id: "v1".to_owned(),
            release_path: PathBuf::from("/srv/releases/v1"),
            revision: Some("abc123".to_owned()),
            replica_index: 1,
            replica_count: 4,
            port: Some(18182),
            ports: BTreeMap::from([("web".to_owned(), 18182), ("api.v2".to_owned(), 9000)]),
            proxy_host: "0.0.0.0".to_owned(),
            proxy_port: 8182,
            proxy_upstream_host: "127.0.0.1".to_owned(),
            daemon_environment: Arc::new(BTreeMap::from([("HOME".into(), "/root".into())])),
        }
    }

    #[test]
    fn fills_in_every_variable() {
        let cases = [
            ("{{releasePath}}/x", "/srv/releases/v1/x"),
            ("{{releaseId}} {{revision}}", "v1 abc123"),
            ("{{application}}:{{processId}}", "ticket-server:web"),
            ("--port {{ port }}", "--port 18182"),
            ("{{ports.api.v2}}{{ports.web}}", "900018182"),
            ("{{replicaIndex}}/{{\treplicaCount  }}", "1/4"),
            (
                "{{proxy.host}}:{{proxy.port}} {{proxy.upstreamHost}}",
                "0.0.0.0:8182 127.0.0.1",
            ),
            ("{{env.HOME}}", "/root"),
            ("{{{port}}}", "{18182}"),
        ];
        for (text, expected) in cases {
            assert_eq!(
                Template::parse(text).render(&variables()).as_deref(),
                Ok(expected),
                "{text}"
            );
        }
    }

    #[test]
    fn leaves_other_braces_alone() {
        for text in [
            "",
            "{{}}",
            "{{ }}",
            "{{a b}}",
            "{{a|b}}",
            "{port}",
            "{{port}",
            "{{",
            "}}",
            "${x}",
            "{{é}}",
            "{{port\n}}",
        ] {
            let template = Template::parse(text);
            assert_eq!(template.placeholders().count(), 0, "{text}");
            assert_eq!(template.render(&variables()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn a_missing_value_is_named() {
        let mut without_port = variables();
        without_port.port = None;
        for name in [
            "port",
            "ports.nope",
            "env.NOPE",
            "env.",
            "ports.",
            "nonsense",
            "proxy.nope",
        ] {
            let rendered = Template::parse(&format!("a {{{{{name}}}}}")).render(&without_port);
            assert_eq!(rendered, Err(NoValue(name.to_owned())));
        }
    }

    #[test]
    fn the_release_id_stands_in_for_a_missing_revision() {
        let without_revision = Variables {
            revision: None,
            ..variables()
        };
        assert_eq!(
            Template::parse("{{revision}}")
                .render(&without_revision)
                .as_deref(),
            Ok("v1")
        );
    }

    #[test]
    fn every_listed_name_has_a_value() {
        for name in NAMES {
            assert!(variables().value(Variable::Named(name)).is_some(), "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn parsing_loses_nothing(text in "[{} a.é]{0,40}") {
            let mut rebuilt = String::new();
            for part in Template::parse(&text).parts {
                match part {
                    Part::Literal(literal) => rebuilt.push_str(&literal),
                    Part::Placeholder(name) => rebuilt.push_str(&format!("{{{{{name}}}}}")),
                }
            }
            proptest::prop_assert_eq!(rebuilt.replace(' ', ""), text.replace(' ', ""));
        }
    }
}
