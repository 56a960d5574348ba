//! One journal entry: what was asked, and what was decided.
//!
//! It is the audit log, the event feed and the statement. An entry never changes; its lsn and time come from the
//! commit block that carries it ([`Committed`]).

use std::sync::Arc;

use super::{
    commands::{CreatePayment, Request},
    decision::{Change, Decision},
    failure::Failure,
    notes::Notes,
    payment::Payment,
    time::Timestamp,
};
use crate::money::{Lsn, OpId, Posting, TenantId, TxId};

/// A command that was accepted and is not decided yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Whose.
    pub tenant: TenantId,
    /// The command's id: that of the object it makes, if it makes one; also the id of its holds.
    pub op: OpId,
    /// The client's key.
    pub tx_id: TxId,
    /// What was asked, normalised.
    pub request: Request,
    /// What came with it.
    pub notes: Notes,
}

/// What one command did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Whose.
    pub tenant: TenantId,
    /// The command's id.
    pub op: OpId,
    /// The client's key.
    pub tx_id: TxId,
    /// What was asked, normalised.
    pub request: Request,
    /// What came with it.
    pub notes: Notes,
    /// What was decided. Boxed as its flow made it: it is not copied on its way into the journal.
    pub decision: Box<Decision>,
}

impl Entry {
    /// What becomes of a command.
    pub fn new(order: Order, decision: Box<Decision>) -> Self {
        let Order { tenant, op, tx_id, request, notes } = order;
        Self { tenant, op, tx_id, request, notes, decision }
    }

    /// Why the command was declined, if it was.
    pub fn failure(&self) -> Option<&Failure> {
        self.decision.failure.as_ref()
    }

    /// What moved.
    pub fn postings(&self) -> &[Posting] {
        &self.decision.postings
    }

    /// The request for the payment that this entry made, if it made one: later ones are about it, too.
    pub fn made_payment(&self) -> Option<&CreatePayment> {
        if let Request::CreatePayment(request) = &self.request { Some(request) } else { None }
    }

    /// The payment, if this entry is about one.
    pub fn payment(&self) -> Option<&Payment> {
        self.decision.payment()
    }

    /// The id of what this entry is about: the payment's, or the reservation's.
    pub fn object(&self) -> Option<OpId> {
        self.objects().next()
    }

    /// The ids under which the objects this entry left behind are found.
    pub fn objects(&self) -> impl Iterator<Item = OpId> {
        self.decision.changes.iter().filter_map(Change::object)
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
