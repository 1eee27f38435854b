//! An engine that goes on where the one before it stopped.

use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;

use super::deploy::Interrupted;
use super::noting::{BOOK_KEY, BookNote, NEXT_CONNECTION_KEY};
use super::standing::Standing;
use super::{Book, Engine, Start, owner};
use crate::host::{Estate, Heir, ProcessHost, Unreadable};
use crate::process::ManagedProcess;
use crate::proxy::Proxy;
use crate::release::lifecycle::Phase;
use crate::release::ports::PortBook;
use crate::release::{Release, ReleaseKey, Surroundings, stop_all};

/// Why an engine cannot go on where the one before stopped.
#[derive(Debug, Error)]
pub enum ResumeError {
    /// What that noted cannot be read.
    #[error("cannot go on where the engine before stopped: {0}")]
    Notes(#[from] Unreadable),
    /// The system refuses threads or descriptors.
    #[error("cannot start the proxy: {0}")]
    Proxy(#[from] std::io::Error),
}

/// Whether an engine of this program could go on from what `estate` tells.
///
/// # Errors
/// When a note cannot be read.
pub fn rehearse(estate: &Estate) -> Result<(), Unreadable> {
    estate.find::<BookNote>(BOOK_KEY)?;
    super::noted_events(estate)?;
    ManagedProcess::check_notes(estate)?;
    Interrupted::check_note(estate)?;
    owner::check_note(estate)?;
    Release::check_notes(estate)
}

impl Engine {
    /// Goes on where an earlier engine stopped, if `estate` tells of one that had come to serve; the config in `start` is
    /// then the noted one. `give_up` is called where processes have been taken over and it cannot go on: it must end this
    /// process at once, for whatever tidied up on the way would end them too.
    pub fn resume(
        start: Start,
        mut estate: Estate,
        give_up: fn(ResumeError) -> !,
    ) -> Result<Engine, ResumeError> {
        if let Some(next) = estate.find(NEXT_CONNECTION_KEY)? {
            Proxy::number_from(next);
        }
        let Some(note) = estate.find::<BookNote>(BOOK_KEY)? else {
            return Ok(Engine::start(start)?);
        };
        let BookNote {
            config,
            releases,
            active,
            activations,
            mut instances,
            kept_ports,
            services,
            singletons,
            orphans,
            closing,
            left,
        } = note;
        let surroundings = Surroundings {
            host: &start.host,
            events: &start.events,
            environment: &Arc::new(start.environment.clone()),
        };
        // Before anything is taken over: what was taken over must not be let go of again.
        ManagedProcess::check_notes(&estate)?;
        Interrupted::check_note(&estate)?;
        owner::check_note(&estate)?;
        let releases = Release::resume_all(&mut estate, &surroundings, &releases)?;
        for ReleaseKey { id, instance } in releases.iter().map(|release| release.key()) {
            let newest = instances.entry(id.clone()).or_default();
            *newest = (*newest).max(*instance);
        }
        let mut stand = |list: Vec<(String, u64)>| -> Result<Vec<Standing>, Unreadable> {
            let resume = |(id, number): (String, u64)| {
                let process = ManagedProcess::resume(
                    surroundings.host.clone(),
                    surroundings.events.clone(),
                    number,
                    &mut estate,
                    surroundings.environment,
                )?;
                Ok(Standing { id, process })
            };
            list.into_iter().map(resume).collect()
        };
        let (services, singletons) = (stand(services)?, stand(singletons)?);
        let ports = reserved_ports(&releases, &kept_ports);
        let book = Book {
            releases,
            active,
            activations,
            services,
            singletons,
            ports,
            instances,
            kept_ports,
        };
        let start = Start { config, ..start };
        end_strangers(&start.host, std::mem::take(&mut estate.children));
        let engine = match Engine::with(start, book, !left) {
            Ok(engine) => engine,
            Err(error) => give_up(error.into()),
        };
        engine.forget_unclaimed(&estate);
        *engine.recorded() = orphans;
        engine.note_book(&engine.book());
        match engine.go_on(&estate, closing) {
            Ok(()) => Ok(engine),
            Err(error) => give_up(error.into()),
        }
    }

    /// Notes and lines of processes that were over.
    fn forget_unclaimed(&self, estate: &Estate) {
        let claimed: Vec<u64> = self.processes().iter().map(ManagedProcess::number).collect();
        ManagedProcess::forget_all_but(&claimed, estate, &*self.inner.host);
    }

    fn go_on(&self, estate: &Estate, closing: bool) -> Result<(), Unreadable> {
        let interrupted = Interrupted::find(self, estate)?;
        let releases = self.book().releases.clone();
        for release in &releases {
            self.follow_to_its_end(release);
            if interrupted
                .as_ref()
                .is_some_and(|deploy| deploy.concerns(release))
            {
                continue;
            }
            match release.phase() {
                // It was made in the very moment in which the engine ended.
                Phase::Starting => drop(tokio::spawn({
                    let release = release.clone();
                    async move { release.undo().await }
                })),
                Phase::Returning | Phase::Superseded => release.retired(&self.config()),
                // It was being stopped, and had not heard of it.
                Phase::Active if self.book().active.as_ref() != Some(release.key()) => {
                    let release = release.clone();
                    tokio::spawn(async move { release.stop().await });
                }
                _ => {}
            }
        }
        if let Some(deploy) = interrupted {
            let mut book = self.book();
            deploy.ports().for_each(|(id, port)| book.ports.enter(*port, id));
            drop(book);
            let description = deploy.description();
            match self.inner.turn.take(&description, None) {
                Ok(held) => drop(tokio::spawn(deploy.conclude(held))),
                // Nobody can have it in an engine that has just begun.
                Err(_) => deploy.forget(),
            }
        } else if self.book().active.is_none() {
            // A stop of the active release may not have come to its singletons.
            let singletons = self.book().singletons.clone();
            tokio::spawn(async move { stop_all(singletons.iter().map(|one| &one.process)).await });
        }
        self.go_on_leaving(estate)?;
        if closing {
            self.begin_shutdown();
        }
        Ok(())
    }
}

fn reserved_ports(releases: &[Arc<Release>], kept: &BTreeMap<String, u16>) -> PortBook {
    let mut book = PortBook::default();
    for release in releases.iter().filter(|release| !release.phase().is_over()) {
        let blueprint = release.blueprint();
        for (id, port) in &blueprint.ports {
            if blueprint.reserved.contains(port) {
                book.enter(*port, id);
            }
        }
    }
    kept.iter().for_each(|(id, port)| book.enter(*port, id));
    book
}

/// Children of processes that nobody knows any more: what they belonged to was over.
fn end_strangers(host: &Arc<dyn ProcessHost>, children: Vec<Heir>) {
    for heir in children {
        crate::process::end_child(host.clone(), heir.child);
    }
}
