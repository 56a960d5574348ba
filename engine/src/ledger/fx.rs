//! Exchange: pairs, a pair's price, and conversions at it (P8). What prices a pair is in [`super::pricing`].

use std::time::Duration;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::{
    failure::{Failure, FailureCode},
    time::Timestamp,
};
use crate::money::{Currency, Money, OpId, Rate, RateError, Rounding};

/// An ordered pair: one unit of `base` costs so many of `quote`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Encode, Decode)]
pub struct Pair {
    /// The currency that is priced.
    #[n(0)]
    pub base: Currency,
    /// The currency it is priced in.
    #[n(1)]
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

/// Where a rate comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Encode, Decode)]
#[cbor(index_only)]
pub enum RateSource {
    /// European Central Bank daily reference rates.
    #[n(0)]
    Ecb,
    /// A live market feed.
    #[n(1)]
    Live,
    /// The built-in random walk of the demo.
    #[n(2)]
    Demo,
}

impl RateSource {
    /// The source as the wire and logs spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ecb => "ecb",
            Self::Live => "live",
            Self::Demo => "demo",
        }
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
    /// How old a rate of a source may get.
    pub fn age_max(&self, source: RateSource) -> Duration {
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum LegSide {
    /// The payer's conversion, at the ask, rounded up.
    #[n(0)]
    Payer,
    /// The payee's conversion, at the bid, rounded down.
    #[n(1)]
    Payee,
    /// Payer and payee hold one currency and the amount is in another: one conversion at mid prices both.
    #[n(2)]
    Both,
}

/// One conversion as it happened: enough to compute it again.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct FxLeg {
    /// Whose conversion.
    #[n(0)]
    pub side: LegSide,
    /// What went in, in the payment's currency.
    #[n(1)]
    pub from: Money,
    /// What came out: the posting's amount.
    #[n(2)]
    pub to: Money,
    /// The middle.
    #[n(3)]
    pub mid: Rate,
    /// What the customer got.
    #[n(4)]
    pub rate: Rate,
    /// The spread between the two, in basis points.
    #[n(5)]
    pub spread_bps: u16,
    /// The currency the rate was triangulated through.
    #[n(6)]
    pub via: Option<Currency>,
    /// The publication.
    #[n(7)]
    pub rate_id: OpId,
    /// Who published it.
    #[n(8)]
    pub source: RateSource,
    /// What the rounding added, in millionths of a minor unit of `to`.
    #[n(9)]
    pub rounding_micro: i64,
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
