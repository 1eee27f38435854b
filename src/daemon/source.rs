//! Where the daemon reads its config again, before each deploy and rollback.

use std::sync::Arc;

use crate::config::{self, Config, ConfigError, ConfigFile};

/// Where a config comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigSource {
    /// A file, evaluated anew each time.
    File(ConfigFile),
    /// An object that somebody handed over: it never changes.
    Fixed,
}

impl ConfigSource {
    /// The config as it is now.
    pub(super) async fn load(&self, in_force: &Arc<Config>) -> Result<Arc<Config>, ConfigError> {
        match self {
            ConfigSource::File(file) => Ok(Arc::new(config::load(file).await?.config)),
            ConfigSource::Fixed => Ok(in_force.clone()),
        }
    }
}
