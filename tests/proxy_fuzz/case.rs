//! One case: what a client or an upstream sends, and in which pieces.

use super::generate;
use super::mutate;
use super::random::Random;

/// What is sent, and by whom.
#[derive(Clone, Debug)]
pub struct Case {
    pub side: Side,
    /// The proxy trusts the client.
    pub trusted: bool,
    /// As it came out of the grammar: it must be let through whole.
    pub is_valid: bool,
    pub pieces: Vec<Vec<u8>>,
}

/// Who sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Side {
    /// A client sends requests, one behind the other.
    Client,
    /// An upstream answers a request of this method and version, and closes if it must or wants to.
    Upstream {
        method: &'static str,
        is_http_1_0: bool,
        closes: bool,
    },
}

impl Case {
    /// Case `number` of the run with that seed.
    pub fn of(seed: u64, number: u64) -> Case {
        let mut random = Random::of_case(seed, number);
        let trusted = random.chance(50);
        let (side, mut bytes) = if random.chance(60) {
            (Side::Client, generate::requests(&mut random))
        } else {
            generate::answer(&mut random)
        };
        let is_valid = random.chance(20);
        if !is_valid {
            bytes = mutate::mutated(bytes, &mut random);
        }
        let mut side = side;
        if let Side::Upstream { closes, .. } = &mut side {
            *closes |= !is_valid;
        }
        // The proxy would wait for the rest of what a mutation has made longer; this ends most of it.
        if side == Side::Client {
            bytes.extend_from_slice(generate::LAST);
        }
        Case {
            side,
            trusted,
            is_valid,
            pieces: cut(&bytes, &mut random),
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.pieces.concat()
    }

    /// The case with other bytes, in one piece.
    pub fn with_bytes(&self, bytes: Vec<u8>) -> Case {
        Case {
            pieces: vec![bytes],
            is_valid: false,
            ..self.clone()
        }
    }

    /// The case as a reader of a failure needs it.
    pub fn shown(&self) -> String {
        let who = match &self.side {
            Side::Client => format!("a client, trusted {}, sends", self.trusted),
            Side::Upstream {
                method,
                is_http_1_0,
                closes,
            } => {
                let version = if *is_http_1_0 { "1.0" } else { "1.1" };
                format!("to a {method} of HTTP/{version} the upstream answers (and closes: {closes})")
            }
        };
        let pieces = self
            .pieces
            .iter()
            .map(|piece| format!("    b\"{}\"", piece.escape_ascii()));
        format!("{who}\n{}", pieces.collect::<Vec<_>>().join("\n"))
    }
}

/// Cuts at some places: none, a few, or all over.
fn cut(bytes: &[u8], random: &mut Random) -> Vec<Vec<u8>> {
    let cuts = match random.below(10) {
        0..=4 => 0,
        5..=8 => 1 + random.below(5),
        _ => 12,
    };
    let mut places: Vec<usize> = (0..cuts).map(|_| random.below(bytes.len().max(1))).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.dedup();
    places
        .windows(2)
        .map(|pair| bytes[pair[0]..pair[1]].to_vec())
        .collect()
}
