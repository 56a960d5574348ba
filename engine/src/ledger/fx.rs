//! Rates and what the desk makes of them (P8).
//!
//! A [`RateBook`] is one immutable version of all rates; a publication makes the next one, so all pairs switch
//! together. A pair without a rate of its own is priced through a pivot, rounded once.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    failure::{Failure, FailureCode},
    request::{PublishRates, RateSource},
    time::Timestamp,
};
use crate::money::{Currency, Money, OpId, Rate, RateError, Rounding};

/// Currencies a missing pair is triangulated through, in this order.
const PIVOTS: [&str; 2] = ["USD", "EUR"];

/// How many pairs the book holds at most.
pub const BOOK_PAIRS_MAX: usize = 1_024;

/// An ordered pair: one unit of `base` costs so many of `quote`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pair {
    /// The currency that is priced.
    pub base: Currency,
    /// The currency it is priced in.
    pub quote: Currency,
}

/// One published rate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookRow {
    /// The currency that is priced.
    pub base: Currency,
    /// The currency it is priced in.
    pub quote: Currency,
    /// Quote units per base unit.
    pub mid: Rate,
    /// Basis points added to an ask and taken off a bid; the configured default if none were published.
    pub spread_bps: Option<u16>,
    /// Who said so.
    pub source: RateSource,
    /// When it was true.
    pub at: Timestamp,
    /// The publication it came with.
    pub rate_id: OpId,
}

/// One version of all rates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RateBook {
    /// How many publications this book has seen: two prices are of one set if this is equal.
    pub version: u64,
    rows: BTreeMap<(u16, u16), BookRow>,
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
    /// The next version: the publication's pairs replace theirs, all others stay.
    #[must_use]
    pub fn with(&self, rates: &PublishRates, rate_id: OpId, committed_at: Timestamp) -> Self {
        let mut next = self.clone();
        next.version = self.version.saturating_add(1);
        for row in Self::rows_of(rates, rate_id, committed_at) {
            next.insert(row);
        }
        next
    }

    /// The rows one publication makes.
    pub fn rows_of(rates: &PublishRates, rate_id: OpId, committed_at: Timestamp) -> impl Iterator<Item = BookRow> {
        rates.rates.iter().map(move |rate| BookRow {
            base: rate.base,
            quote: rate.quote,
            mid: rate.mid,
            spread_bps: rate.spread_bps,
            source: rates.source,
            at: rates.as_of.unwrap_or(committed_at),
            rate_id,
        })
    }

    /// Puts one row in. What is accepted is bounded by [`BOOK_PAIRS_MAX`] before it is committed.
    pub fn insert(&mut self, row: BookRow) {
        self.rows.insert((row.base.numeric(), row.quote.numeric()), row);
    }

    /// How many pairs the book would hold after a publication.
    pub fn pairs_with(&self, rates: &PublishRates) -> usize {
        let new = |rate: &&super::request::PublishedRate| {
            !self.rows.contains_key(&(rate.base.numeric(), rate.quote.numeric()))
        };
        self.rows.len().saturating_add(rates.rates.iter().filter(new).count())
    }

    /// Whether the pair can be priced at all, were its rates fresh.
    pub fn knows(&self, pair: Pair) -> bool {
        pair.base != pair.quote && self.path(pair).is_some()
    }

    /// All published rows.
    pub fn rows(&self) -> impl Iterator<Item = &BookRow> {
        self.rows.values()
    }

    /// Prices a pair: its own rate, its inverse, or through a pivot. Stale is refused, never used.
    pub fn price(&self, pair: Pair, now: Timestamp, policy: &FxPolicy) -> Result<PairPrice, Failure> {
        if pair.base == pair.quote {
            return Err(unavailable(pair));
        }
        let Some(path) = self.path(pair) else { return Err(unavailable(pair)) };
        let oldest = path.first.oldest(path.second);
        for hop in [Some(path.first), path.second].into_iter().flatten() {
            let age = now.since(hop.row.at);
            let age_max = policy.age_max(hop.row.source);
            if age > age_max {
                return Err(Failure::new(
                    FailureCode::FxRateStale,
                    format!(
                        "the {} rate {}/{} is {} s old, at most {} s are allowed; publish a newer one",
                        hop.row.source.name(),
                        hop.row.base,
                        hop.row.quote,
                        age.as_secs(),
                        age_max.as_secs()
                    ),
                ));
            }
        }
        let spread = |hop: Hop<'_>| hop.row.spread_bps.unwrap_or(policy.spread_bps_default);
        let spread_bps = spread(path.first).saturating_add(path.second.map_or(0, spread));
        let build = || -> Result<PairPrice, RateError> {
            let mid = path.mid()?;
            Ok(PairPrice {
                pair,
                mid,
                ask: mid.with_spread(spread_bps, Rounding::Up)?,
                bid: mid.with_spread(spread_bps, Rounding::Down)?,
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
        let direct = self.rows.get(&(base.numeric(), quote.numeric()));
        let inverse = || self.rows.get(&(quote.numeric(), base.numeric()));
        direct
            .map(|row| Hop { row, direction: Direction::Direct })
            .or_else(|| inverse().map(|row| Hop { row, direction: Direction::Inverse }))
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
    fn mid(&self) -> Result<Rate, RateError> {
        let (n0, d0) = self.first.fraction();
        let (n1, d1) = self.second.map_or((Rate::ONE, Rate::ONE), Hop::fraction);
        Rate::cross([n0, n1], [d0, d1])
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::request::PublishedRate;

    fn currency(code: &str) -> Currency {
        Currency::from_code(code).expect("a currency")
    }

    fn policy() -> FxPolicy {
        FxPolicy {
            ecb_age_max: Duration::from_secs(4 * 86_400),
            live_age_max: Duration::from_secs(60),
            demo_age_max: Duration::from_secs(60),
            spread_bps_default: 25,
        }
    }

    fn book(rates: &[(&str, &str, &str)], source: RateSource) -> RateBook {
        let rates = rates
            .iter()
            .map(|(base, quote, mid)| PublishedRate {
                base: currency(base),
                quote: currency(quote),
                mid: Rate::parse(mid).expect("a rate"),
                spread_bps: None,
            })
            .collect();
        let set = PublishRates { source, as_of: None, rates };
        RateBook::default().with(&set, OpId(7), Timestamp(1_000_000))
    }

    fn pair(base: &str, quote: &str) -> Pair {
        Pair { base: currency(base), quote: currency(quote) }
    }

    #[test]
    fn direct_inverse_and_through_a_pivot() {
        let book = book(&[("EUR", "USD", "1.25"), ("EUR", "IDR", "20000")], RateSource::Ecb);
        let price = |base, quote| book.price(pair(base, quote), Timestamp(2_000_000), &policy()).expect("a price");
        assert_eq!(price("EUR", "USD").mid.to_string(), "1.25");
        assert_eq!(price("USD", "EUR").mid.to_string(), "0.8");
        let cross = price("USD", "IDR");
        assert_eq!((cross.mid.to_string().as_str(), cross.via), ("16000", Some(currency("EUR"))));
        assert_eq!(cross.spread_bps, 50);
        assert_eq!((cross.ask.to_string().as_str(), cross.bid.to_string().as_str()), ("16080", "15920"));
    }

    #[test]
    fn stale_or_missing_is_refused() {
        let book = book(&[("EUR", "USD", "1.25")], RateSource::Live);
        let late = Timestamp(1_000_000 + 61_000_000);
        let stale = book.price(pair("EUR", "USD"), late, &policy()).expect_err("stale");
        assert_eq!(stale.code, FailureCode::FxRateStale);
        let missing = book.price(pair("EUR", "JPY"), Timestamp(0), &policy()).expect_err("missing");
        assert_eq!(missing.code, FailureCode::FxRateUnavailable);
    }

    #[test]
    fn a_publication_keeps_the_other_pairs() {
        let first = book(&[("EUR", "USD", "1.25"), ("EUR", "JPY", "160")], RateSource::Ecb);
        let set = PublishRates {
            source: RateSource::Live,
            as_of: None,
            rates: vec![PublishedRate {
                base: currency("EUR"),
                quote: currency("USD"),
                mid: Rate::parse("1.5").expect("a rate"),
                spread_bps: Some(0),
            }],
        };
        let second = first.with(&set, OpId(8), Timestamp(2_000_000));
        assert_eq!(second.rows().count(), 2);
        let now = Timestamp(2_000_000);
        let jpy = second.price(pair("EUR", "JPY"), now, &policy()).expect("kept");
        let usd = second.price(pair("EUR", "USD"), now, &policy()).expect("new");
        assert_eq!((usd.ask, usd.book_version), (usd.mid, jpy.book_version));
    }
}
