//! The simulator: one seed drives clients, message order, loads that race commits, passivation, faults of the store,
//! the clock, crashes and restarts; a reference judges every entry, every answer and every read.
//!
//! `SEED=7 cargo test --test sim` replays one seed and says what happens; `SEEDS=100000` runs so many. A seed that fails
//! is shrunk to a script that fails in the same way: put it into `kept/`, and it is run from then on.
#![allow(unreachable_pub, clippy::panic, reason = "a binary of its own, and a test fails by panicking")]

mod books;
mod commands;
mod disk;
mod hunt;
mod model;
mod script;
mod sim;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;

use arus_engine::planted::Bug;
use hunt::{Failure, hunt};

/// How many seeds are run where nobody says otherwise.
const SEEDS: u64 = 10_000;

#[test]
fn no_seed_breaks_a_promise() {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    if let Some(seed) = number("SEED") {
        sim::TALKS.set(true);
        let ran = sim::run(seed, &script::script(seed));
        println!("seed {seed}: {ran:?}");
        assert!(ran.is_ok(), "seed {seed}");
        return;
    }
    let seeds = number("SEEDS").unwrap_or(SEEDS);
    let began = std::time::Instant::now();
    if let Some(failure) = hunt(None, seeds) {
        panic!("{}", failure.shrunk());
    }
    println!("{seeds} seeds in {:.0?}", began.elapsed());
}

#[test]
fn one_seed_is_one_run() {
    for seed in [1, 2, 3, 42] {
        let run = || sim::run(seed, &script::script(seed)).expect("it passes");
        assert_eq!(run(), run(), "seed {seed}");
    }
}

#[test]
fn what_once_failed_does_not_fail_again() {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sim/kept");
    for file in std::fs::read_dir(kept).expect("the folder is there") {
        let path = file.expect("it lists").path();
        let Ok(failure) = serde_json::from_slice::<Failure>(&std::fs::read(&path).expect("it reads")) else {
            panic!("{} is no script", path.display());
        };
        if let Err(wrong) = sim::run(failure.seed, &failure.script) {
            panic!("{}: {wrong}", path.display());
        }
    }
}

/// How many seeds a planted bug may take.
const SEEDS_TO_FIND: u64 = 2_000;

#[test]
fn every_planted_bug_is_found() {
    let (mut missed, mut table) = (Vec::new(), String::new());
    for bug in Bug::ALL {
        match hunt(Some(bug), SEEDS_TO_FIND) {
            Some(found) => {
                let (seeds, wrong) = (found.seed + 1, found.wrong.lines().next().unwrap_or_default().to_owned());
                table += &format!("{:<26} {seeds:>5} seeds   {wrong:.160}\n", format!("{bug:?}"));
            }
            None => missed.push(bug),
        }
    }
    println!("{table}");
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("planted-bugs.txt");
    std::fs::write(file, table).expect("it is written");
    assert!(missed.is_empty(), "{SEEDS_TO_FIND} seeds did not find {missed:?}");
}
