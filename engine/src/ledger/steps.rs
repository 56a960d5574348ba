//! One step in the life of a payment (P9): capture, void, expiry, refund. Pure: a state and a step give the next state and
//! the lines that lead there.
//!
//! What is asked for is in the payment's currency C. What of it moves is posted so that all parts add up to the whole: the
//! payer's up to `ceil(total x captured / amount)`, the payee's up to `floor(total x captured / amount)`, and the desk
//! takes the difference. So no sum of parts exceeds the hold, and giving all back is the exact reversal.

use super::{
    failure::{Failure, FailureCode},
    fx::LegSide,
    life::Life,
    moves::moved,
    payment::{Payment, PaymentStatus},
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

/// What a step moves: out of one account, into another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Out of the payer's, or back out of the payee's.
    pub out: Money,
    /// Into the payee's, or back into the payer's.
    pub into: Money,
}

impl Payment {
    /// How much may still be captured.
    pub fn capturable(&self, life: &Life) -> Money {
        let is_open = self.status == PaymentStatus::Authorized;
        let left = life.amount.minor.saturating_sub(life.captured.minor);
        Money::new(if is_open { left } else { 0 }, life.amount.currency)
    }

    /// What all of it is worth to one side, in that side's currency.
    fn total(&self, life: &Life, side: LegSide) -> Money {
        let leg = self.fx.iter().find(|leg| leg.side == side || leg.side == LegSide::Both);
        leg.map_or(life.amount, |leg| leg.to)
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

    /// What a capture of `amount` (checked by [`Payment::check_capture`]) moves.
    pub fn share_of_capture(&self, life: &Life, amount: Money) -> Share {
        let captured = life.captured.minor.saturating_add(amount.minor);
        let upto = |side, rounding| part(self.total(life, side), (captured, life.amount.minor), rounding);
        let more = |all: Money, before: Option<Money>| less(all, before);
        Share {
            out: more(upto(LegSide::Payer, Up), self.debited),
            into: more(upto(LegSide::Payee, Down), self.credited),
        }
    }

    /// Takes `amount` out of what was set aside, and credits the payee; frees the rest if that was the last capture.
    pub fn capture(&self, life: &Life, amount: Money, finality: Finality, today: u32) -> Result<Step, Failure> {
        self.check_authorized(FailureCode::PaymentNotCapturable)?;
        let share = self.share_of_capture(life, amount);
        let mut lines = moved(
            Posting::new(self.payer.clone(), PostingKind::Settle, share.out),
            Posting::new(self.payee.clone(), PostingKind::Credit, share.into),
            today,
        );
        let (mut next, mut life) = (self.clone(), life.clone());
        next.debited = Some(more(self.debited, share.out));
        next.credited = Some(more(self.credited, share.into));
        life.captured = more(Some(life.captured), amount);
        life.step = Some(amount);
        if let Some(authorization) = &mut life.authorization {
            authorization.left = less(authorization.left, Some(share.out));
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

    /// How much a refund of `amount` (or of all that was captured and not given back) gives back.
    pub fn check_refund(&self, life: &Life, amount: Option<Money>) -> Result<Money, Failure> {
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
        if amount.minor > left.minor {
            let message = format!("payment {} has {left} left to refund, {amount} is too much", self.id);
            return Err(Failure::new(FailureCode::AmountExceedsRefundable, message));
        }
        Ok(amount)
    }

    /// What a refund of `amount` (checked by [`Payment::check_refund`]) moves at the payment's own rates.
    pub fn share_of_refund(&self, life: &Life, amount: Money) -> Share {
        let stays = (life.refundable().minor.saturating_sub(amount.minor), life.captured.minor);
        let back = |moved: Option<Money>, before: Option<Money>, rounding| {
            let Some(moved) = moved else { return Money::zero(life.amount.currency) };
            less(less(moved, Some(part(moved, stays, rounding))), before)
        };
        Share { out: back(self.credited, life.taken_back, Down), into: back(self.debited, life.given_back, Up) }
    }

    /// Gives `amount` back: `share` is what moves, from the payee's account to `to`.
    pub fn refund(&self, life: &Life, amount: Money, (share, to): (Share, AccountId), today: u32) -> Step {
        let lines = moved(
            Posting::new(self.payee.clone(), PostingKind::Return, share.out),
            Posting::new(to, PostingKind::Credit, share.into),
            today,
        );
        let original = self.share_of_refund(life, amount);
        let (mut next, mut life) = (self.clone(), life.clone());
        life.refunded = more(Some(life.refunded), amount);
        life.step = Some(amount);
        life.taken_back = Some(more(life.taken_back, original.out));
        life.given_back = Some(more(life.given_back, original.into));
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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rounding {
    Up,
    Down,
}
use Rounding::{Down, Up};

/// `total x of / whole`, rounded. An amount is at most 10^18, so the product is exact.
fn part(total: Money, (of, whole): (i128, i128), rounding: Rounding) -> Money {
    let product = total.minor.saturating_mul(of);
    let down = product.checked_div(whole).unwrap_or_default();
    let is_exact = down.saturating_mul(whole) == product;
    let minor = if rounding == Up && !is_exact { down.saturating_add(1) } else { down };
    Money::new(minor, total.currency)
}

fn more(before: Option<Money>, amount: Money) -> Money {
    Money::new(before.map_or(0, |before| before.minor).saturating_add(amount.minor), amount.currency)
}

/// What is left of an amount; where parts before were rounded the other way, nothing rather than less.
fn less(amount: Money, before: Option<Money>) -> Money {
    let before = before.map_or(0, |before| before.minor);
    Money::new(amount.minor.saturating_sub(before).max(0), amount.currency)
}
