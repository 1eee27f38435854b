//! A host whose children are made up. What a child does is written in its command, as words:
//!
//! * `exit:<ms>:<code>`: the leader exits after that time;
//! * `stubborn`: it ignores every signal but SIGKILL;
//! * `others:<count>`: it starts others that live until they are signalled;
//! * `broken`: it cannot be spawned.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::host::{
    BoxFuture, Child, ChildId, Depth, Exit, Log, Member, Note, ProcessHost, Role, SignalError, SpawnError,
    SpawnSpec, Usage,
};

#[derive(Debug)]
pub struct FakeHost {
    began: Instant,
    spawn_takes: Duration,
    state: Mutex<State>,
    myself: Weak<FakeHost>,
}

#[derive(Debug, Default)]
struct State {
    children: HashMap<ChildId, FakeChild>,
    /// What was done when, in milliseconds since the beginning.
    journal: Vec<(u128, String)>,
    rss_bytes: u64,
}

#[derive(Debug)]
struct FakeChild {
    command: String,
    /// Gone once nobody is left who could write.
    events: Option<mpsc::Sender<Exit>>,
    leader_lives: bool,
    others: usize,
}

impl FakeHost {
    /// Every spawn takes this long.
    pub fn slow(spawn_takes: Duration) -> Arc<FakeHost> {
        Arc::new_cyclic(|myself| FakeHost {
            began: Instant::now(),
            spawn_takes,
            state: Mutex::default(),
            myself: myself.clone(),
        })
    }

    pub fn new() -> Arc<FakeHost> {
        FakeHost::slow(Duration::ZERO)
    }

    /// What was done so far, as lines of milliseconds and words.
    pub fn journal(&self) -> Vec<String> {
        let state = self.state();
        state
            .journal
            .iter()
            .map(|(ms, what)| format!("{ms} {what}"))
            .collect()
    }

    pub fn set_rss_bytes(&self, bytes: u64) {
        self.state().rss_bytes = bytes;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn note(&self, what: String) {
        let at = self.began.elapsed().as_millis();
        self.state().journal.push((at, what));
    }

    fn end_leader(&self, id: ChildId, exit: Exit) {
        let mut state = self.state();
        let Some(child) = state.children.get_mut(&id).filter(|child| child.leader_lives) else {
            return;
        };
        child.leader_lives = false;
        if let Some(events) = &child.events {
            // Nobody hears it if the supervisor has lost interest.
            let _ = events.try_send(exit);
        }
        if child.others == 0 {
            child.events = None;
        }
    }
}

impl ProcessHost for FakeHost {
    fn open_log(&self, most_lines: usize) -> Log {
        Log::new(1, most_lines)
    }

    fn reopen_log(&self, id: u64, most_lines: usize) -> Log {
        Log::new(id, most_lines)
    }

    fn close_log(&self, _: &Log) {}

    fn note(&self, _: Vec<Note>) {}

    fn settled(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }

    fn spawn(&self, spec: SpawnSpec, _: Log, _: Role) -> BoxFuture<'_, Result<Child, SpawnError>> {
        Box::pin(async move {
            tokio::time::sleep(self.spawn_takes).await;
            if spec.command.contains("broken") {
                self.note(format!("cannot spawn {}", spec.command));
                return Err(SpawnError::Shell(std::io::ErrorKind::NotFound.into()));
            }
            self.note(format!("spawn {}", spec.command));
            let (sender, exit) = mpsc::channel(1);
            let word = |name: &str| {
                let mut words = spec.command.split(' ');
                words.find_map(|word| word.strip_prefix(name)?.strip_prefix(':'))
            };
            let others = word("others").map_or(0, |count| count.parse().unwrap());
            let mut state = self.state();
            let number = state.journal.len();
            let id = ChildId(number as u64);
            let child = FakeChild {
                command: spec.command.clone(),
                events: Some(sender),
                leader_lives: true,
                others,
            };
            state.children.insert(id, child);
            if let Some((after, code)) = word("exit").and_then(|exit| exit.split_once(':')) {
                let after = Duration::from_millis(after.parse().unwrap());
                let exit = Exit::Code(code.parse().unwrap());
                let host = self.myself.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(after).await;
                    if let Some(host) = host.upgrade() {
                        host.end_leader(id, exit);
                    }
                });
            }
            let pid = 1000 + number as i32;
            Ok(Child { id, pid, exit })
        })
    }

    fn signal(&self, child: ChildId, signal: Signal) -> Result<(), SignalError> {
        let (command, alive, obeys) = {
            let mut state = self.state();
            let Some(child) = state.children.get_mut(&child) else {
                return Ok(());
            };
            let alive = child.leader_lives || child.others > 0;
            let obeys = signal == Signal::SIGKILL || !child.command.contains("stubborn");
            if obeys {
                child.others = 0;
                if !child.leader_lives {
                    child.events = None;
                }
            }
            (child.command.clone(), alive, obeys)
        };
        if alive {
            self.note(format!("{signal} {command}"));
        }
        if obeys {
            self.end_leader(child, Exit::Signal(signal as i32));
        }
        Ok(())
    }

    fn members(&self, child: ChildId) -> Vec<Member> {
        let state = self.state();
        let count = state
            .children
            .get(&child)
            .map_or(0, |child| usize::from(child.leader_lives) + child.others);
        (0..count)
            .map(|pid| Member {
                pid: pid as i32,
                start_ticks: 0,
            })
            .collect()
    }

    fn strays(&self) -> Vec<Member> {
        Vec::new()
    }

    fn signal_stray(&self, _: Member, _: Signal) {}

    fn usage(&self, _: ChildId, _: Depth) -> BoxFuture<'static, Usage> {
        self.note("measure".to_owned());
        let usage = Usage {
            rss_bytes: self.state().rss_bytes,
            members: Vec::new(),
        };
        Box::pin(async move { usage })
    }

    fn forget(&self, child: ChildId) {
        let child = self.state().children.remove(&child).unwrap();
        assert!(!child.leader_lives && child.others == 0);
        self.note(format!("forget {}", child.command));
    }
}
