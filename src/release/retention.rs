//! Which releases that are over stay known.

use crate::clock::Timestamp;
use crate::config::Retention;

/// The positions, in a list of stop times, of those to forget: beyond the newest `keep`, or older than `max_age`.
pub fn forgotten(stopped_at: &[Timestamp], retention: &Retention, now: Timestamp) -> Vec<usize> {
    let mut newest_first: Vec<usize> = (0..stopped_at.len()).collect();
    // Of two that stopped in the same millisecond the later one in the list is the newer.
    newest_first.sort_by_key(|position| std::cmp::Reverse((stopped_at[*position], *position)));
    let too_old = |position: usize| {
        retention
            .max_age
            .is_some_and(|age| now.since(stopped_at[position]) > age)
    };
    let mut forgotten: Vec<usize> = newest_first
        .into_iter()
        .enumerate()
        .filter(|(rank, position)| *rank >= retention.keep || too_old(*position))
        .map(|(_, position)| position)
        .collect();
    forgotten.sort_unstable();
    forgotten
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn keeps_the_newest_and_the_young() {
        let times = [30, 10, 40, 20].map(Timestamp::from_ms);
        let now = Timestamp::from_ms(50);
        let table = [
            (10, None, vec![]),
            (2, None, vec![1, 3]),
            (0, None, vec![0, 1, 2, 3]),
            (10, Some(25), vec![1, 3]),
            (1, Some(25), vec![0, 1, 3]),
        ];
        for (keep, max_age_ms, expected) in table {
            let retention = Retention {
                keep,
                max_age: max_age_ms.map(Duration::from_millis),
            };
            assert_eq!(
                forgotten(&times, &retention, now),
                expected,
                "keep {keep}, age {max_age_ms:?}"
            );
        }
        assert_eq!(
            forgotten(
                &[],
                &Retention {
                    keep: 0,
                    max_age: None
                },
                now
            ),
            [0usize; 0]
        );
    }
}
