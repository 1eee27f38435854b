//! Processes that belong to no release: persistent services and singletons. They keep their port for the daemon's life.

use crate::config::{Config, DeployStrategy, Policy, ProcessDefinition};
use crate::process::ManagedProcess;

/// A process that stands beside the releases.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    /// The id of its definition.
    pub id: String,
    /// The process.
    pub process: ManagedProcess,
}

/// The definitions of persistent services, in config order.
pub(super) fn services(config: &Config) -> impl Iterator<Item = &ProcessDefinition> {
    of_policy(config, Policy::Service)
        .filter(|definition| definition.deploy_strategy == DeployStrategy::Persistent)
}

/// The definitions of singletons, in config order.
pub(super) fn singletons(config: &Config) -> impl Iterator<Item = &ProcessDefinition> {
    of_policy(config, Policy::Singleton)
}

/// Whether the port of this definition is kept for the daemon's life.
pub(super) fn keeps_port(definition: &ProcessDefinition) -> bool {
    match definition.policy {
        Policy::Singleton => true,
        Policy::Service => definition.deploy_strategy == DeployStrategy::Persistent,
        Policy::Proxied | Policy::Companion => false,
    }
}

fn of_policy(config: &Config, policy: Policy) -> impl Iterator<Item = &ProcessDefinition> {
    config
        .processes
        .iter()
        .filter(move |definition| definition.policy == policy)
}
