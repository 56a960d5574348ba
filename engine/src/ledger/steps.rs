//! One step in the life of a payment (P9): capture, void, expiry, refund. Pure: a state and a step give the next state and
//! the lines that lead there.
//!
//! What is asked for is in the payment's currency C. What of it moves is posted so that all steps add up to the whole: the
//! payer's up to `ceil(total x captured / amount)`, each payee's up to `floor(total x captured / amount)` of its part, and
//! the desk takes the difference ([`super::parts`]). So no sum of steps exceeds the hold, and giving all back is the exact
//! reversal.

use smallvec::SmallVec;

use super::{
    failure::{Failure, FailureCode},
    life::Life,
    moves::{Movement, less, more, moved},
    parts::FeesFrom,
    payment::{Payment, PaymentStatus},
    refund::NamedSplit,
    reservation::Finality,
};
use crate::money::{AccountId, Money, Posting, PostingKind};

/// The next state, with the lines that lead there.
pub type Step = (Payment, Vec<Posting>);

/// What ends an authorisation before all of it is captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The client gave it up.
    Voided,
    /// Its time is over.
    Expired,
}

impl Payment {
    /// How much may still be captured.
    pub fn capturable(&self, life: &Life) -> Money {
        let is_open = self.status == PaymentStatus::Authorized;
        let left = life.amount.minor.saturating_sub(life.captured.minor);
        Money::new(if is_open { left } else { 0 }, life.amount.currency)
    }

    /// How much a capture of `amount` (or of all that is left) takes. Time plays no part: it ends an authorisation by an
    /// entry of its own.
    pub fn check_capture(&self, life: &Life, amount: Option<Money>) -> Result<Money, Failure> {
        self.check_authorized(FailureCode::PaymentNotCapturable)?;
        let left = self.capturable(life);
        let amount = amount.unwrap_or(left);
        self.check_currency(life, amount)?;
        if amount.minor > left.minor {
            let message = format!("payment {} has {left} left to capture, {amount} is too much", self.id);
            return Err(Failure::new(FailureCode::AmountExceedsCapturable, message));
        }
        Ok(amount)
    }

    /// Takes `amount` out of what was set aside, and credits the payees; frees the rest if that was the last capture.
    pub fn capture(&self, life: &Life, amount: Money, finality: Finality, today: u32) -> Result<Step, Failure> {
        self.check_authorized(FailureCode::PaymentNotCapturable)?;
        let movement = self.movement_of_capture(life, amount);
        let paid = Posting::new(self.payer.clone(), PostingKind::Settle, movement.payer);
        let mut lines = moved(vec![paid], movement.lines(PostingKind::Credit), today);
        let (mut next, mut life) = (self.clone(), life.clone());
        next.debited = Some(more(self.debited.unwrap_or(Money::zero(movement.payer.currency)), movement.payer.minor));
        match (&mut next.shared, movement.parts.first()) {
            (Some(shared), _) => shared.captured(&movement),
            (None, Some(alone)) => {
                next.credited =
                    Some(more(self.credited.unwrap_or(Money::zero(alone.moves.currency)), alone.moves.minor));
            }
            (None, None) => {}
        }
        life.captured = more(life.captured, amount.minor);
        life.step = Some(amount);
        if let Some(authorization) = &mut life.authorization {
            authorization.left = less(authorization.left, Some(movement.payer));
        }
        if finality == Finality::Final || life.captured == life.amount {
            next.end_authorization(&mut life, Ending::Voided, &mut lines);
        }
        Ok(next.with(life, lines))
    }

    /// Frees what is left of what was set aside.
    pub fn end(&self, life: &Life, ending: Ending) -> Result<Step, Failure> {
        self.check_authorized(FailureCode::PaymentNotVoidable)?;
        let (mut next, mut life, mut lines) = (self.clone(), life.clone(), Vec::new());
        next.end_authorization(&mut life, ending, &mut lines);
        Ok(next.with(life, lines))
    }

    fn end_authorization(&mut self, life: &mut Life, ending: Ending, lines: &mut Vec<Posting>) {
        if let Some(authorization) = &mut life.authorization
            && authorization.left.minor > 0
        {
            let kind = PostingKind::Void { held_on: authorization.held_on };
            lines.push(Posting::new(self.payer.clone(), kind, authorization.left));
            authorization.left.minor = 0;
        }
        self.status = match ending {
            _ if life.captured.minor > 0 && life.refunded == life.captured => PaymentStatus::Refunded,
            _ if life.captured.minor > 0 => PaymentStatus::Captured,
            Ending::Voided => PaymentStatus::Voided,
            Ending::Expired => PaymentStatus::Expired,
        };
    }

    /// How much a refund gives back of what was captured and not given back before, and how that is divided over the
    /// parts: as it names splits, or over all of them.
    pub fn check_refund(
        &self,
        life: &Life,
        amount: Option<Money>,
        named: &[NamedSplit],
    ) -> Result<SmallVec<[i128; 1]>, Failure> {
        let left = life.refundable();
        if left.minor == 0 {
            let status = self.status.name();
            let message = match life.captured.minor {
                0 => format!("payment {} is {status}; nothing of it was captured that could be given back", self.id),
                _ => format!("payment {} is {status}; all that was captured was given back", self.id),
            };
            return Err(Failure::new(FailureCode::PaymentNotRefundable, message));
        }
        let amount = amount.unwrap_or(left);
        self.check_currency(life, amount)?;
        if !named.is_empty() {
            return self.check_named(life, named);
        }
        if amount.minor > left.minor {
            let message = format!("payment {} has {left} left to refund, {amount} is too much", self.id);
            return Err(Failure::new(FailureCode::AmountExceedsRefundable, message));
        }
        Ok(self.divide_refund(life, amount))
    }

    fn check_named(&self, life: &Life, named: &[NamedSplit]) -> Result<SmallVec<[i128; 1]>, Failure> {
        let mut amounts = SmallVec::<[(usize, Money); 4]>::new();
        for NamedSplit { index, amount } in named {
            let split = usize::try_from(*index).unwrap_or(usize::MAX);
            let left = self.refundable_of(split).unwrap_or(Money::zero(life.amount.currency));
            let amount = amount.unwrap_or(left);
            self.check_currency(life, amount)?;
            if amount.minor > left.minor || left.minor == 0 {
                let message = if left.minor == 0 {
                    format!("split {index} of payment {} has nothing left to refund", self.id)
                } else {
                    format!("split {index} of payment {} has {left} left to refund, {amount} is too much", self.id)
                };
                return Err(Failure::new(FailureCode::AmountExceedsRefundable, message));
            }
            amounts.push((split, amount));
        }
        Ok(self.divide_refund_of(&amounts))
    }

    /// Gives back what a refund divides so: `moves` is what moves, out of the payees' accounts and into `to`, and
    /// `original` what would at the payment's own rates.
    pub fn refund(
        &self,
        life: &Life,
        [original, moves]: [&Movement; 2],
        fees: FeesFrom,
        (to, today): (AccountId, u32),
    ) -> Step {
        let back = moves.lines(PostingKind::Return).collect();
        let lines = moved(back, [Posting::new(to, PostingKind::Credit, moves.payer)], today);
        let amount = original.amount(life.amount.currency);
        let (mut next, mut life) = (self.clone(), life.clone());
        match (&mut next.shared, original.parts.first()) {
            (Some(shared), _) => shared.refunded(original, fees),
            (None, Some(alone)) => {
                life.taken_back =
                    Some(more(life.taken_back.unwrap_or(Money::zero(alone.moves.currency)), alone.moves.minor));
            }
            (None, None) => {}
        }
        life.refunded = more(life.refunded, amount.minor);
        life.step = Some(amount);
        life.given_back =
            Some(more(life.given_back.unwrap_or(Money::zero(original.payer.currency)), original.payer.minor));
        if life.refunded == life.captured && next.status == PaymentStatus::Captured {
            next.status = PaymentStatus::Refunded;
        }
        next.with(life, lines)
    }

    fn with(mut self, mut life: Life, lines: Vec<Posting>) -> Step {
        life.version = life.version.saturating_add(1);
        self.life = Some(Box::new(life));
        (self, lines)
    }

    fn check_authorized(&self, code: FailureCode) -> Result<(), Failure> {
        if self.status == PaymentStatus::Authorized {
            return Ok(());
        }
        let message = format!(
            "payment {} is {}; only one that is AUTHORIZED has something set aside",
            self.id,
            self.status.name()
        );
        Err(Failure::new(code, message))
    }

    fn check_currency(&self, life: &Life, amount: Money) -> Result<(), Failure> {
        if amount.currency == life.amount.currency {
            return Ok(());
        }
        let message = format!("payment {} is in {}, the amount is {amount}", self.id, life.amount.currency);
        Err(Failure::new(FailureCode::CurrencyMismatch, message))
    }
}
