//! Splits and a fee: over whom the amount of a payment is divided, by its request alone (P12).

use std::fmt;

use minicbor::{Decode, Encode};

use super::{
    shares::divide,
    value::{Field, Value},
};
use crate::money::{AccountId, Money};

/// How many accounts may share one payment.
pub const SPLITS_MAX: usize = 32;
/// The whole of an amount, in basis points.
pub const WHOLE_BPS: u16 = 10_000;

/// How much of the amount one account gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Portion {
    /// So much, in the payment's currency.
    #[n(0)]
    Amount(#[n(0)] Money),
    /// So many ten thousandths of the whole.
    #[n(1)]
    BasisPoints(#[n(0)] u16),
    /// What the others leave.
    #[n(2)]
    Remainder,
}

/// One account that shares a payment.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Split {
    /// The account.
    #[n(0)]
    pub destination: AccountId,
    /// How much it gets, before the fee.
    #[n(1)]
    pub portion: Portion,
    /// The client's own words. They do not count for "same body".
    #[n(2)]
    pub reference: String,
}

/// What the house takes of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Fee {
    /// So much, in the payment's currency.
    #[n(0)]
    Amount(#[n(0)] Money),
    /// So many ten thousandths of the whole, rounded down.
    #[n(1)]
    BasisPoints(#[n(0)] u16),
}

/// How a payment is shared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Sharing {
    /// Who shares it; nobody if all but the fee goes to one payee.
    #[n(0)]
    pub splits: Vec<Split>,
    /// What the house takes.
    #[n(1)]
    pub fee: Option<Fee>,
}

/// What each gets, in minor units of the payment's currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Division {
    /// By split, after the fee; the payee's part alone if there are no splits.
    pub parts: Vec<i128>,
    /// What the house gets.
    pub fee: Option<i128>,
    /// The split that the fee is taken out of.
    pub carrier: usize,
}

/// What is wrong with a sharing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsound {
    /// Which field.
    pub at: Place,
    /// The rule it breaks.
    pub rule: String,
}

/// A field of a sharing, by the name of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// All splits together.
    Splits,
    /// One of them, from 0.
    Split(usize),
    /// The fee.
    Fee,
}

impl Place {
    /// The field of the request.
    pub fn field(self) -> &'static str {
        match self {
            Self::Splits | Self::Split(_) => "splits",
            Self::Fee => "fee",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Split(n) => write!(f, "splits[{n}]"),
            Self::Splits | Self::Fee => f.write_str(self.field()),
        }
    }
}

fn must(holds: bool, at: Place, rule: impl FnOnce() -> String) -> Result<(), Unsound> {
    if holds { Ok(()) } else { Err(Unsound { at, rule: rule() }) }
}

impl Sharing {
    /// What each gets of `amount`.
    pub fn divide(&self, amount: Money) -> Result<Division, Unsound> {
        let count = self.splits.len();
        must(count <= SPLITS_MAX, Place::Splits, || {
            format!("has {count} splits; at most {SPLITS_MAX} share a payment")
        })?;
        let mut parts = if self.splits.is_empty() { vec![amount.minor] } else { self.portions(amount)? };
        let carrier = self.carrier();
        let fee = self.fee.map(|fee| fee.of(amount)).transpose()?;
        if let (Some(fee), Some(part)) = (fee, parts.get_mut(carrier)) {
            must(fee < *part, Place::Fee, || {
                let [fee, part] = [fee, *part].map(|minor| Money::new(minor, amount.currency));
                format!("is {fee} and comes out of a part of {part}; at least one minor unit of that must be left")
            })?;
            *part = part.saturating_sub(fee);
        }
        Ok(Division { parts, fee, carrier })
    }

    /// The split that takes what the others leave, else the last one, carries the fee.
    fn carrier(&self) -> usize {
        let remainder = self.splits.iter().position(|split| split.portion == Portion::Remainder);
        remainder.unwrap_or(self.splits.len().saturating_sub(1))
    }

    fn portions(&self, amount: Money) -> Result<Vec<i128>, Unsound> {
        let mut remainders = (0..).zip(&self.splits).filter(|(_, split)| split.portion == Portion::Remainder);
        let (remainder, second) = (remainders.next(), remainders.next());
        if let Some((n, _)) = second {
            return Err(Unsound { at: Place::Split(n), rule: "is the second remainder; at most one takes it".into() });
        }
        self.each_is_sound(amount)?;
        let bps: Vec<i128> = self.splits.iter().map(|split| i128::from(split.portion.basis_points())).collect();
        let sum_bps = bps.iter().sum::<i128>();
        must(sum_bps <= i128::from(WHOLE_BPS), Place::Splits, || {
            format!("sum to {sum_bps} basis points; the whole is {WHOLE_BPS}")
        })?;
        let parts = match remainder {
            Some((n, _)) => self.with_remainder(n, amount)?,
            None if sum_bps == 0 => self.amounts(amount)?,
            None => {
                let is_all = self.splits.iter().all(|split| matches!(split.portion, Portion::BasisPoints(_)));
                must(is_all, Place::Splits, || {
                    "mix amounts and basis points without a remainder; give all as one of the two".into()
                })?;
                must(sum_bps == i128::from(WHOLE_BPS), Place::Splits, || {
                    format!("sum to {sum_bps} basis points; without a remainder they must sum to {WHOLE_BPS}")
                })?;
                divide(amount.minor, &bps).into_vec()
            }
        };
        match parts.iter().position(|part| *part < 1) {
            None => Ok(parts),
            Some(n) => {
                let rule = format!("gets nothing of {amount}; every part must be at least one minor unit");
                Err(Unsound { at: Place::Split(n), rule })
            }
        }
    }

    fn each_is_sound(&self, amount: Money) -> Result<(), Unsound> {
        for (n, split) in self.splits.iter().enumerate() {
            match split.portion {
                Portion::Amount(part) => {
                    must(part.currency == amount.currency, Place::Split(n), || {
                        format!("is {part}; it must be in the payment's currency, {}", amount.currency)
                    })?;
                    must((1..=amount.minor).contains(&part.minor), Place::Split(n), || {
                        format!("is {part}; it must be greater than zero and at most {amount}")
                    })?;
                }
                Portion::BasisPoints(bps) => in_basis_points(bps, Place::Split(n))?,
                Portion::Remainder => {}
            }
        }
        Ok(())
    }

    fn with_remainder(&self, taker: usize, amount: Money) -> Result<Vec<i128>, Unsound> {
        let mut parts: Vec<i128> = self.splits.iter().map(|split| split.portion.of(amount)).collect();
        let taken: i128 = parts.iter().sum();
        must(taken < amount.minor, Place::Splits, || {
            let taken = Money::new(taken, amount.currency);
            format!("sum to {taken} beside the remainder; something of {amount} must remain")
        })?;
        if let Some(part) = parts.get_mut(taker) {
            *part = amount.minor.saturating_sub(taken);
        }
        Ok(parts)
    }

    fn amounts(&self, amount: Money) -> Result<Vec<i128>, Unsound> {
        let parts: Vec<i128> = self.splits.iter().map(|split| split.portion.of(amount)).collect();
        let sum = Money::new(parts.iter().sum(), amount.currency);
        must(sum == amount, Place::Splits, || {
            format!("sum to {sum}; without a remainder they must sum to the amount, {amount}")
        })?;
        Ok(parts)
    }

    /// The fields of a body: references do not count.
    pub fn fields(sharing: Option<&Self>) -> [Field; 2] {
        let row = |split: &Split| {
            let Split { destination, portion, reference: _ } = split;
            let portion = match portion {
                Portion::Amount(amount) => ("amount", (*amount).into()),
                Portion::BasisPoints(bps) => ("basis_points", u64::from(*bps).into()),
                Portion::Remainder => ("remainder", true.into()),
            };
            vec![("destination_account", destination.into()), portion]
        };
        let Some(Self { splits, fee }) = sharing else { return [("splits", Value::Absent), ("fee", Value::Absent)] };
        let rows: Vec<_> = splits.iter().map(row).collect();
        let fee = fee.map(|fee| match fee {
            Fee::Amount(amount) => vec![vec![("amount", amount.into())]],
            Fee::BasisPoints(bps) => vec![vec![("basis_points", u64::from(bps).into())]],
        });
        [("splits", (!rows.is_empty()).then_some(rows).into()), ("fee", fee.into())]
    }
}

impl Portion {
    fn basis_points(self) -> u16 {
        if let Self::BasisPoints(bps) = self { bps } else { 0 }
    }

    /// Rounded down; nothing where it is what the others leave.
    fn of(self, amount: Money) -> i128 {
        match self {
            Self::Amount(part) => part.minor,
            Self::BasisPoints(bps) => of_basis_points(amount, bps),
            Self::Remainder => 0,
        }
    }
}

impl Fee {
    fn of(self, amount: Money) -> Result<i128, Unsound> {
        let minor = match self {
            Self::Amount(fee) => {
                must(fee.currency == amount.currency, Place::Fee, || {
                    format!("is {fee}; it must be in the payment's currency, {}", amount.currency)
                })?;
                fee.minor
            }
            Self::BasisPoints(bps) => {
                in_basis_points(bps, Place::Fee)?;
                of_basis_points(amount, bps)
            }
        };
        must(minor >= 1, Place::Fee, || {
            format!("comes to {}; it must be at least one minor unit", Money::new(minor, amount.currency))
        })?;
        Ok(minor)
    }
}

fn in_basis_points(bps: u16, at: Place) -> Result<(), Unsound> {
    must((1..=WHOLE_BPS).contains(&bps), at, || format!("is {bps} basis points; it must be 1 to {WHOLE_BPS}"))
}

/// An amount is at most 10^18, so the product is exact.
fn of_basis_points(amount: Money, bps: u16) -> i128 {
    amount.minor.saturating_mul(i128::from(bps)).checked_div(i128::from(WHOLE_BPS)).unwrap_or_default()
}
