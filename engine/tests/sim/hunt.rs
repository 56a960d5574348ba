//! Runs many seeds on all processors until one fails, and shrinks what fails.

use std::sync::atomic::{AtomicU64, Ordering};

use arus_engine::planted::{Bug, plant};
use serde::{Deserialize, Serialize};

use crate::{
    script::{Action, script},
    sim,
};

/// How often a script is run to make it shorter.
const SHRINKS_MAX: usize = 3_000;

/// A run that fails.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Failure {
    pub seed: u64,
    pub wrong: String,
    pub script: Vec<Action>,
}

/// Runs the seeds from 0 on, with a bug or without, until one fails: the first that does.
pub fn hunt(bug: Option<Bug>, seeds: u64) -> Option<Failure> {
    let (next, first) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
    let processors = std::thread::available_parallelism().map_or(2, usize::from);
    let work = || {
        plant(bug);
        let mut found: Option<Failure> = None;
        loop {
            let seed = next.fetch_add(1, Ordering::SeqCst);
            // A smaller seed than one that failed may still be on its way, a larger one is not of interest.
            if seed >= seeds || seed > first.load(Ordering::SeqCst) {
                break;
            }
            let script = script(seed);
            if let Err(wrong) = sim::run(seed, &script) {
                first.fetch_min(seed, Ordering::SeqCst);
                found = Some(Failure { seed, wrong, script });
            }
        }
        plant(None);
        found
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..processors).map(|_| scope.spawn(work)).collect();
        let found = workers.into_iter().filter_map(|worker| worker.join().expect("runs catch panics"));
        found.min_by_key(|failure| failure.seed)
    })
}

impl Failure {
    /// The shortest script that was found to fail, as it is kept.
    pub fn shrunk(mut self) -> String {
        let (seed, mut runs) = (self.seed, 0);
        let mut size = self.script.len() / 2;
        while size > 0 && runs < SHRINKS_MAX {
            let mut from = 0;
            while from < self.script.len() && runs < SHRINKS_MAX {
                let mut shorter = self.script.clone();
                shorter.drain(from..(from + size).min(self.script.len()));
                runs += 1;
                match sim::run(seed, &shorter) {
                    Err(wrong) => (self.script, self.wrong) = (shorter, wrong),
                    Ok(_) => from += size,
                }
            }
            size /= 2;
        }
        let kept = serde_json::to_string(&self).expect("it is plain data");
        format!("seed {seed}: {}\nkeep this as engine/tests/sim/kept/NAME.json once it is mended:\n{kept}", self.wrong)
    }
}
