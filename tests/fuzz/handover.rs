//! What the engine reads of the one before it, over their socket: packets of any content in any order.

use std::os::fd::OwnedFd;

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, send, socketpair};
use rollbridge::keeper::Handover;
use serde_json::Value;
use std::os::fd::AsRawFd;

use crate::random::Random;
use crate::run::fuzz;

/// What a packet begins with.
const FIRST: u8 = 1;
const LAST: u8 = 2;

#[test]
fn handover() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    fuzz("handover", |text, random| {
        runtime.block_on(read_from_packets(text, random))
    });
}

async fn read_from_packets(text: &[u8], random: &mut Random) -> Result<(), String> {
    let (ours, theirs) = pair();
    let theirs = Handover::new(theirs).unwrap();
    let sound = serde_json::json!({ "the": "next" });
    // The text in pieces, which are marked as they should be, or not.
    let pieces: Vec<&[u8]> = text.chunks(1 + random.below(text.len() + 1)).take(20).collect();
    for (at, piece) in pieces.iter().enumerate() {
        let mark = u8::from(at == 0) * FIRST + u8::from(at + 1 == pieces.len()) * LAST;
        let mark = if random.chance(10) {
            random.next().to_le_bytes()[0]
        } else {
            mark
        };
        packet(&ours, mark, piece);
    }
    packet(&ours, FIRST | LAST, sound.to_string().as_bytes());
    drop(ours);
    // A message that is none is an error, and what follows can still be read.
    for _ in 0..=pieces.len() + 1 {
        match theirs.receive::<Value>().await {
            Ok(Some((message, _))) if message == sound => return Ok(()),
            Ok(Some(_)) | Err(_) => {}
            Ok(None) => return Err("the message behind it is lost".to_owned()),
        }
    }
    Err("it never comes to an end".to_owned())
}

fn pair() -> (OwnedFd, OwnedFd) {
    socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )
    .unwrap()
}

fn packet(socket: &OwnedFd, mark: u8, piece: &[u8]) {
    let mut packet = vec![mark];
    packet.extend_from_slice(piece);
    send(socket.as_raw_fd(), &packet, MsgFlags::MSG_NOSIGNAL).unwrap();
}
