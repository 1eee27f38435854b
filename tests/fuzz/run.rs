//! The loop that all targets share.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::corpus::Corpus;
use crate::random::Random;

/// A run in the test suite.
const SHORT: Duration = Duration::from_millis(1500);

/// Puts one damaged text after the other to `judge`, which says what is wrong, or panics.
pub fn fuzz(target: &str, judge: impl Fn(&[u8], &mut Random) -> Result<(), String>) {
    let corpus = Corpus::of(target);
    // As they are, the texts are what the target expects.
    for text in corpus.texts() {
        if let Err(why) = judge(text, &mut Random::of_case(0, 0)) {
            panic!("{target}: an undamaged text: {why}\n{}", shown(text));
        }
    }
    let time = number_from("ROLLBRIDGE_FUZZ_SECONDS").map_or(SHORT, Duration::from_secs);
    let only = number_from("ROLLBRIDGE_FUZZ_CASE");
    // The test suite repeats itself; longer runs go where none has been.
    let is_long = number_from("ROLLBRIDGE_FUZZ_SECONDS").is_some();
    let seed = number_from("ROLLBRIDGE_FUZZ_SEED").unwrap_or_else(|| if is_long { seed_of_now() } else { 1 });
    let began = Instant::now();
    let mut number = only.unwrap_or(0);
    while only.is_some_and(|only| number <= only) || (only.is_none() && began.elapsed() < time) {
        let mut random = Random::of_case(seed, number);
        let text = corpus.damaged(&mut random);
        let judged = catch_unwind(AssertUnwindSafe(|| judge(&text, &mut random)));
        let why = match judged {
            Ok(Ok(())) => None,
            Ok(Err(why)) => Some(why),
            Err(_) => Some("it panicked, as is told above".to_owned()),
        };
        if let Some(why) = why {
            panic!(
                "{target}: case {number} of seed {seed}: {why}\n{}\n\
                 again: ROLLBRIDGE_FUZZ_SEED={seed} ROLLBRIDGE_FUZZ_CASE={number} cargo test --test fuzz {target}",
                shown(&text)
            );
        }
        number += 1;
    }
    say(&format!(
        "{target}: {number} cases of seed {seed} in {:?}",
        began.elapsed()
    ));
}

fn shown(text: &[u8]) -> String {
    let most = text.len().min(4000);
    text[..most].escape_ascii().to_string()
}

fn number_from(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    let number = value.parse();
    Some(number.unwrap_or_else(|_| panic!("{variable} must be a number, not {value:?}")))
}

fn seed_of_now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs()
}

#[expect(clippy::print_stdout, reason = "shown with a failure, and for --nocapture")]
fn say(line: &str) {
    println!("{line}");
}
