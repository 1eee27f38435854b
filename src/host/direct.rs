//! A [`ProcessHost`] that starts children of this very process.
//!
//! A leader that ended stays a zombie until the child is forgotten: so its pid, which names the group and the session,
//! cannot be given to a stranger while we may still signal it.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};

use super::census::{Census, Depth, Usage};
use super::launch::{Launched, launch};
use super::members::{Kinship, is_same, scan};
use super::{
    BoxFuture, Child, ChildEvent, ChildId, Exit, Member, ProcessHost, SignalError, SpawnError, SpawnSpec,
    Stream,
};

/// How many chunks of output may wait for the supervisor before the pipe itself fills.
const WAITING_CHUNKS: usize = 16;

/// How much is read from a pipe at once: what a pipe holds by default.
const CHUNK_BYTES: usize = 64 * 1024;

/// Starts children of this process. Must be used inside a tokio runtime.
#[derive(Debug, Default)]
pub struct DirectHost {
    next_id: AtomicU64,
    children: Mutex<HashMap<ChildId, Kinship>>,
    census: Census,
}

impl DirectHost {
    /// A host without children.
    pub fn new() -> DirectHost {
        DirectHost::default()
    }

    fn start(&self, spec: &SpawnSpec) -> Result<Child, SpawnError> {
        let Launched { pid, stdout, stderr } = launch(spec)?;
        let id = ChildId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let kinship = Kinship::of_new(pid, spec.token.clone());
        self.children
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, kinship);
        let (sender, events) = mpsc::channel(WAITING_CHUNKS);
        tokio::spawn(Watch { pid, sender }.run(stdout, stderr));
        Ok(Child { id, pid, events })
    }

    fn kinship(&self, child: ChildId) -> Option<Kinship> {
        self.children
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&child)
            .cloned()
    }
}

impl ProcessHost for DirectHost {
    fn spawn(&self, spec: SpawnSpec) -> BoxFuture<'_, Result<Child, SpawnError>> {
        Box::pin(async move { self.start(&spec) })
    }

    fn signal(&self, child: ChildId, signal: Signal) -> Result<(), SignalError> {
        let Some(kinship) = self.kinship(child) else {
            return Ok(());
        };
        // One call for the whole group, so that no fork slips through; the leader's zombie keeps the group's id ours.
        let outcome = match killpg(Pid::from_raw(kinship.leader), signal) {
            // Nobody left, or (macOS) only zombies.
            Err(Errno::ESRCH | Errno::EPERM) | Ok(()) => Ok(()),
            Err(errno) => Err(SignalError {
                signal,
                pid: kinship.leader,
                source: errno.into(),
            }),
        };
        for found in scan(&kinship) {
            if !found.in_group && is_same(found.member) {
                // Gone meanwhile, or no longer ours to signal: either way there is nothing to do about it here.
                let _ = kill(Pid::from_raw(found.member.pid), signal);
            }
            if found.halted && signal != Signal::SIGKILL && is_same(found.member) {
                let _ = kill(Pid::from_raw(found.member.pid), Signal::SIGCONT);
            }
        }
        outcome
    }

    fn members(&self, child: ChildId) -> Vec<Member> {
        let Some(kinship) = self.kinship(child) else {
            return Vec::new();
        };
        scan(&kinship).into_iter().map(|found| found.member).collect()
    }

    fn usage(&self, child: ChildId, depth: Depth) -> BoxFuture<'static, Usage> {
        let answer = self.kinship(child).map(|kinship| self.census.ask(kinship, depth));
        Box::pin(async move {
            match answer {
                Some(answer) => answer.await.unwrap_or_default(),
                None => Usage::default(),
            }
        })
    }

    fn forget(&self, child: ChildId) {
        let removed = self
            .children
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&child);
        if let Some(kinship) = removed {
            // Only a dead leader is reaped; a live one would be a defect of the caller, and is left alone.
            let _ = waitid(
                Id::Pid(Pid::from_raw(kinship.leader)),
                WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG,
            );
        }
    }
}

/// Moves one child's output and exit to its supervisor.
struct Watch {
    pid: i32,
    sender: mpsc::Sender<ChildEvent>,
}

impl Watch {
    async fn run(self, stdout: OwnedFd, stderr: OwnedFd) {
        let mut stdout = receiver(stdout);
        let mut stderr = receiver(stderr);
        let mut out_buffer = Vec::with_capacity(CHUNK_BYTES);
        let mut err_buffer = Vec::with_capacity(CHUNK_BYTES);
        let mut exit = Some(wait_for_exit(self.pid));
        while exit.is_some() || stdout.is_some() || stderr.is_some() {
            tokio::select! {
                read = read_some(&mut stdout, &mut out_buffer) => {
                    self.deliver(Stream::Stdout, read, &mut stdout, &mut out_buffer).await;
                }
                read = read_some(&mut stderr, &mut err_buffer) => {
                    self.deliver(Stream::Stderr, read, &mut stderr, &mut err_buffer).await;
                }
                ended = async { exit.as_mut().expect("guarded").await }, if exit.is_some() => {
                    exit = None;
                    // All that the leader wrote is in the pipes by now: its last words come before its exit.
                    self.empty(Stream::Stdout, &mut stdout, &mut out_buffer).await;
                    self.empty(Stream::Stderr, &mut stderr, &mut err_buffer).await;
                    let ended = ended.unwrap_or(Exit::Code(-1));
                    let _ = self.sender.send(ChildEvent::Exited(ended)).await;
                }
                () = self.sender.closed() => return,
            }
        }
    }

    async fn deliver(
        &self,
        stream: Stream,
        read: io::Result<usize>,
        pipe: &mut Option<pipe::Receiver>,
        buffer: &mut Vec<u8>,
    ) {
        match read {
            Ok(count) if count > 0 => {
                let chunk = Bytes::copy_from_slice(buffer);
                buffer.clear();
                // A supervisor that is gone needs nothing any more; `closed` ends the loop.
                let _ = self.sender.send(ChildEvent::Output(stream, chunk)).await;
            }
            _ => *pipe = None,
        }
    }

    /// Delivers what a pipe holds at this moment, up to what a pipe can hold: a grandchild that goes on writing must
    /// not hold up the news of the exit.
    async fn empty(&self, stream: Stream, pipe: &mut Option<pipe::Receiver>, buffer: &mut Vec<u8>) {
        const MOST_CHUNKS: usize = 16;
        for _ in 0..MOST_CHUNKS {
            let Some(receiver) = pipe.as_ref() else { return };
            buffer.resize(CHUNK_BYTES, 0);
            // The system is asked, not the runtime: news of the exit may come before news of what there is to read.
            let read = nix::unistd::read(receiver, buffer);
            buffer.truncate(read.unwrap_or(0));
            match read {
                Err(Errno::EAGAIN) => return,
                Err(Errno::EINTR) => {}
                read => {
                    let read = read.map_err(io::Error::from);
                    self.deliver(stream, read, pipe, buffer).await;
                }
            }
        }
    }
}

fn receiver(descriptor: OwnedFd) -> Option<pipe::Receiver> {
    pipe::Receiver::from_owned_fd(descriptor).ok()
}

async fn read_some(pipe: &mut Option<pipe::Receiver>, buffer: &mut Vec<u8>) -> io::Result<usize> {
    match pipe {
        Some(receiver) => receiver.read_buf(buffer).await,
        None => std::future::pending().await,
    }
}

/// Waits for the leader's end on a small thread of its own and leaves the zombie in place.
fn wait_for_exit(pid: i32) -> oneshot::Receiver<Exit> {
    let (sender, receiver) = oneshot::channel();
    let wait = move || {
        let ended = loop {
            match waitid(
                Id::Pid(Pid::from_raw(pid)),
                WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT,
            ) {
                Ok(WaitStatus::Exited(_, code)) => break Some(Exit::Code(code)),
                Ok(WaitStatus::Signaled(_, signal, _)) => break Some(Exit::Signal(signal as i32)),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => break None,
            }
        };
        if let Some(exit) = ended {
            let _ = sender.send(exit);
        }
    };
    // Without a thread the sender is dropped, and the child counts as ended with an unknown code.
    let _ = std::thread::Builder::new()
        .name(format!("wait-{pid}"))
        .stack_size(64 * 1024)
        .spawn(wait);
    receiver
}
