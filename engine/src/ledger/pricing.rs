//! What the desk makes of its rates (P8): the price of a pair.
//!
//! A pair is priced by its own row of the [`RateBook`], in either direction, or through a pivot, rounded once. Stale is
//! refused, never used; so is a rate that is true only later, because a clock was ahead.

use super::{
    failure::{Failure, FailureCode},
    fx::{FxPolicy, Pair, PairPrice},
    rates::{BookRow, RateBook},
    time::Timestamp,
};
use crate::money::{Crossed, Currency, Rate, RateError, Rounding};

/// Currencies a missing pair is triangulated through, in this order.
const PIVOTS: [&str; 2] = ["USD", "EUR"];

impl RateBook {
    /// Whether the pair can be priced at all, were its rates fresh.
    pub fn knows(&self, pair: Pair) -> bool {
        pair.base != pair.quote && self.path(pair).is_some()
    }

    /// Prices a pair: its own rate, its inverse, or through a pivot. Stale is refused, never used.
    pub fn price(&self, pair: Pair, now: Timestamp, policy: &FxPolicy) -> Result<PairPrice, Failure> {
        if let Some(path) = self.path(pair) {
            for hop in [Some(path.first), path.second].into_iter().flatten() {
                check_age(policy, hop.row, now)?;
            }
        }
        self.price_at_any_age(pair, policy)
    }

    /// What [`RateBook::price`] says of fresh rates, for those who show a rate with its time.
    pub fn price_at_any_age(&self, pair: Pair, policy: &FxPolicy) -> Result<PairPrice, Failure> {
        if pair.base == pair.quote {
            return Err(unavailable(pair));
        }
        let Some(path) = self.path(pair) else { return Err(unavailable(pair)) };
        let oldest = path.first.oldest(path.second);
        let spread = |hop: Hop<'_>| hop.row.spread_bps.unwrap_or(policy.spread_bps_default);
        let spread_bps = spread(path.first).saturating_add(path.second.map_or(0, spread));
        let build = || -> Result<PairPrice, RateError> {
            let crossed = path.crossed()?;
            // Where no spread covers it, the rounding of the cross rate must not favour the customer either.
            let [below, above] = if spread_bps == 0 { [crossed.below, crossed.above] } else { [crossed.mid; 2] };
            Ok(PairPrice {
                pair,
                mid: crossed.mid,
                ask: above.with_spread(spread_bps, Rounding::Up)?,
                bid: below.with_spread(spread_bps, Rounding::Down)?,
                spread_bps,
                via: path.via,
                source: oldest.source,
                at: oldest.at,
                rate_id: oldest.rate_id,
                book_version: self.version,
            })
        };
        build().map_err(|_| unavailable(pair))
    }

    fn path(&self, pair: Pair) -> Option<Path<'_>> {
        if let Some(first) = self.hop(pair.base, pair.quote) {
            return Some(Path { first, second: None, via: None });
        }
        PIVOTS.iter().filter_map(|code| Currency::from_code(code).ok()).find_map(|pivot| {
            let first = self.hop(pair.base, pivot)?;
            let second = self.hop(pivot, pair.quote)?;
            Some(Path { first, second: Some(second), via: Some(pivot) })
        })
    }

    fn hop(&self, base: Currency, quote: Currency) -> Option<Hop<'_>> {
        let row = self.row(Pair { base, quote })?;
        let direction = if row.base == base { Direction::Direct } else { Direction::Inverse };
        Some(Hop { row, direction })
    }
}

#[derive(Clone, Copy)]
enum Direction {
    Direct,
    Inverse,
}

#[derive(Clone, Copy)]
struct Hop<'a> {
    row: &'a BookRow,
    direction: Direction,
}

impl<'a> Hop<'a> {
    /// The hop's factor as numerator and denominator.
    fn fraction(self) -> (Rate, Rate) {
        match self.direction {
            Direction::Direct => (self.row.mid, Rate::ONE),
            Direction::Inverse => (Rate::ONE, self.row.mid),
        }
    }

    fn oldest(self, other: Option<Self>) -> &'a BookRow {
        match other {
            Some(other) if other.row.at < self.row.at => other.row,
            Some(_) | None => self.row,
        }
    }
}

struct Path<'a> {
    first: Hop<'a>,
    second: Option<Hop<'a>>,
    via: Option<Currency>,
}

impl Path<'_> {
    fn crossed(&self) -> Result<Crossed, RateError> {
        let (n0, d0) = self.first.fraction();
        let (n1, d1) = self.second.map_or((Rate::ONE, Rate::ONE), Hop::fraction);
        Rate::cross([n0, n1], [d0, d1])
    }
}

/// A rate that is too old, or that lies ahead of `now`, prices nothing.
fn check_age(policy: &FxPolicy, row: &BookRow, now: Timestamp) -> Result<(), Failure> {
    let (source, base, quote) = (row.source.name(), row.base, row.quote);
    let (age, ahead, age_max) = (now.since(row.at), row.at.since(now), policy.age_max(row.source));
    let message = if !ahead.is_zero() {
        format!(
            "the {source} rate {base}/{quote} is true only in {} s: a clock was ahead when it was published; \
             publish it again",
            ahead.as_secs().max(1)
        )
    } else if age > age_max {
        let (age, age_max) = (age.as_secs(), age_max.as_secs());
        format!("the {source} rate {base}/{quote} is {age} s old, at most {age_max} s are allowed; publish a newer one")
    } else {
        return Ok(());
    };
    Err(Failure::new(FailureCode::FxRateStale, message))
}

/// Why nothing is priced while the clock is not trusted.
pub fn clock_distrusted() -> Failure {
    Failure::new(
        FailureCode::FxRateStale,
        "the server's clock jumped, so no rate's age is known until it has agreed for five minutes; try again then",
    )
}

/// Why a pair has no price.
pub fn unavailable(pair: Pair) -> Failure {
    Failure::new(
        FailureCode::FxRateUnavailable,
        format!("there is no rate {}/{}, directly or through USD or EUR; publish one", pair.base, pair.quote),
    )
}
