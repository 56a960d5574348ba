//! What the desk makes of its rates (P8): a pair's price, and conversions at it.
//!
//! A pair is priced by its own row of the [`RateBook`], in either direction, or through a pivot, rounded once. Stale is
//! refused, never used; so is a rate that is true only later, because a clock was ahead.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    failure::{Failure, FailureCode},
    rates::{BookRow, RateBook},
    request::RateSource,
    time::Timestamp,
};
use crate::money::{Crossed, Currency, Money, OpId, Rate, RateError, Rounding};

/// Currencies a missing pair is triangulated through, in this order.
const PIVOTS: [&str; 2] = ["USD", "EUR"];

/// An ordered pair: one unit of `base` costs so many of `quote`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pair {
    /// The currency that is priced.
    pub base: Currency,
    /// The currency it is priced in.
    pub quote: Currency,
}

impl Pair {
    /// The same for both directions.
    #[must_use]
    pub fn unordered(self) -> Self {
        let Self { base, quote } = self;
        Self { base: base.min(quote), quote: base.max(quote) }
    }
}

/// How old a rate of each source may get, and the spread where none was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FxPolicy {
    /// For [`RateSource::Ecb`].
    pub ecb_age_max: Duration,
    /// For [`RateSource::Live`].
    pub live_age_max: Duration,
    /// For [`RateSource::Demo`].
    pub demo_age_max: Duration,
    /// In basis points.
    pub spread_bps_default: u16,
}

impl FxPolicy {
    /// A rate that is too old, or that lies ahead of `now`, prices nothing.
    fn check_age(&self, row: &BookRow, now: Timestamp) -> Result<(), Failure> {
        let (source, base, quote) = (row.source.name(), row.base, row.quote);
        let (age, ahead, age_max) = (now.since(row.at), row.at.since(now), self.age_max(row.source));
        let message = if !ahead.is_zero() {
            format!(
                "the {source} rate {base}/{quote} is true only in {} s: a clock was ahead when it was published; \
                 publish it again",
                ahead.as_secs().max(1)
            )
        } else if age > age_max {
            let (age, age_max) = (age.as_secs(), age_max.as_secs());
            format!(
                "the {source} rate {base}/{quote} is {age} s old, at most {age_max} s are allowed; publish a newer one"
            )
        } else {
            return Ok(());
        };
        Err(Failure::new(FailureCode::FxRateStale, message))
    }

    fn age_max(&self, source: RateSource) -> Duration {
        match source {
            RateSource::Ecb => self.ecb_age_max,
            RateSource::Live => self.live_age_max,
            RateSource::Demo => self.demo_age_max,
        }
    }
}

/// A pair as the desk prices it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairPrice {
    /// The pair.
    pub pair: Pair,
    /// The middle.
    pub mid: Rate,
    /// What a payer's conversion uses: mid and spread, rounded up.
    pub ask: Rate,
    /// What a payee's conversion uses: mid less spread, rounded down.
    pub bid: Rate,
    /// The spread, of both legs where there are two.
    pub spread_bps: u16,
    /// The currency it was triangulated through.
    pub via: Option<Currency>,
    /// The older leg's source.
    pub source: RateSource,
    /// The older leg's time.
    pub at: Timestamp,
    /// The older leg's publication.
    pub rate_id: OpId,
    /// The book it was priced from.
    pub book_version: u64,
}

/// Which rate of a price a leg used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LegSide {
    /// The payer's conversion, at the ask, rounded up.
    Payer,
    /// The payee's conversion, at the bid, rounded down.
    Payee,
    /// Payer and payee hold one currency and the amount is in another: one conversion at mid prices both.
    Both,
}

/// One conversion as it happened: enough to compute it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FxLeg {
    /// Whose conversion.
    pub side: LegSide,
    /// What went in, in the payment's currency.
    pub from: Money,
    /// What came out: the posting's amount.
    pub to: Money,
    /// The middle.
    pub mid: Rate,
    /// What the customer got.
    pub rate: Rate,
    /// The spread between the two, in basis points.
    pub spread_bps: u16,
    /// The currency the rate was triangulated through.
    pub via: Option<Currency>,
    /// The publication.
    pub rate_id: OpId,
    /// Who published it.
    pub source: RateSource,
    /// What the rounding added, in millionths of a minor unit of `to`.
    pub rounding_micro: i64,
}

impl RateBook {
    /// Whether the pair can be priced at all, were its rates fresh.
    pub fn knows(&self, pair: Pair) -> bool {
        pair.base != pair.quote && self.path(pair).is_some()
    }

    /// Prices a pair: its own rate, its inverse, or through a pivot. Stale is refused, never used.
    pub fn price(&self, pair: Pair, now: Timestamp, policy: &FxPolicy) -> Result<PairPrice, Failure> {
        if let Some(path) = self.path(pair) {
            for hop in [Some(path.first), path.second].into_iter().flatten() {
                policy.check_age(hop.row, now)?;
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

impl PairPrice {
    /// Converts `amount` (of the pair's base) for one side of a payment.
    pub fn convert(&self, amount: Money, side: LegSide) -> Result<FxLeg, Failure> {
        let (rate, rounding) = match side {
            LegSide::Payer => (self.ask, Rounding::Up),
            LegSide::Payee => (self.bid, Rounding::Down),
            LegSide::Both => (self.mid, Rounding::Up),
        };
        let spread_bps = if side == LegSide::Both { 0 } else { self.spread_bps };
        rate.convert(amount, self.pair.quote, rounding)
            .map(|conversion| FxLeg {
                side,
                from: amount,
                to: conversion.money,
                mid: self.mid,
                rate,
                spread_bps,
                via: self.via,
                rate_id: self.rate_id,
                source: self.source,
                rounding_micro: conversion.rounding_micro,
            })
            .map_err(|error| {
                let code = match error {
                    RateError::TooSmall => FailureCode::AmountTooSmall,
                    RateError::Syntax | RateError::OutOfRange | RateError::TooLarge => FailureCode::AmountTooLarge,
                };
                Failure::new(code, format!("{amount} in {} at {rate} {error}", self.pair.quote))
            })
    }
}

impl FxLeg {
    /// What the desk earned by it, in millionths of a minor unit of `to`: the distance between what was posted and the
    /// exact worth at the middle. A conversion at the middle is no business of the desk's.
    pub fn earned_micro(&self) -> i128 {
        const MICRO: i128 = 1_000_000;
        let Ok(middle) = self.mid.convert(self.from, self.to.currency, Rounding::Down) else { return 0 };
        let exact = middle.money.minor.saturating_mul(MICRO).saturating_sub(i128::from(middle.rounding_micro));
        let posted = self.to.minor.saturating_mul(MICRO);
        match self.side {
            LegSide::Payer => posted.saturating_sub(exact),
            LegSide::Payee => exact.saturating_sub(posted),
            LegSide::Both => 0,
        }
    }
}
