//! The demo's feed: a bounded random walk around the sample's rates, published with the current time, so the demo
//! never goes stale.

use std::time::Duration;

use arus_engine::{Engine, Refusal, clock::random_u64, ledger::request::PublishedRate, money::Rounding};

use crate::world;

/// How often rates move.
pub const PERIOD: Duration = Duration::from_secs(5);
/// How far a rate may walk from the sample, in basis points.
const WALK_BPS_MAX: i32 = 100;
/// How far it moves at once, in basis points.
const STEP_BPS_MAX: i32 = 6;

/// Publishes until the engine drains; a publication that fails is only logged.
pub async fn run(engine: Engine, base: Vec<PublishedRate>) {
    let mut offsets = vec![0_i32; base.len()];
    loop {
        let moved = base.iter().zip(&mut offsets).map(|(rate, offset)| walk(rate, offset)).collect();
        if let Err(error) = world::publish(&engine, moved).await {
            if matches!(engine.closed(), Some(Refusal::Unavailable { .. })) {
                return;
            }
            tracing::warn!(%error, "the demo's rates could not be published");
        }
        tokio::time::sleep(PERIOD).await;
    }
}

fn walk(rate: &PublishedRate, offset: &mut i32) -> PublishedRate {
    let span = u64::from(STEP_BPS_MAX.unsigned_abs() * 2 + 1);
    let step = i32::try_from(random_u64() % span).unwrap_or_default() - STEP_BPS_MAX;
    *offset = (*offset + step).clamp(-WALK_BPS_MAX, WALK_BPS_MAX);
    let bps = u16::try_from(offset.unsigned_abs()).unwrap_or_default();
    let direction = if *offset >= 0 { Rounding::Up } else { Rounding::Down };
    let mid = rate.mid.with_spread(bps, direction).unwrap_or(rate.mid);
    PublishedRate { mid, ..rate.clone() }
}
