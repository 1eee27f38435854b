//! Ports for apps: blocks below the range the system hands out by itself, so that nobody takes one between two looks.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST: u16 = 21_000;
const BLOCKS: u16 = 450;

/// How many ports a block has for its owner.
pub const SIZE: u16 = 24;

/// A block nobody else has for as long as it lives: its first port is held open as a sign to other test runs.
#[derive(Debug)]
pub struct PortBlock {
    sign: TcpListener,
}

impl PortBlock {
    /// Claims a free block.
    pub fn claim() -> PortBlock {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let offset =
            u16::try_from(std::process::id() % u32::from(BLOCKS)).expect("it is below the number of blocks");
        for _ in 0..BLOCKS {
            let block = (offset + NEXT.fetch_add(1, Ordering::Relaxed)) % BLOCKS;
            if let Ok(sign) = TcpListener::bind(("127.0.0.1", FIRST + block * (SIZE + 1))) {
                return PortBlock { sign };
            }
        }
        panic!("every block of ports is taken");
    }

    /// The block's port number `index`, from 0.
    pub fn port(&self, index: u16) -> u16 {
        assert!(index < SIZE, "a block has {SIZE} ports");
        self.sign.local_addr().expect("it is bound").port() + 1 + index
    }
}
