//! An engine that goes on where others have retired: it takes their connections over one by one, and counts what they still
//! serve as its own, so that no release is stopped before the last of its requests has been answered anywhere.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use super::elsewhere::Question;
use super::handover::{FromRetired, OpenThere, ToRetired};
use super::{Engine, EngineError};
use crate::host::platform::maker;
use crate::keeper::{Handover, Upgrade};
use crate::proxy::{Guest, Handed};
use crate::release::ReleaseKey;

/// How much later fewer open requests are believed: one that is handed over leaves the count there before it is counted
/// here.
const GRACE: Duration = Duration::from_millis(200);

/// How long the keeper may take to go on as another program; it has one system call to make.
const LONGEST_REPLACEMENT: Duration = Duration::from_secs(10);

/// A client of an engine before this one, which waits for the answer to its upgrade.
#[derive(Debug)]
pub struct HandedClient {
    /// Its control connection.
    pub socket: OwnedFd,
    /// The version of the engine it asked.
    pub previous_version: String,
}

/// Such clients, until somebody answers them.
#[derive(Debug, Default)]
pub(super) struct HandedClients {
    waiting: Mutex<VecDeque<HandedClient>>,
    more: Notify,
}

/// What is open elsewhere, counted here.
type Guests = BTreeMap<ReleaseKey, Vec<Guest>>;

impl Engine {
    /// Takes over from these retired engines. Must be called before anything of this engine runs.
    pub(super) fn succeed(&self, handovers: Vec<(String, OwnedFd)>) {
        for (name, socket) in handovers {
            // Nobody knows yet what is open there, so everything may be.
            let guests = self.one_guest_of_each();
            let guests = guests
                .into_iter()
                .map(|(key, guest)| (key, vec![guest]))
                .collect();
            let engine = self.clone();
            let retired = maker(&socket).ok();
            if let Some(pid) = retired {
                self.inner.host.know_retired(pid, true);
            }
            let questions = self.inner.elsewhere.add(&name);
            tokio::spawn(async move {
                // One that talks nonsense is as good as gone.
                let _ = engine.take_over_from(socket, guests, questions).await;
                engine.inner.elsewhere.remove(&name);
                if let Some(pid) = retired {
                    engine.inner.host.know_retired(pid, false);
                }
                engine.inner.host.let_go(name);
            });
        }
    }

    /// The next client of an engine before this one that waits for an answer.
    pub async fn next_handed_client(&self) -> HandedClient {
        let clients = &self.inner.handed_clients;
        loop {
            let more = clients.more.notified();
            let next = clients
                .waiting
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop_front();
            match next {
                Some(client) => return client,
                None => more.await,
            }
        }
    }

    /// Waits until it is known what came of the upgrade by which this engine came to serve.
    ///
    /// # Errors
    /// When this is not the program that was to take over, or the keeper is not of this program.
    pub async fn upgraded(&self) -> Result<(), EngineError> {
        if let Some(Upgrade::Failed(reason)) = &self.inner.past.upgrade {
            return Err(EngineError::Upgrade(reason.clone()));
        }
        let replaced = tokio::time::timeout(LONGEST_REPLACEMENT, self.inner.host.replaced()).await;
        replaced
            .unwrap_or_else(|_| Err("it does not say whether it has been replaced".to_owned()))
            .map_err(EngineError::KeeperStays)
    }

    /// Something open in each release that is not over, so that none of them is taken for idle.
    pub(super) fn one_guest_of_each(&self) -> Vec<(ReleaseKey, Guest)> {
        let book = self.book();
        let live = book.releases.iter().filter(|release| !release.phase().is_over());
        live.map(|release| (release.key().clone(), Guest::http(release.route())))
            .collect()
    }

    async fn take_over_from(
        &self,
        socket: OwnedFd,
        mut guests: Guests,
        mut questions: mpsc::UnboundedReceiver<Question>,
    ) -> std::io::Result<()> {
        let way = Handover::new(socket)?;
        // What an engine has sent that has ended since is still to be read; it only cannot be told anything.
        let _ = way.send(&ToRetired::Here {}, &[]).await;
        let (cuts, mut to_be_cut) = mpsc::unbounded_channel();
        let mut watches = JoinSet::new();
        let mut watched = BTreeSet::new();
        let mut leaving = JoinSet::new();
        let mut asked = BTreeMap::new();
        let mut next_question: u64 = 0;
        loop {
            let (message, descriptors) = tokio::select! {
                message = way.receive() => match message? {
                    Some(message) => message,
                    None => return Ok(()),
                },
                Some(release) = to_be_cut.recv() => {
                    let _ = way.send(&ToRetired::Cut { release }, &[]).await;
                    continue;
                }
                Some(Question { close, answer }) = questions.recv() => {
                    next_question += 1;
                    let question = next_question;
                    asked.insert(question, answer);
                    let _ = way.send(&ToRetired::Look { question, close }, &[]).await;
                    continue;
                }
                Some(_) = leaving.join_next() => continue,
            };
            match message {
                FromRetired::Asked { previous_version } => self.hear_client(descriptors, previous_version),
                FromRetired::Connection { state, release } => {
                    let mut descriptors = descriptors.into_iter();
                    let Some(client) = descriptors.next() else {
                        continue;
                    };
                    let handed = Handed {
                        state,
                        client,
                        upstream: descriptors.next(),
                    };
                    let release = release.and_then(|key| self.book().release(&key));
                    let route = release.map(|release| release.route().clone());
                    self.go_on_with_client(handed, route).await;
                }
                FromRetired::Seen { question, open } => {
                    if let Some(answer) = asked.remove(&question) {
                        // Whoever asked may have lost patience.
                        let _ = answer.send(open);
                    }
                }
                FromRetired::Open { releases } => {
                    let new = self.guests_of(&releases);
                    for key in new.keys() {
                        if watched.insert(key.clone()) {
                            self.watch_for_cut(key, &cuts, &mut watches);
                        }
                    }
                    let old = std::mem::replace(&mut guests, new);
                    leaving.spawn(async move {
                        tokio::time::sleep(GRACE).await;
                        drop(old);
                    });
                }
            }
        }
    }

    fn hear_client(&self, descriptors: VecDeque<OwnedFd>, previous_version: String) {
        let clients = &self.inner.handed_clients;
        let mut waiting = clients.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.extend(descriptors.into_iter().map(|socket| HandedClient {
            socket,
            previous_version: previous_version.clone(),
        }));
        clients.more.notify_one();
    }

    fn guests_of(&self, open: &[OpenThere]) -> Guests {
        let book = self.book();
        let counted = open.iter().filter_map(|open| {
            let release = book.release(&open.release)?;
            let requests = (0..open.http).map(|_| Guest::http(release.route()));
            let upgraded = (0..open.websocket).map(|_| Guest::upgraded(release.route()));
            Some((open.release.clone(), requests.chain(upgraded).collect()))
        });
        counted.collect()
    }

    fn watch_for_cut(
        &self,
        key: &ReleaseKey,
        cuts: &mpsc::UnboundedSender<ReleaseKey>,
        watches: &mut JoinSet<()>,
    ) {
        let Some(release) = self.book().release(key) else {
            return;
        };
        let (route, key, cuts) = (release.route().clone(), key.clone(), cuts.clone());
        watches.spawn(async move {
            route.connections().wait_closed().await;
            // Who has no more connections there needs no cut.
            let _ = cuts.send(key);
        });
    }
}
