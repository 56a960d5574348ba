//! What a command comes to: why it was declined, if it was; the objects it leaves behind; the lines that move money.

use smallvec::{SmallVec, smallvec};

use super::{
    account::Account,
    failure::Failure,
    operation::Operation,
    payment::{Payment, PaymentStatus},
    refund::Refund,
    reservation::Reservation,
    settings::DefaultMark,
    time::Timestamp,
    transfer::{Transfer, TransferStatus},
};
use crate::money::{AccountId, OpId, Posting};

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// Why the command was declined, if it was. Then nothing moves, and no account and no rate changes.
    pub failure: Option<Failure>,
    /// The objects as they are afterwards.
    pub changes: SmallVec<[Change; 1]>,
    /// What moves; the posted lines sum to zero per currency.
    pub postings: Vec<Posting>,
}

/// One object as it is after the command, also where that was declined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A payment.
    Payment(Payment),
    /// A reservation.
    Reservation(Reservation),
    /// A refund.
    Refund(Box<Refund>),
    /// A transfer.
    Transfer(Box<Transfer>),
    /// A deposit, a withdrawal or a reversal.
    Operation(Box<Operation>),
    /// An account, opened or with other settings. Its counters are those its actor knew when it decided.
    Account {
        /// The account.
        account: Account,
        /// Whether it is the owner's default from now on.
        default: DefaultMark,
    },
    /// The rates take effect that the request names.
    Rates,
}

/// When an object's time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timer<'a> {
    /// When.
    pub due: Timestamp,
    /// Whose.
    pub object: OpId,
    /// The account whose money is freed then; nothing once it ended.
    pub frees: Option<&'a AccountId>,
}

impl Change {
    /// The id under which the object is found.
    pub fn object(&self) -> Option<OpId> {
        match self {
            Self::Payment(payment) => Some(payment.id),
            Self::Reservation(reservation) => Some(reservation.id),
            Self::Refund(refund) => Some(refund.id),
            Self::Transfer(transfer) => Some(transfer.id),
            Self::Operation(operation) => Some(operation.id),
            Self::Account { .. } | Self::Rates => None,
        }
    }
}

impl Decision {
    /// One object changes, and money moves.
    pub fn of(change: Change, postings: Vec<Posting>) -> Self {
        Self { failure: None, changes: smallvec![change], postings }
    }

    /// Declined; nothing is left behind.
    pub fn declined(failure: Failure) -> Self {
        Self { failure: Some(failure), ..Self::default() }
    }

    /// Declined, with what is shown of the object all the same.
    pub fn declined_with(failure: Failure, change: Change) -> Self {
        Self { failure: Some(failure), changes: smallvec![change], postings: Vec::new() }
    }

    /// The payment it is about.
    pub fn payment(&self) -> Option<&Payment> {
        self.changes.iter().find_map(|change| if let Change::Payment(payment) = change { Some(payment) } else { None })
    }

    /// The reservation it is about.
    pub fn reservation(&self) -> Option<&Reservation> {
        self.changes
            .iter()
            .find_map(|change| if let Change::Reservation(reservation) = change { Some(reservation) } else { None })
    }

    /// The transfer it is about.
    pub fn transfer(&self) -> Option<&Transfer> {
        self.changes
            .iter()
            .find_map(|change| if let Change::Transfer(transfer) = change { Some(&**transfer) } else { None })
    }

    /// The deposit, withdrawal or reversal of this id.
    pub fn operation(&self, id: OpId) -> Option<&Operation> {
        let mut operations = self
            .changes
            .iter()
            .filter_map(|change| if let Change::Operation(operation) = change { Some(&**operation) } else { None });
        operations.find(|operation| operation.id == id)
    }

    /// The refund it made, or was to.
    pub fn refund(&self) -> Option<&Refund> {
        self.changes.iter().find_map(|change| if let Change::Refund(refund) = change { Some(&**refund) } else { None })
    }

    /// The timer it sets, or ends.
    pub fn timer(&self) -> Option<Timer<'_>> {
        if self.failure.is_some() {
            return None;
        }
        self.changes.iter().find_map(|change| match change {
            Change::Reservation(reservation) => Some(Timer {
                due: reservation.expires_at,
                object: reservation.id,
                frees: reservation.is_active().then_some(&reservation.account),
            }),
            Change::Payment(payment) => Some(Timer {
                due: payment.life.as_ref()?.authorization.as_ref()?.expires_at,
                object: payment.id,
                frees: (payment.status == PaymentStatus::Authorized).then_some(&payment.payer),
            }),
            Change::Transfer(transfer) => Some(Timer {
                due: transfer.expires_at?,
                object: transfer.id,
                frees: transfer.legs.first().map(|leg| &leg.from).filter(|_| transfer.status == TransferStatus::Held),
            }),
            Change::Refund(_) | Change::Operation(_) | Change::Account { .. } | Change::Rates => None,
        })
    }

    /// The account it opened or set, or was to.
    pub fn account(&self) -> Option<(&Account, DefaultMark)> {
        self.changes.iter().find_map(|change| {
            if let Change::Account { account, default } = change { Some((account, *default)) } else { None }
        })
    }

    /// The account whose settings it changed.
    pub fn changed_account(&self) -> Option<(&Account, DefaultMark)> {
        if self.failure.is_none() { self.account() } else { None }
    }
}
