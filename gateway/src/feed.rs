//! The demo's feed: a bounded random walk around the sample's rates, published with the current time, so the demo
//! never goes stale.

use std::{ops::RangeInclusive, time::Duration};

use arus_engine::{Engine, Refusal, ledger::commands::publish_rates::PublishedRate, money::Rounding};
use rand::{Rng, SeedableRng, rngs::SmallRng};

use crate::world;

/// How often rates may move: a publication is an entry of the journal, and by default the demo's rates are stale after 60 s.
pub const PERIODS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(30);
/// How far a rate may walk from the sample, in basis points.
const WALK_BPS_MAX: i32 = 100;
/// How far it moves at once, in basis points.
const STEP_BPS_MAX: i32 = 6;

/// Publishes until the engine drains; a publication that fails is only logged.
pub async fn run(engine: Engine, base: Vec<PublishedRate>, every: Duration, seed: u64) {
    let (mut random, mut offsets) = (SmallRng::seed_from_u64(seed), vec![0_i32; base.len()]);
    loop {
        let moved = base.iter().zip(&mut offsets).map(|(rate, offset)| walk(&mut random, rate, offset)).collect();
        if let Err(error) = world::publish(&engine, moved).await {
            if matches!(engine.closed(), Some(Refusal::Unavailable { .. })) {
                return;
            }
            tracing::warn!(%error, "the demo's rates could not be published");
        }
        tokio::time::sleep(every).await;
    }
}

fn walk(random: &mut SmallRng, rate: &PublishedRate, offset: &mut i32) -> PublishedRate {
    let step = random.random_range(-STEP_BPS_MAX..=STEP_BPS_MAX);
    *offset = (*offset + step).clamp(-WALK_BPS_MAX, WALK_BPS_MAX);
    let bps = u16::try_from(offset.unsigned_abs()).unwrap_or_default();
    let direction = if *offset >= 0 { Rounding::Up } else { Rounding::Down };
    let mid = rate.mid.with_spread(bps, direction).unwrap_or(rate.mid);
    PublishedRate { mid, ..rate.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_moves_rates_one_way_and_never_far() {
        let base = world::sample_rates().expect("the sample reads");
        let rate = base.first().expect("a rate");
        let walked = |seed| {
            let (mut random, mut offset) = (SmallRng::seed_from_u64(seed), 0);
            let mut steps = Vec::new();
            for _ in 0..1_000 {
                steps.push(walk(&mut random, rate, &mut offset).mid.to_string());
                assert!(offset.abs() <= WALK_BPS_MAX);
            }
            steps
        };
        assert_eq!(walked(7), walked(7));
        assert_ne!(walked(7), walked(8));
    }
}
