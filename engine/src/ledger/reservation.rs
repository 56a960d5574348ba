//! A wallet reservation: money set aside durably, captured in parts, always expiring (P10).

use minicbor::{Decode, Encode};

use super::{
    failure::{Failure, FailureCode},
    time::Timestamp,
};
use crate::{
    money::{AccountId, Lsn, Money, OpId, Posting, PostingKind},
    planted::{Bug, is_planted},
};

/// Where a reservation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum ReservationStatus {
    /// Something is left to capture.
    #[n(0)]
    Active,
    /// Nothing is left, and something was captured.
    #[n(1)]
    Captured,
    /// Freed by the client, nothing captured.
    #[n(2)]
    Released,
    /// Freed by time, nothing captured.
    #[n(3)]
    Expired,
    /// The Reserve itself was declined.
    #[n(4)]
    Failed,
}

/// A reservation as it is after an entry.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Reservation {
    /// Its id: the op of the Reserve.
    #[n(0)]
    pub id: OpId,
    /// Who pays.
    #[n(1)]
    pub account: AccountId,
    /// Whom captures credit by default.
    #[n(2)]
    pub destination: Option<AccountId>,
    /// How much was set aside.
    #[n(3)]
    pub amount: Money,
    /// How much was captured so far.
    #[n(4)]
    pub captured: Money,
    /// How much is still set aside.
    #[n(5)]
    pub remaining: Money,
    /// Where it stands.
    #[n(6)]
    pub status: ReservationStatus,
    /// When the rest is freed.
    #[n(7)]
    pub expires_at: Timestamp,
    /// The UTC day of the hold, whose daily limit it counts against.
    #[n(8)]
    pub held_on: u32,
    /// The entry before this one that changed it: a declined one changes nothing. From minor 1 on.
    #[n(9)]
    pub changed: Option<Lsn>,
}

/// Whether more captures may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Finality {
    /// What is left stays set aside.
    #[n(0)]
    Partial,
    /// What is left is freed.
    #[n(1)]
    Final,
}

/// Why the rest of a reservation is freed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The client asked for it.
    Released,
    /// Its time is over.
    Expired,
}

/// The next state, with the lines that lead there.
pub type Step = (Reservation, Vec<Posting>);

impl Reservation {
    /// The same reservation, declined before it held anything.
    #[must_use]
    pub fn failed(mut self) -> Self {
        self.status = ReservationStatus::Failed;
        self.remaining = Money::zero(self.amount.currency);
        self
    }

    /// Whether captures may follow.
    pub fn is_active(&self) -> bool {
        self.status == ReservationStatus::Active
    }

    /// How much a capture of `amount` (or of all that is left) takes. Time plays no part: it ends a reservation by an
    /// entry of its own, so a capture that comes too late finds it expired.
    pub fn check_capture(&self, amount: Option<Money>) -> Result<Money, Failure> {
        self.check_active()?;
        let amount = amount.unwrap_or(self.remaining);
        match self.remaining.checked_sub(amount) {
            None => Err(Failure::new(
                FailureCode::CurrencyMismatch,
                format!("reservation {} is in {}, the amount is {amount}", self.id, self.amount.currency),
            )),
            Some(left) if left.minor < 0 && !is_planted(Bug::CaptureAboveTheHold) => Err(Failure::new(
                FailureCode::AmountExceedsReservation,
                format!("reservation {} has {} left, {amount} is too much", self.id, self.remaining),
            )),
            Some(_) => Ok(amount),
        }
    }

    /// Takes `amount` (checked by [`Reservation::check_capture`]) and credits it to `payee`.
    pub fn capture(&self, amount: Money, payee: AccountId, finality: Finality) -> Result<Step, Failure> {
        self.check_active()?;
        let mut next = self.clone();
        let mut lines = vec![
            Posting::new(self.account.clone(), PostingKind::Settle, amount),
            Posting::new(payee, PostingKind::Credit, amount),
        ];
        next.captured.minor = next.captured.minor.saturating_add(amount.minor);
        next.remaining.minor = next.remaining.minor.saturating_sub(amount.minor);
        if finality == Finality::Final {
            next.free_rest(&mut lines);
        }
        if next.remaining.minor == 0 {
            next.status = ReservationStatus::Captured;
        }
        Ok((next, lines))
    }

    /// Frees what is left.
    pub fn end(&self, end: End) -> Result<Step, Failure> {
        if !is_planted(Bug::ExpiryTwice) {
            self.check_active()?;
        }
        let mut next = self.clone();
        let mut lines = Vec::new();
        next.free_rest(&mut lines);
        next.status = match end {
            _ if next.captured.minor > 0 => ReservationStatus::Captured,
            End::Released => ReservationStatus::Released,
            End::Expired => ReservationStatus::Expired,
        };
        Ok((next, lines))
    }

    fn free_rest(&mut self, lines: &mut Vec<Posting>) {
        if self.remaining.minor > 0 {
            let kind = PostingKind::Void { held_on: self.held_on };
            lines.push(Posting::new(self.account.clone(), kind, self.remaining));
            self.remaining.minor = 0;
        }
    }

    fn check_active(&self) -> Result<(), Failure> {
        if self.is_active() {
            return Ok(());
        }
        Err(Failure::new(
            FailureCode::ReservationNotActive,
            format!("reservation {} is {}", self.id, self.status.name()),
        ))
    }
}

impl ReservationStatus {
    /// The status as the wire spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Captured => "CAPTURED",
            Self::Released => "RELEASED",
            Self::Expired => "EXPIRED",
            Self::Failed => "FAILED",
        }
    }
}
