//! An object as the next entry about it finds it, out of its latest entry.

use super::{
    commands::CreatePayment,
    decision::Change,
    entry::Committed,
    life::{Before, Life, Origin},
    payment::{Payment, PaymentStatus},
};
use crate::money::{Lsn, Money, OpId};

/// The object of an id; nothing if the entry is about others.
pub fn found(committed: &Committed, id: OpId) -> Option<Change> {
    let change = committed.entry.decision.changes.iter().find(|change| change.object() == Some(id))?;
    if let Change::Payment(payment) = change {
        return spelled_out(payment, committed).map(Change::Payment);
    }
    let mut change = change.clone();
    let is_declined = committed.entry.failure().is_some();
    let changed = |before: Option<Lsn>| if is_declined { before } else { Some(committed.lsn) };
    match &mut change {
        Change::Operation(operation) => operation.made = operation.made.or(Some(committed.lsn)),
        Change::Transfer(transfer) => transfer.changed = changed(transfer.changed),
        Change::Reservation(reservation) => reservation.changed = changed(reservation.changed),
        Change::Payment(_) | Change::Refund(_) | Change::Account { .. } | Change::Rates => {}
    }
    Some(change)
}

/// A payment with all of its life, and where it comes from.
fn spelled_out(payment: &Payment, committed: &Committed) -> Option<Payment> {
    let made = committed.entry.made_payment();
    let mut life = match &payment.life {
        Some(life) => life.clone(),
        None => Box::new(at_once(payment, made?)),
    };
    let Committed { lsn: previous, at, .. } = *committed;
    life.before = Some(match life.before.take() {
        Some(before) if committed.entry.failure().is_some() => Before { previous, ..before },
        Some(before) => Before { origin: before.origin, previous, changed: previous, changed_at: at },
        None => Before { origin: origin(committed, made?), previous, changed: previous, changed_at: at },
    });
    life.step = None;
    Some(Payment { life: Some(life), ..payment.clone() })
}

/// The life of a payment that was decided as it was made.
pub fn at_once(payment: &Payment, made: &CreatePayment) -> Life {
    let is_captured = payment.status == PaymentStatus::Captured;
    let captured = if is_captured { made.amount } else { Money::zero(made.amount.currency) };
    Life::begin(made.amount, captured, None)
}

fn origin(committed: &Committed, made: &CreatePayment) -> Origin {
    let Committed { entry, lsn, at } = committed;
    let (customer, tx_id) = (made.customer.clone(), entry.tx_id.clone());
    Origin { customer, tx_id, lsn: *lsn, at: *at, notes: entry.notes.clone(), failure: entry.failure().cloned() }
}
