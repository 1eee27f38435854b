//! What a start is made from: a definition, and what its release gives it. Rendered anew at every start.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Identity;
use crate::config::{
    MissingValue, ProcessDefinition, Variables, os_text, process_environment, render_process,
};
use crate::host::SpawnSpec;

/// What all processes of a release share: the values of their templates and environment.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Scope {
    /// The application's name.
    pub application: String,
    /// The release's id.
    pub release_id: String,
    /// Which deploy of that id.
    pub instance: u64,
    /// Its folder.
    #[serde(with = "os_text")]
    pub release_path: PathBuf,
    /// Its revision.
    pub revision: String,
    /// The port of every process that has one, by base id.
    pub ports: BTreeMap<String, u16>,
    /// Where the proxy listens.
    pub proxy_host: String,
    /// Where the proxy listens.
    pub proxy_port: u16,
    /// Where the web process is reached.
    pub upstream_host: String,
    /// The daemon's own environment: every engine has it by itself.
    #[serde(skip)]
    pub environment: Arc<BTreeMap<OsString, OsString>>,
}

impl std::fmt::Debug for Scope {
    /// Leaves the environment out: it holds secrets.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Scope")
            .field("release_id", &self.release_id)
            .finish_non_exhaustive()
    }
}

/// One process to be started, now or again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Launch {
    definition: Arc<ProcessDefinition>,
    scope: Arc<Scope>,
    replica: u32,
}

impl Launch {
    /// A definition's only process.
    pub fn single(definition: &ProcessDefinition, scope: &Arc<Scope>) -> Launch {
        Launch {
            definition: Arc::new(definition.clone()),
            scope: scope.clone(),
            replica: 0,
        }
    }

    /// All processes of a definition, one for each replica.
    pub fn replicas(
        definition: &ProcessDefinition,
        scope: &Arc<Scope>,
    ) -> impl Iterator<Item = Launch> + use<> {
        let first = Launch::single(definition, scope);
        (0..definition.replicas).map(move |replica| Launch {
            replica,
            ..first.clone()
        })
    }

    /// What names the process.
    pub fn identity(&self) -> Identity {
        let base_id = self.definition.id.clone();
        let replica_index = (self.definition.replicas > 1).then_some(self.replica);
        let id = replica_index.map_or_else(|| base_id.clone(), |index| format!("{base_id}#{index}"));
        Identity {
            id,
            base_id,
            replica_index,
            policy: self.definition.policy,
        }
    }

    /// Its definition.
    pub fn definition(&self) -> &ProcessDefinition {
        &self.definition
    }

    /// The release it belongs to, or whose template it was given.
    pub fn release_id(&self) -> &str {
        &self.scope.release_id
    }

    /// The same with the daemon's environment, which is in no note.
    pub(super) fn within(mut self, environment: &Arc<BTreeMap<OsString, OsString>>) -> Launch {
        Arc::make_mut(&mut self.scope).environment = environment.clone();
        self
    }

    /// Which deploy of its release's id it is from.
    pub fn instance(&self) -> u64 {
        self.scope.instance
    }

    /// Its port, if it has one.
    pub fn port(&self) -> Option<u16> {
        self.scope.ports.get(&self.definition.id).copied()
    }

    /// Its command as the config has it.
    pub fn command_template(&self) -> &str {
        &self.definition.command
    }

    /// How many lines of its output are kept.
    pub fn output_lines(&self) -> usize {
        self.definition.output_lines
    }

    /// Fills in every template, with a fresh token.
    pub fn render(&self) -> Result<SpawnSpec, MissingValue> {
        let variables = self.variables();
        let rendered = render_process(&self.definition, &variables)?;
        let token = new_token();
        let env = process_environment(&variables, &token, &rendered.env);
        Ok(SpawnSpec {
            command: rendered.command,
            cwd: rendered.cwd,
            env: env.into_iter().collect(),
            token,
        })
    }

    fn variables(&self) -> Variables {
        let scope = &self.scope;
        Variables {
            application: scope.application.clone(),
            process_id: self.definition.id.clone(),
            release_id: scope.release_id.clone(),
            release_path: scope.release_path.clone(),
            revision: Some(scope.revision.clone()),
            replica_index: self.replica,
            replica_count: self.definition.replicas,
            port: self.port(),
            ports: scope.ports.clone(),
            proxy_host: scope.proxy_host.clone(),
            proxy_port: scope.proxy_port,
            proxy_upstream_host: scope.upstream_host.clone(),
            daemon_environment: scope.environment.clone(),
        }
    }
}

/// A value nobody can guess and nothing has had before: 128 random bits in hex.
pub(super) fn new_token() -> String {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).expect("a running Linux or macOS has randomness to give");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
