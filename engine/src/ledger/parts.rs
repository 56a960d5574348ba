//! Who gets what of a payment: its payee alone, or several with the house's fee (P9, P12). Pure sums, in the payment's
//! currency C and in each account's own.

use super::{
    failure::{Failure, FailureCode},
    moves::{Movement, less, more},
};
use crate::money::{AccountId, Currency, Money, Rate};
use minicbor::{Decode, Encode};

/// What of a payment goes to one account.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Part {
    /// The account.
    #[n(0)]
    pub account: AccountId,
    /// How much of the payment, in C, after the fee.
    #[n(1)]
    pub amount: Money,
    /// What that is worth in the account's currency, at the payment's rate.
    #[n(2)]
    pub worth: Money,
    /// How much of it was captured, in C.
    #[n(3)]
    pub captured: Money,
    /// How much of that was given back, in C.
    #[n(4)]
    pub refunded: Money,
    /// What the account was credited in all.
    #[n(5)]
    pub credited: Money,
    /// What was taken back from it in all, as the original rate has it.
    #[n(6)]
    pub taken_back: Money,
    /// The client's own words.
    #[n(7)]
    pub reference: String,
}

/// Several parts of one payment.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Parts {
    /// By split; the payee's alone where there is only a fee.
    #[n(0)]
    pub splits: Vec<Part>,
    /// The house's fee.
    #[n(1)]
    pub fee: Option<FeePart>,
}

/// The house's part, and who stands in for it when the house keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct FeePart {
    /// Its part. What the carrier gave in its stead counts as given back, too, but not as taken back from it.
    #[n(0)]
    pub part: Part,
    /// The split it was taken out of.
    #[n(1)]
    pub carrier: u32,
    /// What one unit of C costs in the carrier's currency, where that is another.
    #[n(2)]
    pub ask: Option<Rate>,
    /// How much of it the carrier gave back instead of the house, in C.
    #[n(3)]
    pub carried: Money,
    /// What that took from the carrier in all.
    #[n(4)]
    pub carried_debited: Money,
}

/// Who gives the fee's share of a refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeesFrom {
    /// The house, which had it.
    House,
    /// The split it was taken out of: the house keeps it.
    Carrier,
}

impl Part {
    /// A part of which nothing moved yet.
    pub fn new(account: AccountId, amount: Money, worth: Money, reference: String) -> Self {
        let [none, nothing] = [amount, worth].map(|money| Money::zero(money.currency));
        Self {
            account,
            amount,
            worth,
            captured: none,
            refunded: none,
            credited: nothing,
            taken_back: nothing,
            reference,
        }
    }

    /// All of it was captured at once.
    #[must_use]
    pub fn captured(self) -> Self {
        Self { captured: self.amount, credited: self.worth, ..self }
    }

    pub(super) fn capturable(&self) -> i128 {
        self.amount.minor.saturating_sub(self.captured.minor)
    }

    pub(super) fn refundable(&self) -> i128 {
        self.captured.minor.saturating_sub(self.refunded.minor)
    }

    /// What a capture of `amount` of it moves: all that were captured add up to `floor(worth x captured / amount)`.
    pub(super) fn captures(&self, amount: i128) -> Money {
        let captured = self.captured.minor.saturating_add(amount);
        less(part(self.worth, (captured, self.amount.minor), Down), Some(self.credited))
    }

    /// What a refund of `amount` of it takes back: giving all back is the exact reversal.
    pub(super) fn gives_back(&self, amount: i128) -> Money {
        let stays = (self.refundable().saturating_sub(amount), self.captured.minor);
        less(less(self.credited, Some(part(self.credited, stays, Down))), Some(self.taken_back))
    }
}

impl FeePart {
    /// What the carrier gives in the house's stead: at the locked ask, rounded up over all that it gave so.
    pub(super) fn carried_by(&self, amount: i128) -> Result<Money, Failure> {
        let (carried, currency) = (more(self.carried, amount), self.carried_debited.currency);
        let all = self.ask.map_or(Ok(carried), |ask| at_ask(ask, carried, currency))?;
        Ok(less(all, Some(self.carried_debited)))
    }
}

impl Parts {
    /// All of them, the fee last.
    pub fn iter(&self) -> impl Iterator<Item = &Part> {
        self.splits.iter().chain(self.fee.as_ref().map(|fee| &fee.part))
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut Part> {
        self.splits.iter_mut().chain(self.fee.as_mut().map(|fee| &mut fee.part))
    }

    /// The fee's place in the list, if it is carried by this split.
    pub(super) fn fee_of(&self, carrier: usize) -> Option<usize> {
        let is_its = self.fee.as_ref().is_some_and(|fee| usize::try_from(fee.carrier) == Ok(carrier));
        is_its.then_some(self.splits.len())
    }

    /// Notes what a capture moved.
    pub(super) fn captured(&mut self, movement: &Movement) {
        for (part, moved) in self.iter_mut().zip(&movement.parts) {
            part.captured = more(part.captured, moved.amount.minor);
            part.credited = more(part.credited, moved.moves.minor);
        }
    }

    /// Notes what a refund moved, or would have moved at the original rate.
    pub(super) fn refunded(&mut self, movement: &Movement, fees: FeesFrom) {
        for (part, moved) in self.iter_mut().zip(&movement.parts) {
            part.refunded = more(part.refunded, moved.amount.minor);
            let is_carried = fees == FeesFrom::Carrier && part.account.is_system();
            if !is_carried {
                part.taken_back = more(part.taken_back, moved.moves.minor);
            }
        }
        if let (Some(fee), FeesFrom::Carrier) = (&mut self.fee, fees)
            && let Some(moved) = movement.parts.get(self.splits.len())
        {
            fee.carried = more(fee.carried, moved.amount.minor);
            fee.carried_debited = more(fee.carried_debited, moved.moves.minor);
        }
    }
}

/// What somebody gives for `amount`: rounded up, however little that is.
pub fn at_ask(ask: Rate, amount: Money, currency: Currency) -> Result<Money, Failure> {
    ask.convert_up(amount, currency)
        .map_err(|error| Failure::new(FailureCode::AmountTooLarge, format!("{amount} in {currency} at {ask} {error}")))
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rounding {
    Up,
    Down,
}
pub(super) use Rounding::{Down, Up};

/// `total x of / whole`, rounded. An amount is at most 10^18, so the product is exact.
pub(super) fn part(total: Money, (of, whole): (i128, i128), rounding: Rounding) -> Money {
    let product = total.minor.saturating_mul(of);
    let down = product.checked_div(whole).unwrap_or_default();
    let is_exact = down.saturating_mul(whole) == product;
    let minor = if rounding == Up && !is_exact { down.saturating_add(1) } else { down };
    Money::new(minor, total.currency)
}
