//! Descriptors on their way through a Unix socket, beside the bytes of the message they belong to.
#![allow(
    unsafe_code,
    reason = "the system hands over received descriptors as bare numbers"
)]

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::cmsg_space;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

use crate::host::platform::RECEIVE;

/// How many descriptors may come with one read; any more the system closes.
const MOST_AT_ONCE: usize = 8;

/// Reads bytes, and takes the descriptors that came with them. None of those is inherited by a program started later.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    descriptors: &mut VecDeque<OwnedFd>,
) -> io::Result<usize> {
    let mut space = cmsg_space!([i32; MOST_AT_ONCE]);
    let mut slices = [IoSliceMut::new(buffer)];
    let received = recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut space), RECEIVE)?;
    let messages = received.cmsgs().into_iter().flatten();
    for message in messages {
        let ControlMessageOwned::ScmRights(numbers) = message else {
            continue;
        };
        for number in numbers {
            // SAFETY: the system has just opened this descriptor for us, and nobody else knows of it.
            let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
            fcntl(&descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
            descriptors.push_back(descriptor);
        }
    }
    Ok(received.bytes)
}

/// A descriptor that was open before this program began, by its number. It is not inherited by what this one starts. Each
/// number may be taken once.
pub(super) fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    set_inherited(number, false)?;
    // SAFETY: it is open, as the call before has shown, and was so before this program began, so nobody in it has it yet.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Whether the next program finds the descriptor of this number open.
pub(super) fn set_inherited(number: RawFd, is_inherited: bool) -> io::Result<()> {
    if number < 0 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let flags = match is_inherited {
        true => FdFlag::empty(),
        false => FdFlag::FD_CLOEXEC,
    };
    // SAFETY: only borrowed to be asked; a number that is not open makes the call fail.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl(borrowed, FcntlArg::F_SETFD(flags))?;
    Ok(())
}

/// Sends `bytes`, or the first of them, with a descriptor. Returns how many bytes went; the descriptor went with them.
pub(super) fn send(socket: BorrowedFd<'_>, bytes: &[u8], descriptor: BorrowedFd<'_>) -> io::Result<usize> {
    send_all(socket, bytes, &[descriptor])
}

/// As [`send`], with any number of descriptors up to [`MOST_AT_ONCE`].
pub(crate) fn send_all(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    let numbers: Vec<i32> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&numbers)];
    let messages: &[ControlMessage<'_>] = if numbers.is_empty() { &[] } else { &rights };
    let sent = sendmsg::<()>(
        socket.as_raw_fd(),
        &[IoSlice::new(bytes)],
        messages,
        MsgFlags::empty(),
        None,
    )?;
    Ok(sent)
}
