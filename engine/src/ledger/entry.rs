//! One journal entry: the request, what was decided, and the lines it moved.
//!
//! It is the audit log, the event feed and the statement. An entry never changes; its lsn and time come from the
//! commit block that carries it ([`Committed`]).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    account::Account,
    failure::Failure,
    payment::Payment,
    request::{Notes, Request},
    reservation::Reservation,
    time::Timestamp,
};
use crate::money::{Lsn, OpId, Posting, TenantId, TxId};

/// What one command did. The request and the outcome are of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Whose.
    pub tenant: TenantId,
    /// What the command made; also the id of its holds.
    pub op: OpId,
    /// The client's key.
    pub tx_id: TxId,
    /// What was asked, normalised.
    pub request: Request,
    /// What came with it.
    pub notes: Notes,
    /// What was decided.
    pub outcome: Outcome,
    /// What moved; the posted lines sum to zero per currency.
    pub postings: Vec<Posting>,
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// A payment, as it is afterwards.
    Payment(Payment),
    /// A deposit or withdrawal.
    Transfer {
        /// Why it was declined, if it was.
        failure: Option<Failure>,
    },
    /// A reservation, as it is afterwards.
    Reservation {
        /// The reservation.
        reservation: Reservation,
        /// Why the command was declined, if it was.
        failure: Option<Failure>,
    },
    /// An account, opened or changed. Its counters are those the account's actor knew when it decided.
    Account {
        /// The account.
        account: Account,
        /// Whether it is the owner's default from now on.
        default: DefaultMark,
        /// Why the command was declined, if it was.
        failure: Option<Failure>,
    },
    /// A set of rates: all of them took effect, or none.
    Rates {
        /// Why it was declined, if it was.
        failure: Option<Failure>,
    },
}

/// Whether an account entry makes its account the owner's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DefaultMark {
    /// It does.
    Default,
    /// It leaves the default as it is.
    Unchanged,
}

impl Entry {
    /// Why the command was declined, if it was.
    pub fn failure(&self) -> Option<&Failure> {
        match &self.outcome {
            Outcome::Payment(payment) => payment.failure.as_ref(),
            Outcome::Transfer { failure }
            | Outcome::Reservation { failure, .. }
            | Outcome::Account { failure, .. }
            | Outcome::Rates { failure } => failure.as_ref(),
        }
    }

    /// The payment, if this entry is about one.
    pub fn payment(&self) -> Option<&Payment> {
        match &self.outcome {
            Outcome::Payment(payment) => Some(payment),
            Outcome::Transfer { .. }
            | Outcome::Reservation { .. }
            | Outcome::Account { .. }
            | Outcome::Rates { .. } => None,
        }
    }

    /// The id under which the object this entry left behind is found: the payment's, or the reservation's.
    pub fn object(&self) -> Option<OpId> {
        match &self.outcome {
            Outcome::Payment(payment) => Some(payment.id),
            Outcome::Reservation { reservation, .. } => Some(reservation.id),
            Outcome::Transfer { .. } | Outcome::Account { .. } | Outcome::Rates { .. } => None,
        }
    }
}

/// An entry with its place in the journal.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The entry.
    pub entry: Arc<Entry>,
    /// Its position.
    pub lsn: Lsn,
    /// Its block's time.
    pub at: Timestamp,
}
