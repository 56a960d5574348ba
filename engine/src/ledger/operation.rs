//! What is read back by its id and moved money across the border of the house, or back: deposits, withdrawals, reversals.

use minicbor::{Decode, Encode};

use crate::money::{AccountId, Lsn, Money, OpId};

/// A deposit, a withdrawal or a reversal, as it is after an entry.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Operation {
    /// Its id: that of the command that made it.
    #[n(0)]
    pub id: OpId,
    /// What it does.
    #[n(1)]
    pub kind: OperationKind,
    /// Where it stands.
    #[n(2)]
    pub status: OperationStatus,
    /// The reversal that took it back, if one did.
    #[n(3)]
    pub reversed_by: Option<OpId>,
    /// The entry that made it; nothing in that entry itself.
    #[n(4)]
    pub made: Option<Lsn>,
}

/// What an operation does.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum OperationKind {
    /// Money came in from outside.
    #[n(0)]
    Deposit {
        /// To this account.
        #[n(0)]
        account: AccountId,
        /// So much.
        #[n(1)]
        amount: Money,
    },
    /// Money went out.
    #[n(1)]
    Withdrawal {
        /// From this account.
        #[n(0)]
        account: AccountId,
        /// So much.
        #[n(1)]
        amount: Money,
    },
    /// Another operation, or a transfer, was taken back.
    #[n(2)]
    Reversal {
        /// Which.
        #[n(0)]
        of: OpId,
    },
}

/// Where an operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum OperationStatus {
    /// Its money moved.
    #[n(0)]
    Completed,
    /// It was declined; nothing moved.
    #[n(1)]
    Failed,
    /// It was taken back.
    #[n(2)]
    Reversed,
}

impl Operation {
    /// One that is made now, and is declined unless its money moves.
    pub fn new(id: OpId, kind: OperationKind, is_declined: bool) -> Self {
        let status = if is_declined { OperationStatus::Failed } else { OperationStatus::Completed };
        Self { id, kind, status, reversed_by: None, made: None }
    }
}

impl OperationStatus {
    /// The status as errors and tools spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Completed => "COMPLETED",
            Self::Failed => "FAILED",
            Self::Reversed => "REVERSED",
        }
    }
}
