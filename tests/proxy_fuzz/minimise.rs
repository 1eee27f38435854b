//! Makes a failing case smaller for as long as it still fails.

use super::case::Case;
use super::judge::Court;

const MOST_TRIES: usize = 400;

/// The smallest failing case that is found, with what is wrong about it.
pub async fn minimise(court: &mut Court, case: &Case, why: String) -> (Case, String) {
    let mut tries = 0;
    let whole = case.with_bytes(case.bytes());
    let mut smallest = match court.hear(&whole).await {
        Err(other) if is_alike(&other, &why) => (whole, other),
        // It depends on the pieces, or on a promise that only a valid case has.
        Ok(()) | Err(_) => return (case.clone(), why),
    };
    let mut step = smallest.0.bytes().len() / 2;
    while step > 0 {
        let mut at = 0;
        let mut found = false;
        while at < smallest.0.bytes().len() && tries < MOST_TRIES {
            let mut bytes = smallest.0.bytes();
            bytes.drain(at..(at + step).min(bytes.len()));
            let smaller = smallest.0.with_bytes(bytes);
            tries += 1;
            match court.hear(&smaller).await {
                Err(other) if is_alike(&other, &why) => (smallest, found) = ((smaller, other), true),
                Ok(()) | Err(_) => at += step,
            }
        }
        if !found || step > 1 {
            step /= 2;
        }
        if tries >= MOST_TRIES {
            break;
        }
    }
    smallest
}

/// Whether two reports are about the same thing, whatever its details.
fn is_alike(one: &str, other: &str) -> bool {
    let words = |report: &str| -> Vec<String> {
        let plain = report
            .split_whitespace()
            .filter(|word| word.chars().all(char::is_alphabetic));
        plain.take(3).map(str::to_owned).collect()
    };
    words(one) == words(other)
}
