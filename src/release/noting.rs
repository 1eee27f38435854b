//! What the next engine must know of a release, and a release taken over from an earlier engine.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use serde::{Deserialize, Serialize};

use super::health::Target;
use super::lifecycle::{Life, Phase};
use super::{Blueprint, Parts, Release, ReleaseKey};
use crate::clock::{ClockSetting, SteadyClock};
use crate::config::{Config, os_text};
use crate::events::EventLog;
use crate::host::{Estate, Note, ProcessHost, Unreadable, note_of};
use crate::process::{ManagedProcess, Scope};

/// What the keys of all notes of releases begin with.
const PREFIX: &str = "release/";

/// The note of one release.
#[derive(Serialize, Deserialize)]
struct ReleaseNote {
    key: ReleaseKey,
    #[serde(with = "os_text")]
    path: PathBuf,
    revision: String,
    config: Arc<Config>,
    ports: BTreeMap<String, u16>,
    reserved: Vec<u16>,
    scope: Arc<Scope>,
    target: Target,
    life: Life,
    /// What its drain is measured by; an engine of an earlier version did not tell.
    #[serde(default)]
    clock: Option<ClockSetting>,
    /// The config it retires by, if that is not its own.
    retires_by: Option<Arc<Config>>,
    handoffs: Vec<u64>,
    companions: Vec<u64>,
    proxied: u64,
}

/// The environment and everything else a release shares with its daemon.
pub struct Surroundings<'a> {
    /// Starts the processes.
    pub host: &'a Arc<dyn ProcessHost>,
    /// Where milestones go.
    pub events: &'a Arc<EventLog>,
    /// The environment processes inherit.
    pub environment: &'a Arc<BTreeMap<OsString, OsString>>,
}

impl Release {
    /// Notes how things stand.
    pub(super) fn note(&self) {
        let note = self.to_note();
        self.host.note(vec![note]);
    }

    fn to_note(&self) -> Note {
        let blueprint = &self.blueprint;
        let retires_by = self.retires_by.lock().unwrap_or_else(PoisonError::into_inner);
        let numbers = |processes: &[ManagedProcess]| processes.iter().map(ManagedProcess::number).collect();
        let note = ReleaseNote {
            key: blueprint.key.clone(),
            path: blueprint.path.clone(),
            revision: blueprint.revision.clone(),
            config: blueprint.config.clone(),
            ports: blueprint.ports.clone(),
            reserved: blueprint.reserved.clone(),
            scope: blueprint.scope.clone(),
            target: blueprint.target.clone(),
            life: self.life(),
            clock: Some(self.clock.setting()),
            retires_by: Some(retires_by.clone()).filter(|config| !Arc::ptr_eq(config, &blueprint.config)),
            handoffs: numbers(&self.handoffs),
            companions: numbers(&self.companions),
            proxied: self.proxied.number(),
        };
        note_of(key_of(&blueprint.key), &note)
    }

    /// Whether the notes of all releases can be read.
    ///
    /// # Errors
    /// When one cannot.
    pub fn check_notes(estate: &Estate) -> Result<(), Unreadable> {
        let keys = estate.keys(PREFIX);
        keys.iter()
            .try_for_each(|key| estate.get::<ReleaseNote>(key).map(drop))
    }

    /// Every release an earlier engine knew, oldest first, with what it was about to do going on.
    ///
    /// # Errors
    /// When what is noted of one cannot be read.
    pub fn resume_all(
        estate: &mut Estate,
        surroundings: &Surroundings<'_>,
        order: &[ReleaseKey],
    ) -> Result<Vec<Arc<Release>>, Unreadable> {
        let mut known = BTreeMap::new();
        for key in estate.keys(PREFIX) {
            let note: ReleaseNote = estate.get(&key)?;
            let place = order.iter().position(|ordered| *ordered == note.key);
            // One that was just made was not entered in the order any more: it is the newest.
            known.insert((place.unwrap_or(usize::MAX), key), note);
        }
        known
            .into_values()
            .map(|note| note.resume(estate, surroundings))
            .collect()
    }
}

impl ReleaseNote {
    fn resume(
        mut self,
        estate: &mut Estate,
        surroundings: &Surroundings<'_>,
    ) -> Result<Arc<Release>, Unreadable> {
        let Surroundings {
            host,
            events,
            environment,
        } = *surroundings;
        let mut resume =
            |number: u64| ManagedProcess::resume(host.clone(), events.clone(), number, estate, environment);
        let mut all = |numbers: &[u64]| numbers.iter().map(|number| resume(*number)).collect();
        let handoffs: Result<Vec<_>, _> = all(&self.handoffs);
        let companions: Result<Vec<_>, _> = all(&self.companions);
        let parts = Parts {
            handoffs: handoffs?,
            companions: companions?,
            proxied: resume(self.proxied)?,
        };
        Arc::make_mut(&mut self.scope).environment = environment.clone();
        let blueprint = Blueprint {
            key: self.key,
            path: self.path,
            revision: self.revision,
            config: self.config.clone(),
            ports: self.ports,
            reserved: self.reserved,
            scope: self.scope,
            target: self.target,
        };
        let retires_by = self.retires_by.unwrap_or(self.config);
        let clock = self.clock.map_or_else(SteadyClock::start, SteadyClock::go_on);
        let release = Release::assemble(blueprint, parts, (self.life, clock), retires_by, host, events);
        release.go_on();
        Ok(release)
    }
}

impl Release {
    /// Does again what the phase asks for: its processes may not have heard of it.
    fn go_on(self: &Arc<Self>) {
        let allow = |allowed: bool| {
            self.processes()
                .for_each(|process| process.allow_restarts(allowed));
        };
        match self.phase() {
            // Whoever deploys decides what becomes of it.
            Phase::Starting => {}
            Phase::Active | Phase::Superseded | Phase::Returning => allow(true),
            Phase::Undoing | Phase::Ending => {
                allow(false);
                drop(tokio::spawn(self.clone().stop_processes()));
            }
            Phase::Draining => {
                allow(false);
                self.retire_by_rules();
                self.stop_early();
                // After an upgrade its connections are still to come; else they went with the engine before.
                let life = self.life();
                let since = life
                    .draining_since()
                    .or(life.drain_started_at())
                    .unwrap_or_else(|| self.clock.now());
                self.watch_until(since.plus(self.retiring_config().proxy.drain_timeout));
            }
            Phase::Stopped | Phase::Failed => {}
        }
    }
}

/// The key of the note of this release.
pub(super) fn key_of(key: &ReleaseKey) -> String {
    format!("{PREFIX}{}/{}", key.instance, key.id)
}
