//! Fuzzing: generated and damaged requests and answers go through the proxy. Whatever it lets through must be read by
//! the other side as the proxy has understood it, by hyper and by Node's own parser, and as the rules say.
//!
//! `ROLLBRIDGE_FUZZ_SECONDS` makes the run longer, `ROLLBRIDGE_FUZZ_SEED` repeats one, and `ROLLBRIDGE_FUZZ_CASE` only
//! one case of it. `npm run fuzz -- --seconds 600` does the first.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod case;
mod generate;
mod hyper_reader;
mod judge;
mod lane;
mod minimise;
mod mutate;
mod node_reader;
mod planted;
mod random;
mod reading;
mod rules;

use std::cell::Cell;
use std::time::{Duration, Instant};

use case::{Case, Side};
use judge::Court;
use planted::{PLANTS, Place, Plant};

/// A run in the test suite.
const SHORT: Duration = Duration::from_secs(6);
/// Cases under way at once.
const LANES: usize = 4;
/// A planted bug must be found within so many cases of a fixed run.
const MOST_CASES: u64 = 6000;
const PLANTED_SEED: u64 = 1;

#[tokio::test]
async fn what_is_let_through_is_read_as_it_was_understood() {
    // The test suite repeats itself; longer runs go where none has been.
    let is_long = number_from("ROLLBRIDGE_FUZZ_SECONDS").is_some();
    let seed = number_from("ROLLBRIDGE_FUZZ_SEED").unwrap_or_else(|| if is_long { seed_of_now() } else { 1 });
    if let Some(number) = number_from("ROLLBRIDGE_FUZZ_CASE") {
        return fail_with(examine(&mut Court::open(None), seed, number).await);
    }
    let time = number_from("ROLLBRIDGE_FUZZ_SECONDS").map_or(SHORT, Duration::from_secs);
    let began = Instant::now();
    let next = Cell::new(0);
    let lane = async || {
        let mut court = Court::open(None);
        while began.elapsed() < time {
            let number = next.replace(next.get() + 1);
            fail_with(examine(&mut court, seed, number).await);
        }
    };
    let [first, second, third, fourth] = [(); LANES].map(|()| lane());
    tokio::join!(first, second, third, fourth);
    say(&format!(
        "{} cases of seed {seed} in {:?}",
        next.get(),
        began.elapsed()
    ));
}

#[tokio::test]
async fn every_planted_bug_is_found() {
    for plant in PLANTS {
        let Some((number, why)) = found(plant).await else {
            panic!("nobody noticed that {} in {MOST_CASES} cases", plant.name);
        };
        say(&format!("{}: found by case {number}: {why}", plant.name));
    }
}

/// The first case that shows the bug.
async fn found(plant: Plant) -> Option<(u64, String)> {
    let mut court = Court::open(Some(plant));
    for number in 0..MOST_CASES {
        let case = Case::of(PLANTED_SEED, number);
        // What the bug does not change cannot show it.
        let is_changed =
            plant.place != Place::Request || plant.at(Place::Request, &case.bytes()) != case.bytes();
        if !is_changed || (case.side == Side::Client) != plant.place.is_about_requests() {
            continue;
        }
        if let Err(why) = court.hear(&case).await {
            return Some((number, why));
        }
    }
    None
}

/// A failure as it is to be told.
async fn examine(court: &mut Court, seed: u64, number: u64) -> Result<(), String> {
    let case = Case::of(seed, number);
    let Err(why) = court.hear(&case).await else {
        return Ok(());
    };
    let (smallest, smallest_why) = minimise::minimise(court, &case, why.clone()).await;
    Err(format!(
        "case {number} of seed {seed}: {why}\nminimised, {}\nwhich shows: {smallest_why}\n\
         again: ROLLBRIDGE_FUZZ_SEED={seed} ROLLBRIDGE_FUZZ_CASE={number} cargo test --test proxy_fuzz read_as",
        smallest.shown()
    ))
}

fn fail_with(outcome: Result<(), String>) {
    if let Err(report) = outcome {
        panic!("{report}");
    }
}

fn number_from(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{variable} must be a number, not {value:?}")),
    )
}

fn seed_of_now() -> u64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    since.as_secs()
}

#[expect(clippy::print_stdout, reason = "shown with a failure, and for --nocapture")]
fn say(line: &str) {
    println!("{line}");
}
