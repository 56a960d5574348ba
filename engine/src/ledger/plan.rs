//! What a conversion from one account to others would move, and at which prices (P8, P12).

use smallvec::{SmallVec, smallvec};

use super::{
    failure::{Failure, FailureCode},
    fx::{FxLeg, LegSide, Pair, PairPrice},
};
use crate::money::{Currency, Money};

/// What the payer would be debited, the payees credited, and the conversions between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Out of the payer's account.
    pub debit: Money,
    /// Into the payees'.
    pub credits: SmallVec<[Money; 1]>,
    /// The conversions, payer's first.
    pub legs: SmallVec<[FxLeg; 2]>,
}

/// A part of an amount, and the currency of the account it goes to.
pub type Target = (Money, Currency);

/// The pairs to be priced for an amount in one currency that others hold in theirs; none where all are one.
pub fn pairs(wanted: Currency, others: impl IntoIterator<Item = Currency>) -> SmallVec<[Pair; 2]> {
    let mut pairs: SmallVec<[Pair; 2]> = SmallVec::new();
    for quote in others {
        let pair = Pair { base: wanted, quote };
        if quote != wanted && !pairs.contains(&pair) {
            pairs.push(pair);
        }
    }
    pairs
}

/// Whether all prices are of one rate set.
pub fn is_of_one_book(prices: &[Box<PairPrice>]) -> bool {
    prices.windows(2).all(|two| match two {
        [a, b] => a.book_version == b.book_version,
        _ => true,
    })
}

/// The price of a currency.
pub fn price(prices: &[Box<PairPrice>], quote: Currency) -> Result<&PairPrice, Failure> {
    let unpriced = || Failure::new(FailureCode::FxRateUnavailable, format!("{quote} was not priced"));
    prices.iter().map(|price| &**price).find(|price| price.pair.quote == quote).ok_or_else(unpriced)
}

/// What an amount is worth to one side, with the conversion where there is one.
pub fn worth(
    (amount, currency): Target,
    side: LegSide,
    prices: &[Box<PairPrice>],
    legs: &mut SmallVec<[FxLeg; 2]>,
) -> Result<Money, Failure> {
    if amount.currency == currency {
        return Ok(amount);
    }
    let leg = price(prices, currency)?.convert(amount, side)?;
    let worth = leg.to;
    legs.push(leg);
    Ok(worth)
}

impl Plan {
    /// Where all is in one currency.
    pub fn unconverted(amount: Money, parts: impl IntoIterator<Item = Money>) -> Self {
        Self { debit: amount, credits: parts.into_iter().collect(), legs: SmallVec::new() }
    }

    /// `debit = up(amount x ask)`, `credit = down(part x bid)`, identity where equal; one conversion at mid where payer and
    /// the only payee hold one currency and the amount is in another.
    pub fn new(amount: Money, payer: Currency, parts: &[Target], prices: &[Box<PairPrice>]) -> Result<Self, Failure> {
        let mut legs = SmallVec::new();
        if let [(_, payee)] = parts
            && *payee == payer
            && payer != amount.currency
        {
            let both = worth((amount, payer), LegSide::Both, prices, &mut legs)?;
            return Ok(Self { debit: both, credits: smallvec![both], legs });
        }
        let debit = worth((amount, payer), LegSide::Payer, prices, &mut legs)?;
        let credits = parts.iter().map(|part| worth(*part, LegSide::Payee, prices, &mut legs));
        Ok(Self { debit, credits: credits.collect::<Result<_, _>>()?, legs })
    }
}
