//! Where the daemon reads its config again, before each deploy and rollback.

use std::sync::{Arc, Mutex, PoisonError};

use crate::config::{self, Config, ConfigError, ConfigFile};

/// Where a config comes from.
#[derive(Clone, Debug)]
pub enum ConfigSource {
    /// A file, evaluated anew each time.
    File(ConfigFile),
    /// An object that somebody handed over: it never changes.
    Fixed,
    /// Whoever runs the engine reads it, and hands over what it is now.
    Handed(Arc<HandedConfig>),
}

impl ConfigSource {
    /// The config as it is now.
    pub(super) async fn load(&self, in_force: &Arc<Config>) -> Result<Arc<Config>, ConfigError> {
        match self {
            ConfigSource::File(file) => Ok(Arc::new(config::load(file).await?.config)),
            ConfigSource::Fixed => Ok(in_force.clone()),
            ConfigSource::Handed(handed) => Ok(handed.take().unwrap_or_else(|| in_force.clone())),
        }
    }
}

/// A config that was handed over and not taken yet.
#[derive(Debug, Default)]
pub struct HandedConfig(Mutex<Option<Arc<Config>>>);

impl HandedConfig {
    /// For the next deploy or rollback.
    pub fn put(&self, config: Config) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(config));
    }

    fn take(&self) -> Option<Arc<Config>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
