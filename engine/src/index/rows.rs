//! One account's history: a posting with the balance after it, or a payment that moved nothing of it.

use serde::{Deserialize, Serialize};

use crate::{
    ledger::{
        account::{Account, FoldError},
        apply::fold,
        entry::Committed,
        payment::{Payment, PaymentStatus},
    },
    money::{AccountId, Lsn, PostingKind},
};

/// One line, under (account, lsn, line). When it was, and all else, is in the entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryRow {
    /// The entry.
    pub lsn: Lsn,
    /// Which of the account's rows of that entry.
    pub line: u16,
    /// Whether the entry made a payment (P5: lists of payments read the same rows).
    pub payment: bool,
    /// What moved; `None` for a payment that was declined, or that was authorised to this account.
    pub moved: Option<Moved>,
}

/// What a posting did to its account, in minor units of the account's currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// What kind of line.
    pub kind: PostingKind,
    /// How much.
    pub amount_minor: i128,
    /// The posted balance afterwards.
    pub balance_minor: i128,
}

/// Applies `committed` to one account and returns the rows it adds. The one place that makes history: the index
/// builder and the statement's view of the tail both call it.
pub fn fold_with_history(
    state: &mut Option<Account>,
    id: &AccountId,
    committed: &Committed,
    rows: &mut Vec<HistoryRow>,
) -> Result<(), FoldError> {
    let entry = &committed.entry;
    if state.as_ref().is_some_and(|account| committed.lsn <= account.applied_lsn) {
        return Ok(());
    }
    let mut balance = state.as_ref().map_or(0, |account| account.balance().minor);
    fold(state, id, entry, committed.lsn)?;
    let made = entry.made_payment().and_then(|_| entry.payment());
    let mut line = 0;
    let mut push = |moved| {
        rows.push(HistoryRow { lsn: committed.lsn, line, payment: made.is_some(), moved });
        line += 1;
    };
    for posting in entry.postings().iter().filter(|posting| posting.account == *id) {
        balance += posting.signed_minor();
        push(Some(Moved { kind: posting.kind, amount_minor: posting.amount.minor, balance_minor: balance }));
    }
    let moves_nothing = |payment: &&Payment| {
        let is_set_aside = payment.status == PaymentStatus::Authorized;
        if is_set_aside {
            payment.payees().any(|payee| payee == id)
        } else {
            payment.payer == *id && entry.postings().is_empty()
        }
    };
    if made.filter(moves_nothing).is_some() {
        push(None);
    }
    Ok(())
}
