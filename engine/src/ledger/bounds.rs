//! Bounds of what a request may say, whatever the ledger's state: the engine holds every command to them, however it came in.

use std::time::Duration;

use super::{
    needs::Missing,
    refund::{NamedSplit, RefundRate},
    splits::SPLITS_MAX,
    transfer::{Leg, demands},
};
use crate::money::{Currency, Money, POSTING_MINOR_MAX};

/// How many pairs one publication or removal of rates may have.
pub const PUBLISHED_MAX: usize = 512;
/// The widest spread, in basis points.
pub const SPREAD_BPS_MAX: u16 = 2_000;
/// How many metadata pairs a payment may have.
pub const METADATA_MAX: usize = 50;
/// All metadata of one payment, keys and values, in bytes.
pub const METADATA_BYTES_MAX: usize = 8 * 1024;

fn must(holds: bool, field: &'static str, rule: impl FnOnce() -> String) -> Result<(), Missing> {
    if holds { Ok(()) } else { Err(Missing::OutOfBounds { field, rule: rule() }) }
}

/// An amount that moves (P8).
pub fn amount(field: &'static str, amount: Money) -> Result<(), Missing> {
    let holds = (1..=POSTING_MINOR_MAX).contains(&amount.minor);
    must(holds, field, || format!("is {amount}; it must be greater than zero and at most 10^18 minor units"))
}

/// A limit, which may be zero.
pub fn limit(field: &'static str, limit: Money) -> Result<(), Missing> {
    let holds = (0..=POSTING_MINOR_MAX).contains(&limit.minor);
    must(holds, field, || format!("is {limit}; it must be zero or more and at most 10^18 minor units"))
}

/// An account may go below zero, or has to keep something, not both (P6).
pub fn minimum(field: &'static str, minimum: Money, overdraft_limit: i128) -> Result<(), Missing> {
    limit(field, minimum)?;
    let holds = minimum.minor == 0 || overdraft_limit == 0;
    must(holds, field, || format!("is {minimum}; it does not go together with an overdraft limit"))
}

/// How long money is set aside (P10, P12).
pub fn lifetime(field: &'static str, lifetime: Duration, lifetime_max: Duration) -> Result<(), Missing> {
    let (holds, most) = (!lifetime.is_zero() && lifetime <= lifetime_max, lifetime_max.as_secs());
    must(holds, field, || format!("is {lifetime:?}; it must be more than zero and at most {most} s"))
}

/// The spread of a published rate.
pub fn spread(field: &'static str, basis_points: u16) -> Result<(), Missing> {
    must(basis_points <= SPREAD_BPS_MAX, field, || format!("is {basis_points}; it must be 0 to {SPREAD_BPS_MAX}"))
}

/// How many pairs are published or removed at once.
pub fn pairs(field: &'static str, count: usize) -> Result<(), Missing> {
    must((1..=PUBLISHED_MAX).contains(&count), field, || {
        format!("has {count} pairs; it must have 1 to {PUBLISHED_MAX}")
    })
}

/// An account that is closed is nobody's default.
pub fn open_default(field: &'static str, is_closed: bool) -> Result<(), Missing> {
    must(!is_closed, field, || "must not be set for an account that is closed by the same request".into())
}

/// Two currencies that are not the same.
pub fn two_currencies(field: &'static str, is_same: bool) -> Result<(), Missing> {
    must(!is_same, field, || "must not be the base".into())
}

/// The splits that a refund names: each once, all in proportion at the rate of now, and with the whole amount given each
/// says its own.
pub fn named_splits(
    field: &'static str,
    named: &[NamedSplit],
    (amount, rate): (Option<Money>, RefundRate),
) -> Result<(), Missing> {
    must(named.len() <= SPLITS_MAX, field, || format!("names {} splits; at most {SPLITS_MAX} can be", named.len()))?;
    must(named.is_empty() || rate == RefundRate::Original, field, || {
        "goes not together with rate CURRENT, at which all splits give back in proportion".into()
    })?;
    for (n, split) in named.iter().enumerate() {
        let before = named.get(..n).unwrap_or_default();
        must(before.iter().all(|other| other.index != split.index), field, || {
            format!("names split {} twice", split.index)
        })?;
    }
    let Some(amount) = amount.filter(|_| !named.is_empty()) else { return Ok(()) };
    let sum = named.iter().try_fold(Money::zero(amount.currency), |sum, split| sum.checked_add(split.amount?));
    must(sum == Some(amount), field, || match sum {
        Some(sum) => format!("sum to {sum}; they must sum to the amount, {amount}"),
        None => format!("must each say an amount in {}, as the whole is given", amount.currency),
    })
}

/// How many legs a transfer may have.
pub const LEGS_MAX: usize = 64;

/// The legs of a transfer: each from one account to another; what one account gives or gets in all is of one currency and
/// bounded as a posting is.
pub fn legs(field: &'static str, legs: &[Leg]) -> Result<(), Missing> {
    must((1..=LEGS_MAX).contains(&legs.len()), field, || {
        format!("has {} legs; it must have 1 to {LEGS_MAX}", legs.len())
    })?;
    for (n, leg) in legs.iter().enumerate() {
        self::amount(field, leg.amount)?;
        must(leg.from != leg.to, field, || format!("legs[{n}] goes from {} to itself", leg.from))?;
        let is_other = |other: &&Leg| {
            let names = [&leg.from, &leg.to].into_iter().any(|account| *account == other.from || *account == other.to);
            names && other.amount.currency != leg.amount.currency
        };
        let other = legs.get(..n).unwrap_or_default().iter().find(is_other);
        must(other.is_none(), field, || {
            let currencies = other.map(|other| other.amount.currency).into_iter().chain([leg.amount.currency]);
            let currencies: Vec<_> = currencies.map(Currency::code).collect();
            format!("legs[{n}] names an account of an earlier leg in another currency ({})", currencies.join(", "))
        })?;
    }
    let too_much = demands(legs).into_iter().find(|(_, of)| of.debits.minor.max(of.credits.minor) > POSTING_MINOR_MAX);
    must(too_much.is_none(), field, || {
        let account = too_much.as_ref().map_or_else(String::new, |(account, _)| account.to_string());
        format!("move more than 10^18 minor units on account {account}")
    })
}
