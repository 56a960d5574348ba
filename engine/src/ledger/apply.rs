//! What a durable entry does: to an account, to an owner, to the rates. The one place for each.
//!
//! The actors, the index builder, recovery and `arus verify` all call it.

use smallvec::{SmallVec, smallvec};

use super::{
    account::{Account, FoldError},
    commands::Request,
    decision::Change,
    entry::Entry,
    owner::Owner,
    payment::PaymentStatus,
    rates::{PairRow, RateBook},
    time::Timestamp,
    transfer::TransferStatus,
};
use crate::{
    money::{AccountId, Lsn, OwnerId},
    planted::{Bug, is_planted},
};

/// Applies all that a durable entry does to an account. An entry at or below `applied_lsn` changes nothing, so running a
/// stretch of the journal twice is running it once.
pub fn to_account(account: &mut Account, entry: &Entry, lsn: Lsn) -> Result<(), FoldError> {
    if lsn <= account.applied_lsn && !is_planted(Bug::ApplyTwice) {
        return Ok(());
    }
    if let Some((changed, _)) = entry.decision.changed_account()
        && changed.id == account.id
    {
        // The settings, not the counters: those are as old as the decision.
        account.status = changed.status;
        account.overdraft_limit = changed.overdraft_limit;
        account.minimum_balance = changed.minimum_balance;
        account.daily_debit_limit = changed.daily_debit_limit;
        account.applied_lsn = lsn;
    }
    if let Some((named, by, naming)) = naming(entry)
        && named.contains(&&account.id)
    {
        let count = match by {
            By::Payment => &mut account.named_by.payments,
            By::Reservation => &mut account.named_by.reservations,
            By::Transfer => &mut account.named_by.transfers,
        };
        *count = match naming {
            Naming::Begins => count.saturating_add(1),
            Naming::Ends => count.saturating_sub(1),
        };
        account.applied_lsn = lsn;
    }
    for posting in entry.postings() {
        if posting.account == account.id {
            account.post(posting, lsn)?;
            account.applied_lsn = lsn;
        }
    }
    Ok(())
}

/// What an entry does to the accounts that are named by what is set aside, on either side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// Something is set aside from one for the other.
    Begins,
    /// Nothing is any more.
    Ends,
}

/// What names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// An authorised payment.
    Payment,
    /// An active reservation.
    Reservation,
    /// A held transfer.
    Transfer,
}

/// Whom what is set aside names: payer and payees, each once.
type Named<'a> = SmallVec<[&'a AccountId; 2]>;

/// Whom what an entry sets aside or ends names, if it does.
pub fn naming(entry: &Entry) -> Option<(Named<'_>, By, Naming)> {
    if entry.failure().is_some() {
        return None;
    }
    let of_payment = |wanted: fn(PaymentStatus) -> bool, naming| {
        let payment = entry.payment().filter(|payment| wanted(payment.status))?;
        let mut named: Named<'_> = smallvec![&payment.payer];
        payment.payees().for_each(|payee| {
            if !named.contains(&payee) {
                named.push(payee);
            }
        });
        Some((named, By::Payment, naming))
    };
    let of_reservation = |is_active: bool, naming| {
        let reservation = entry.decision.reservation().filter(|reservation| reservation.is_active() == is_active)?;
        let named = std::iter::once(&reservation.account).chain(&reservation.destination).collect();
        Some((named, By::Reservation, naming))
    };
    let of_transfer = |is_held: bool, naming| {
        let transfer = entry.decision.transfer()?;
        ((transfer.status == TransferStatus::Held) == is_held).then(|| (transfer.accounts(), By::Transfer, naming))
    };
    match &entry.request {
        Request::CreatePayment(_) => of_payment(|status| status == PaymentStatus::Authorized, Naming::Begins),
        Request::Reserve(_) => of_reservation(true, Naming::Begins),
        Request::CapturePayment(_) | Request::VoidPayment(_) => {
            of_payment(|status| status != PaymentStatus::Authorized, Naming::Ends)
        }
        Request::Capture(_) | Request::Release(_) => of_reservation(false, Naming::Ends),
        Request::CreateTransfer(_) => of_transfer(true, Naming::Begins),
        Request::PostTransfer(_) | Request::VoidTransfer(_) => of_transfer(false, Naming::Ends),
        Request::Expire(_) => of_reservation(false, Naming::Ends)
            .or_else(|| of_transfer(false, Naming::Ends))
            .or_else(|| of_payment(|status| status != PaymentStatus::Authorized, Naming::Ends)),
        Request::OpenAccount(_)
        | Request::UpdateAccount(_)
        | Request::Deposit(_)
        | Request::Withdraw(_)
        | Request::PublishRates(_)
        | Request::RemoveRates(_)
        | Request::RefundPayment(_)
        | Request::ReverseOperation(_)
        | Request::UpdatePayment(_) => None,
    }
}

/// The same to an account that the entry may create.
pub fn fold(state: &mut Option<Account>, id: &AccountId, entry: &Entry, lsn: Lsn) -> Result<(), FoldError> {
    if state.is_none() {
        let opened = entry.decision.changed_account().filter(|(account, _)| account.id == *id);
        *state = opened.map(|(account, _)| account.clone()).or_else(|| {
            let line = entry.postings().iter().find(|posting| posting.account == *id)?;
            Some(Account::system(id.clone(), line.amount.currency))
        });
        if let Some(account) = state {
            account.opened_lsn = lsn;
        }
    }
    state.as_mut().map_or(Ok(()), |account| to_account(account, entry, lsn))
}

/// Applies an entry about one of `id`'s accounts; others change nothing.
pub fn to_owner(owner: &mut Owner, id: &OwnerId, entry: &Entry, lsn: Lsn) {
    if let Some((account, default)) = entry.decision.changed_account()
        && account.owner == *id
    {
        owner.take(account, default, lsn);
    }
}

/// Whether an entry changes rates.
pub fn changes_rates(entry: &Entry) -> bool {
    entry.failure().is_none() && entry.decision.changes.contains(&Change::Rates)
}

/// Takes in what an entry does to the rates; says which rows changed.
pub fn to_rates(book: &mut RateBook, entry: &Entry, committed_at: Timestamp) -> Vec<PairRow> {
    if !changes_rates(entry) {
        return Vec::new();
    }
    let mut rows = entry.request.body().rate_rows(entry.op, committed_at);
    if is_planted(Bug::RateSetTorn) {
        rows.truncate(1);
    }
    book.take_all(rows, Timestamp::of_id(entry.op))
}
