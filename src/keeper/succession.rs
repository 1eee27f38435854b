//! The keeper's side of an upgrade: an engine of another program stands beside the one that serves, proves that it
//! understands what it would be left, and takes over once the one that serves retires.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::PollFlags;

use super::holdings::Holdings;
use super::keeping::Attendance;
use super::link::Link;
use super::message::{ToEngine, ToKeeper, VERSION};
use super::replacement::FORMAT;
use crate::error::plain;

/// How long a program may take to prove itself.
const LONGEST_REHEARSAL: Duration = Duration::from_secs(10);

/// How long an engine may take to retire; it has little to do, and waits for short commands.
const LONGEST_RETIREMENT: Duration = Duration::from_secs(60);

/// How long a successor may take to serve: as long as nobody serves new requests.
const LONGEST_TAKEOVER: Duration = Duration::from_secs(5);

/// What stands beside the engine, or has just taken its place.
#[derive(Debug, Default)]
pub(super) struct Succession {
    stage: Stage,
}

#[derive(Debug, Default)]
enum Stage {
    /// Nobody stands beside the engine.
    #[default]
    None,
    /// It reads the notes.
    Rehearsing(Link, Instant),
    /// It waits for the engine to retire.
    Standing(Link, Instant),
    /// It is the engine by now, and not serving yet.
    TakingOver(Instant),
}

/// What a successor has said.
enum Said {
    Nothing,
    Prepared(String),
    Unfit(String),
    /// It is gone.
    Ended,
}

impl Succession {
    /// Starts `program` beside the engine, which is told what comes of it.
    pub fn begin(&mut self, program: OwnedFd, holdings: &mut Holdings, attendance: &mut impl Attendance) {
        if !matches!(self.stage, Stage::None) {
            return fail(holdings, "another upgrade is under way".to_owned());
        }
        let rehearsal = attendance
            .start_successor(program)
            .and_then(|socket| holdings.rehearse(socket));
        match rehearsal {
            Ok(link) => self.stage = Stage::Rehearsing(link, Instant::now() + LONGEST_REHEARSAL),
            Err(error) => {
                attendance.end_successor();
                fail(holdings, cannot_start(&error));
            }
        }
    }

    /// Hears what the successor says, and does not wait for it for ever.
    pub fn go_on(&mut self, holdings: &mut Holdings, attendance: &mut impl Attendance) {
        if let Stage::TakingOver(due) = self.stage {
            // It is started anew by the program before, which knows how.
            if Instant::now() >= due {
                self.stage = Stage::None;
                attendance.end_engine();
            }
            return;
        }
        let (link, due, too_late) = match &mut self.stage {
            Stage::Rehearsing(link, due) => (link, *due, "it did not say that it is ready in time"),
            Stage::Standing(link, due) => (link, *due, "the engine before did not retire in time"),
            Stage::None | Stage::TakingOver(_) => return,
        };
        let said = match hear(link) {
            Said::Nothing if Instant::now() >= due => Said::Unfit(too_late.to_owned()),
            said => said,
        };
        match said {
            Said::Nothing => {}
            Said::Prepared(version) => {
                if let Stage::Rehearsing(link, _) = std::mem::take(&mut self.stage) {
                    self.stage = Stage::Standing(link, Instant::now() + LONGEST_RETIREMENT);
                }
                holdings.tell(&ToEngine::SuccessorReady { version });
            }
            Said::Unfit(reason) => self.give_up(Some(reason), holdings, attendance),
            Said::Ended => self.give_up(None, holdings, attendance),
        }
    }

    /// Without a reason, what stood beside the engine has ended by itself.
    fn give_up(&mut self, reason: Option<String>, holdings: &mut Holdings, attendance: &mut impl Attendance) {
        self.stage = Stage::None;
        let end = attendance.end_successor();
        fail(holdings, reason.unwrap_or(end));
    }

    /// The engine has gone away without retiring: nobody asks for a successor any more.
    pub fn forget(&mut self, attendance: &mut impl Attendance) {
        if matches!(self.stage, Stage::Rehearsing(..) | Stage::Standing(..)) {
            attendance.end_successor();
        }
        self.stage = Stage::None;
    }

    /// The engine has retired: the way to its successor, if one stands ready.
    pub fn take_over(&mut self) -> Option<Link> {
        match std::mem::replace(
            &mut self.stage,
            Stage::TakingOver(Instant::now() + LONGEST_TAKEOVER),
        ) {
            Stage::Standing(link, _) => Some(link),
            _ => {
                self.stage = Stage::None;
                None
            }
        }
    }

    /// The engine serves: whether it has just taken another's place.
    pub fn has_taken_over(&mut self) -> bool {
        let has = matches!(self.stage, Stage::TakingOver(_));
        if has {
            self.stage = Stage::None;
        }
        has
    }

    /// What to wait for.
    pub fn descriptor(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let (Stage::Rehearsing(link, _) | Stage::Standing(link, _)) = &self.stage else {
            return None;
        };
        let flags = match link.has_unsent() {
            true => PollFlags::POLLIN | PollFlags::POLLOUT,
            false => PollFlags::POLLIN,
        };
        Some((link.descriptor(), flags))
    }

    /// When to look even if nothing happens.
    pub fn due(&self) -> Option<Instant> {
        match self.stage {
            Stage::None => None,
            Stage::Rehearsing(_, due) | Stage::Standing(_, due) | Stage::TakingOver(due) => Some(due),
        }
    }
}

fn hear(link: &mut Link) -> Said {
    let received = link.receive();
    loop {
        match link.next() {
            Ok(Some(ToKeeper::Hello { version })) if version != VERSION => {
                return Said::Unfit(format!(
                    "it speaks version {version} of the messages between keeper and engine, this daemon version {VERSION}; \
                     shut the daemon down and start the new one instead"
                ));
            }
            Ok(Some(ToKeeper::Prepared { holdings, .. })) if holdings != FORMAT => {
                return Said::Unfit(format!(
                    "it can take over a keeper of format {holdings}, this daemon's has format {FORMAT}; shut the daemon \
                     down and start the new one instead"
                ));
            }
            Ok(Some(ToKeeper::Prepared { version, .. })) => return Said::Prepared(version),
            Ok(Some(ToKeeper::Unfit { reason })) => return Said::Unfit(reason),
            // Before it has taken over it has nothing to ask for.
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(_) => return Said::Ended,
        }
    }
    match received.and_then(|()| link.send()) {
        Ok(()) => Said::Nothing,
        Err(_) => Said::Ended,
    }
}

fn fail(holdings: &mut Holdings, reason: String) {
    holdings.tell(&ToEngine::SuccessorFailed { reason });
}

fn cannot_start(error: &io::Error) -> String {
    format!("it cannot be started: {}", plain(error))
}
