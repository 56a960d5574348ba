//! How a deposit, a withdrawal or a posted transfer is taken back, once: its legs the other way, the last first (P12).
//!
//! Money that is given back counts against no daily limit, and comes only out of what is available.

use super::{
    decision::Change,
    failure::{Failure, FailureCode},
    operation::{Operation, OperationKind, OperationStatus},
    transfer::{Demands, Leg, Transfer, TransferStatus, demands, name_leg, refused_leg},
};
use crate::{
    money::{AccountId, Money, OpId, Posting, PostingKind},
    planted::{Bug, is_planted},
};

/// Something that may be taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Original {
    /// A deposit or a withdrawal; or a reversal, which is final.
    Operation(Operation),
    /// A transfer.
    Transfer(Box<Transfer>),
}

impl Original {
    /// The object, if it is of a kind that can be named.
    pub fn of(change: &Change) -> Option<Self> {
        match change {
            Change::Operation(operation) => Some(Self::Operation((**operation).clone())),
            Change::Transfer(transfer) => Some(Self::Transfer(transfer.clone())),
            Change::Payment(_)
            | Change::Reservation(_)
            | Change::Refund(_)
            | Change::Account { .. }
            | Change::Rates => None,
        }
    }

    /// Its id.
    pub fn id(&self) -> OpId {
        match self {
            Self::Operation(operation) => operation.id,
            Self::Transfer(transfer) => transfer.id,
        }
    }

    /// As it is.
    pub fn change(self) -> Change {
        match self {
            Self::Operation(operation) => Change::Operation(Box::new(operation)),
            Self::Transfer(transfer) => Change::Transfer(transfer),
        }
    }

    /// Whether it can be taken back; says what it is otherwise.
    pub fn check(&self) -> Result<(), Failure> {
        if is_planted(Bug::ReversedTwice) {
            return Ok(());
        }
        let (id, is_done, by, told) = match self {
            Self::Operation(Operation { id, kind: OperationKind::Reversal { .. }, .. }) => {
                (id, false, None, "a reversal, which is final")
            }
            Self::Operation(Operation { id, status, reversed_by, .. }) => {
                (id, *status == OperationStatus::Completed, reversed_by.as_ref(), status.name())
            }
            Self::Transfer(of) => {
                (&of.id, of.status == TransferStatus::Posted, of.reversed_by.as_ref(), of.status.name())
            }
        };
        if let Some(by) = by {
            let message = format!("operation {id} was reversed already, by operation {by}");
            return Err(Failure::new(FailureCode::OperationAlreadyReversed, message));
        }
        if !is_done {
            let message = format!(
                "operation {id} is {told}; only a deposit or a withdrawal that is COMPLETED or a transfer that is POSTED can \
                 be reversed"
            );
            return Err(Failure::new(FailureCode::OperationNotReversible, message));
        }
        Ok(())
    }

    /// What has to move so that all is as if it had not been.
    pub fn legs_back(&self) -> Vec<Leg> {
        match self {
            Self::Transfer(transfer) => transfer.legs.iter().rev().map(back).collect(),
            Self::Operation(operation) => match &operation.kind {
                OperationKind::Deposit { account, amount } => vec![leg(account.clone(), world(*amount), *amount)],
                OperationKind::Withdrawal { account, amount } => vec![leg(world(*amount), account.clone(), *amount)],
                OperationKind::Reversal { .. } => Vec::new(),
            },
        }
    }

    /// What each client's account is asked: it gives only what it has, whatever its daily limit.
    pub fn demands(&self) -> Demands {
        let mut demands = demands(&self.legs_back());
        demands.retain(|(account, _)| !account.is_system());
        for (_, demand) in &mut demands {
            demand.debits = Money::zero(demand.debits.currency);
        }
        demands
    }

    /// Which leg of a transfer an account's refusal to take part is about, in words.
    pub fn refusal(&self, account: &AccountId, failure: Failure) -> Failure {
        match self {
            Self::Operation(_) => failure,
            Self::Transfer(transfer) => {
                let back = refused_leg(&self.legs_back(), account, failure.code);
                name_leg(back.and_then(|n| transfer.legs.len().checked_sub(n.saturating_add(1))), failure)
            }
        }
    }

    /// Taken back: how it is from then on, and the lines that do it. The world's own debits are of `today`.
    pub fn reversed(mut self, by: OpId, today: u32) -> (Change, Vec<Posting>) {
        let gives = |account: &AccountId| {
            if account.is_system() { PostingKind::Debit { held_on: today } } else { PostingKind::Return }
        };
        let lines = |leg: Leg| {
            let kind = gives(&leg.from);
            [Posting::new(leg.from, kind, leg.amount), Posting::new(leg.to, PostingKind::Credit, leg.amount)]
        };
        let lines = self.legs_back().into_iter().flat_map(lines).collect();
        match &mut self {
            Self::Operation(of) => (of.status, of.reversed_by) = (OperationStatus::Reversed, Some(by)),
            Self::Transfer(of) => (of.status, of.reversed_by) = (TransferStatus::Reversed, Some(by)),
        }
        (self.change(), lines)
    }
}

fn back(of: &Leg) -> Leg {
    Leg { from: of.to.clone(), to: of.from.clone(), ..of.clone() }
}

fn leg(from: AccountId, to: AccountId, amount: Money) -> Leg {
    Leg { from, to, amount, reference: String::new() }
}

fn world(amount: Money) -> AccountId {
    AccountId::system("world", amount.currency)
}
