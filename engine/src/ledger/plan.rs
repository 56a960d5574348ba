//! What a conversion from one account to another would move, and at which prices (P8).

use smallvec::SmallVec;

use super::{
    failure::{Failure, FailureCode},
    fx::{FxLeg, LegSide, Pair, PairPrice},
};
use crate::money::{Currency, Money};

/// What the payer would be debited, the payee credited, and the conversions between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Out of the payer's account.
    pub debit: Money,
    /// Into the payee's.
    pub credit: Money,
    /// The conversions, payer's first.
    pub legs: SmallVec<[FxLeg; 2]>,
}

/// The pairs to be priced for an amount between two currencies; none where all are one.
pub fn pairs(wanted: Currency, payer: Currency, payee: Currency) -> SmallVec<[Pair; 2]> {
    let mut pairs: SmallVec<[Pair; 2]> = SmallVec::new();
    for quote in [payer, payee] {
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

impl Plan {
    /// Where all is in one currency.
    pub fn unconverted(amount: Money) -> Self {
        Self { debit: amount, credit: amount, legs: SmallVec::new() }
    }

    /// `debit = up(amount x ask)`, `credit = down(amount x bid)`, identity where equal; one conversion at mid where payer
    /// and payee hold one currency and the amount is in another.
    pub fn new(
        amount: Money,
        (payer, payee): (Currency, Currency),
        prices: &[Box<PairPrice>],
    ) -> Result<Self, Failure> {
        let price = |quote| {
            let unpriced = || Failure::new(FailureCode::FxRateUnavailable, format!("{quote} was not priced"));
            prices.iter().find(|price| price.pair.quote == quote).ok_or_else(unpriced)
        };
        let mut legs = SmallVec::new();
        if payer == payee {
            legs.push(price(payer)?.convert(amount, LegSide::Both)?);
        } else {
            for (quote, side) in [(payer, LegSide::Payer), (payee, LegSide::Payee)] {
                if quote != amount.currency {
                    legs.push(price(quote)?.convert(amount, side)?);
                }
            }
        }
        let converted = |side| {
            legs.iter().find(|leg: &&FxLeg| leg.side == side || leg.side == LegSide::Both).map_or(amount, |leg| leg.to)
        };
        Ok(Self { debit: converted(LegSide::Payer), credit: converted(LegSide::Payee), legs })
    }
}
