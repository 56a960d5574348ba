//! A command as it comes in, and the answer to it.

use std::{sync::Arc, time::Duration};

use crate::{
    ledger::{
        commands::{Expire, Request},
        entry::Committed,
        notes::Notes,
        time::Timestamp,
    },
    money::{OpId, TenantId, TxId},
    refusal::Refusal,
    trace::Trace,
};

/// A command as the gateway hands it over: well-formed, not yet judged.
#[derive(Debug, Clone)]
pub struct Command {
    /// Whose.
    pub tenant: TenantId,
    /// The client's key.
    pub tx_id: TxId,
    /// What is asked.
    pub request: Request,
    /// What comes with it.
    pub notes: Notes,
    /// How long the caller waits.
    pub timeout: Option<Duration>,
    /// Who follows it on its way.
    pub trace: Option<Arc<Trace>>,
    /// The batch or stream it came in: the one caller of all its items.
    pub bundle: Option<OpId>,
    /// What a limit of today says against it. A key that was decided before is replayed all the same: limits change.
    pub objection: Option<Box<Refusal>>,
}

impl Command {
    /// A command by itself, waited for as long as is usual.
    pub fn new(tenant: TenantId, tx_id: TxId, request: Request, notes: Notes) -> Self {
        Self { tenant, tx_id, request, notes, timeout: None, trace: None, bundle: None, objection: None }
    }

    /// The house's own: frees what an object set aside, whose time is over. Its key names object and due time, so that happens once.
    pub(crate) fn expire(tenant: TenantId, object: OpId, due: Timestamp) -> Option<Self> {
        let tx_id = TxId::parse_any(&format!("sys/expire/{object}/{due}")).ok()?;
        Some(Self::new(tenant, tx_id, Request::Expire(Expire { object }), Notes::default()))
    }
}

/// The answer to a command: its entry, the same for every caller of one key.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The entry with its place.
    pub committed: Committed,
    /// Whether it was decided for an earlier caller.
    pub replayed: bool,
}
