//! Signals through a pipe: whatever arrives is written into it by the handler, and read from it by the loop.
#![allow(
    unsafe_code,
    reason = "a signal handler may do hardly anything, and runs at any moment"
)]

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd};
use std::sync::atomic::{AtomicI32, Ordering};

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::pipe;

use super::never_inherited;

/// The end of the pipe that the handler writes into. It is never closed, for a handler may run at any moment.
static WRITE_END: AtomicI32 = AtomicI32::new(-1);

/// Signals that are read from a descriptor instead of ending the process. What this process starts does not inherit that.
#[derive(Debug)]
pub struct Signals {
    arrived: File,
    before: SigSet,
}

impl Signals {
    /// From now on. This thread must be the only one of the process, and this the only call in it.
    pub fn catch(caught: &[Signal]) -> io::Result<Signals> {
        let (arrived, handled) = pipe()?;
        never_inherited(&arrived)?;
        // A handler that waits for room in the pipe would wait for ever: it interrupts the one who makes room.
        never_inherited(&handled)?;
        WRITE_END.store(handled.into_raw_fd(), Ordering::Relaxed);
        let action = SigAction::new(SigHandler::Handler(pass_on), SaFlags::SA_RESTART, SigSet::empty());
        for signal in caught {
            // SAFETY: the handler makes one system call that is allowed there, and touches nothing but an atomic number.
            unsafe { sigaction(*signal, &action)? };
        }
        Ok(Signals {
            arrived: File::from(arrived),
            before: SigSet::thread_get_mask()?,
        })
    }

    /// The next one that has arrived; never waits.
    pub fn take(&mut self) -> Option<Signal> {
        let mut number = [0];
        loop {
            match self.arrived.read(&mut number) {
                Ok(1) => return Signal::try_from(i32::from(number[0])).ok(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => return None,
            }
        }
    }

    /// The signals that were blocked before; it is the same now.
    pub fn mask_before(&self) -> SigSet {
        self.before
    }
}

impl AsFd for Signals {
    /// Readable when one has arrived.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.arrived.as_fd()
    }
}

/// The handler. Where the pipe is full, there is enough in it to wake the loop.
extern "C" fn pass_on(signal: libc::c_int) {
    let errno = Errno::last_raw();
    let number = [u8::try_from(signal).unwrap_or(0)];
    // SAFETY: writing is allowed in a handler; the byte lives until it returns.
    unsafe { libc::write(WRITE_END.load(Ordering::Relaxed), number.as_ptr().cast(), 1) };
    // Whatever was interrupted may be about to look at it.
    Errno::set_raw(errno);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_arrives_is_read_in_order_and_nothing_is_waited_for() {
        let mut signals = Signals::catch(&[Signal::SIGWINCH, Signal::SIGURG]).expect("a pipe");
        assert_eq!(signals.take(), None);
        for signal in [Signal::SIGURG, Signal::SIGWINCH] {
            nix::sys::signal::raise(signal).expect("it is a signal");
        }
        assert_eq!(signals.take(), Some(Signal::SIGURG));
        assert_eq!(signals.take(), Some(Signal::SIGWINCH));
        assert_eq!(signals.take(), None);
    }
}
