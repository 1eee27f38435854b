//! The owner's side: it passes its listeners, stops what there may be only one of, and drains, once its successor serves.

use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::UnboundedReceiver;

use super::clients::{Onward, pass_on};
use super::{FromOwner, Passed, ToOwner, is_exclusive};
use crate::daemon::handover::next_connection;
use crate::daemon::turn::Held;
use crate::daemon::{Engine, EngineError, settings};
use crate::error::plain;
use crate::events::Milestone;
use crate::host::platform::packet_sockets;
use crate::host::{Estate, ProcessIdentity, Unreadable, note_of};
use crate::keeper::Handover;
use crate::process::{ManagedProcess, StartReason};
use crate::proxy::{Guest, Handed, Proxy, Stage};
use crate::release::{ReleaseKey, stop_all};

/// The key of the note of what has been stopped for a successor.
const KEY: &str = "leaving";

/// What has the turn meanwhile.
const TURN: &str = "the way of another daemon into this one's place";

/// How often is looked whether a successor that failed is gone.
const LOOK: Duration = Duration::from_millis(50);

/// So many looks in a row that find no client say that none is left.
const QUIET_LOOKS: u32 = 3;

/// How long the last clients may take to come to rest once no release has a request any more.
const LAST_CLIENTS: Duration = Duration::from_secs(1);

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetireRequest {
    /// Which start of the successor this is for; told in the events.
    pub attestation: String,
    /// The pid of the successor; without one nobody takes over, and the daemon only leaves.
    pub successor: Option<i32>,
}

/// What the next engine must know, should this one end in the middle.
#[derive(Serialize, Deserialize)]
struct LeavingNote {
    /// The numbers of the processes that were stopped.
    stopped: Vec<u64>,
    successor: Option<ProcessIdentity>,
}

/// A daemon that is about to leave.
#[derive(Debug)]
pub struct Leaving {
    engine: Engine,
    attestation: String,
    successor: Option<ProcessIdentity>,
    /// None where nobody takes over.
    way: Option<OwnedFd>,
    /// Nothing is deployed any more.
    turn: Held,
}

/// Whether the next engine can read what has been stopped for a successor.
///
/// # Errors
/// When it cannot.
pub(in crate::daemon) fn check_note(estate: &Estate) -> Result<(), Unreadable> {
    estate.find::<LeavingNote>(KEY).map(drop)
}

impl Engine {
    /// The first step of leaving: from here on nothing is deployed. What is passed goes to the successor, if there is one.
    ///
    /// # Errors
    ///
    /// This daemon cannot leave now, or not this way; nothing has changed.
    pub fn begin_to_leave(&self, request: RetireRequest) -> Result<(Leaving, Option<Passed>), EngineError> {
        self.refuse_when_closing("let another daemon take its place")?;
        let turn = self.inner.turn.take(TURN, None);
        let turn = turn.map_err(|running| EngineError::DeployInProgress { running })?;
        let mut leaving = Leaving {
            engine: self.clone(),
            attestation: request.attestation,
            successor: request.successor.and_then(ProcessIdentity::of),
            way: None,
            turn,
        };
        if request.successor.is_none() {
            return Ok((leaving, None));
        }
        let no_sockets =
            |error: std::io::Error| EngineError::CannotLeave(format!("it has no socket: {}", plain(&error)));
        let (ours, theirs) = packet_sockets().map_err(no_sockets)?;
        let control = self.inner.control_listener.get().ok_or_else(|| {
            EngineError::CannotLeave(
                "its control socket belongs to a service manager; restart the service instead".to_owned(),
            )
        })?;
        leaving.way = Some(ours);
        let passed = Passed {
            proxy: self.inner.proxy_listener.try_clone().map_err(no_sockets)?,
            control: control.try_clone().map_err(no_sockets)?,
            way: theirs,
        };
        Ok((leaving, Some(passed)))
    }

    /// Whether this daemon has left its place, to another or to nobody: it only drains.
    pub fn has_left(&self) -> bool {
        self.inner.left.is_cancelled()
    }

    /// Whether another daemon has its sockets.
    pub fn is_succeeded(&self) -> bool {
        self.inner.succeeded.is_cancelled()
    }

    /// Waits until one has.
    pub async fn succeeded(&self) {
        self.inner.succeeded.cancelled().await;
    }

    /// Goes on where an earlier engine was leaving.
    pub(in crate::daemon) fn go_on_leaving(&self, estate: &Estate) -> Result<(), Unreadable> {
        let note = estate.find::<LeavingNote>(KEY)?;
        if self.has_left() && note.is_some() {
            let engine = self.clone();
            tokio::spawn(async move {
                engine.inner.proxy.switch(None).await;
                engine.inner.proxy.take_back().await;
                engine.drain_and_end(None, None, Vec::new()).await;
            });
            return Ok(());
        }
        if self.has_left() {
            self.inner.succeeded.cancel();
            // The connections of the engine before have ended with it, and so has its way to the successor.
            let _ = self.inner.onward.set(None);
            let (engine, clients) = (self.clone(), self.inner.proxy.hand_over());
            tokio::spawn(async move { engine.drain_and_end(Some(clients), None, Vec::new()).await });
            return Ok(());
        }
        let Some(note) = note else {
            return Ok(());
        };
        let stopped = self.processes().into_iter();
        let stopped = stopped.filter(|process| note.stopped.contains(&process.number()));
        let (engine, stopped): (Engine, Vec<ManagedProcess>) = (self.clone(), stopped.collect());
        // Nobody else can have it: the engine before had it, and this one has just begun.
        let turn = self.inner.turn.take(TURN, None);
        tokio::spawn(async move {
            engine.stay(stopped, note.successor).await;
            drop(turn);
        });
        Ok(())
    }

    /// The successor has failed: once nothing of it can be there any more, what was stopped for it is started again.
    async fn stay(&self, stopped: Vec<ManagedProcess>, successor: Option<ProcessIdentity>) {
        while successor.as_ref().is_some_and(ProcessIdentity::is_alive) {
            tokio::select! {
                () = self.closing() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        for process in stopped {
            // What is in the way of its start is told by an event, and its restart policy goes on.
            let _ = process.start(StartReason::Manual).await;
        }
        self.inner.host.note(vec![(KEY.to_owned(), None)]);
    }

    /// The processes that a successor may not have beside this daemon.
    fn exclusive_processes(&self) -> Vec<ManagedProcess> {
        let config = self.config();
        let book = self.book();
        let standing = book.services.iter().chain(&book.singletons);
        let is_exclusive = |id: &str| config.process(id).is_none_or(is_exclusive);
        let exclusive = standing
            .filter(|one| is_exclusive(&one.id))
            .map(|one| &one.process);
        let runs = |process: &&ManagedProcess| !process.status().condition.is_at_rest();
        exclusive.filter(runs).cloned().collect()
    }

    /// Gives its clients over as they come to rest, and ends when nothing of its releases is needed any more.
    async fn drain_and_end(
        &self,
        clients: Option<UnboundedReceiver<Handed>>,
        way: Onward,
        guests: Vec<(ReleaseKey, Guest)>,
    ) {
        let releases = {
            let mut book = self.book();
            let active = book.active();
            book.active = None;
            self.note_book(&book);
            drop(book);
            if let Some(active) = active {
                active.retired(&self.config());
            }
            self.book().releases.clone()
        };
        let giving = clients.map(|clients| tokio::spawn(self.clone().give_clients(clients, way, guests)));
        for release in &releases {
            release.wait_until_drained().await;
        }
        // What is still here has no request; at the end it is closed.
        if let Some(mut giving) = giving
            && tokio::time::timeout(LAST_CLIENTS, &mut giving).await.is_err()
        {
            giving.abort();
        }
        self.shutdown().await;
    }

    /// Upgraded connections stay: their other end is a process of this daemon. Until each has found its new place, and no
    /// request can begin here any more, `guests` see to it that no release is taken for drained.
    async fn give_clients(
        self,
        mut clients: UnboundedReceiver<Handed>,
        way: Onward,
        mut guests: Vec<(ReleaseKey, Guest)>,
    ) {
        let mut tunnels = None;
        let mut have_left = false;
        let mut quiet_looks = 0;
        loop {
            tokio::select! {
                biased;
                handed = clients.recv() => match handed {
                    Some(handed) => self.give(handed, way.as_deref(), &mut tunnels).await,
                    // It must stay so: one that was just on its way to a worker is asked once more.
                    None if quiet_looks >= QUIET_LOOKS => break,
                    None => {
                        tokio::time::sleep(LOOK).await;
                        quiet_looks += 1;
                        if self.inner.proxy.clients() > 0 {
                            quiet_looks = 0;
                            clients = self.inner.proxy.hand_over();
                        }
                    }
                },
                // Nothing is on its way, at this moment.
                () = tokio::time::sleep(LOOK), if !guests.is_empty() => {
                    // What had left by the last look has found its place by now.
                    if have_left {
                        guests.clear();
                    }
                    have_left = self.inner.proxy.only_finishes().await;
                }
            }
        }
        drop(guests);
        // They live as long as this proxy does, which is as long as this task: the shutdown comes after the drain.
        if tunnels.is_some() {
            self.closing().await;
        }
    }

    async fn give(&self, handed: Handed, way: Option<&Handover>, tunnels: &mut Option<Proxy>) {
        match &handed.state.stage {
            Stage::Tunnel(tunnel) => {
                let route = self
                    .book()
                    .of_route(tunnel.route)
                    .map(|release| release.route().clone());
                if tunnels.is_none() {
                    *tunnels = self.proxy_for_tunnels().ok();
                }
                if let Some(proxy) = tunnels {
                    proxy.adopt(handed, route);
                }
            }
            _ => pass_on(handed, way).await,
        }
    }

    /// One that nobody connects to: the listener of the other one is the successor's.
    fn proxy_for_tunnels(&self) -> std::io::Result<Proxy> {
        let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        Proxy::start(nobody, settings::of(&self.config()), None)
    }
}

impl Leaving {
    /// All the other steps. Returns when this daemon has left, and drains.
    ///
    /// # Errors
    ///
    /// The successor did not come to serve: this daemon goes on.
    pub async fn carry_out(mut self) -> Result<(), EngineError> {
        let way = self.way.take().map(Handover::new).transpose();
        let way = way.map_err(|error| EngineError::CannotLeave(plain(&error)))?;
        self.engine.record(Milestone::OwnerLeaving {
            attestation: self.attestation.clone(),
        });
        if let Some(way) = &way
            && !self
                .hears(way, |message| matches!(message, ToOwner::Stop {}))
                .await
        {
            return Err(self.stay(Vec::new()));
        }
        let stopped = self.engine.exclusive_processes();
        let note = LeavingNote {
            stopped: stopped.iter().map(ManagedProcess::number).collect(),
            successor: self.successor.clone(),
        };
        let host = &self.engine.inner.host;
        host.note(vec![note_of(KEY.to_owned(), &note)]);
        stop_all(stopped.iter()).await;
        if let Some(way) = &way {
            let told = way.send(&FromOwner::Stopped {}, &[]).await.is_ok();
            if !told
                || !self
                    .hears(way, |message| matches!(message, ToOwner::Done {}))
                    .await
            {
                return Err(self.stay(stopped));
            }
        }
        self.leave(way).await
    }

    /// Waits for a message; false if the successor goes away, or this daemon is to end.
    async fn hears(&self, way: &Handover, is_it: impl Fn(&ToOwner) -> bool) -> bool {
        tokio::select! {
            () = self.engine.closing() => false,
            message = way.receive::<ToOwner>() => {
                matches!(message, Ok(Some((message, _))) if is_it(&message))
            }
        }
    }

    fn stay(self, stopped: Vec<ManagedProcess>) -> EngineError {
        self.engine.record(Milestone::OwnerStays {
            attestation: self.attestation.clone(),
        });
        tokio::spawn(async move {
            self.engine.stay(stopped, self.successor.clone()).await;
            drop(self.turn);
        });
        EngineError::CannotLeave("whoever was to take its place has gone".to_owned())
    }

    async fn leave(self, way: Option<Handover>) -> Result<(), EngineError> {
        if let Some(state) = self.engine.inner.state.get() {
            // Whoever comes after writes a file of its own there, and must not find one of a daemon that lives.
            state.conclude().await;
        }
        if self.engine.is_closing() {
            return Err(self.stay(Vec::new()));
        }
        let engine = self.engine;
        engine.inner.left.cancel();
        if way.is_some() {
            engine.inner.succeeded.cancel();
        }
        // By a note of what was stopped that stays, a next engine knows that nobody has the sockets.
        let left = engine.book_note(&engine.book());
        let no_more = way.is_some().then(|| (KEY.to_owned(), None));
        let notes = [left].into_iter().chain(no_more).collect();
        engine.inner.host.note(notes);
        engine.record(Milestone::OwnerLeft {
            attestation: self.attestation,
        });
        engine.settled().await;
        let Some(way) = way else {
            engine.inner.proxy.switch(None).await;
            tokio::spawn(async move { engine.drain_and_end(None, None, Vec::new()).await });
            return Ok(());
        };
        let guests = engine.one_guest_of_each();
        let clients = engine.inner.proxy.hand_over();
        let next_connection = next_connection();
        // It goes on alone from here, whether it hears this or not.
        let _ = way.send(&FromOwner::Left { next_connection }, &[]).await;
        let way = Some(Arc::new(way));
        // It is set once: a daemon leaves once.
        let _ = engine.inner.onward.set(way.clone());
        drop(self.turn);
        tokio::spawn(async move { engine.drain_and_end(Some(clients), way, guests).await });
        Ok(())
    }
}
