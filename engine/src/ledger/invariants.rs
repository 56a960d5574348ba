//! What must hold for every entry; checked before an entry is handed to the journal, and again by `arus verify`.

use std::collections::BTreeMap;

use super::entry::Entry;
use crate::money::{Currency, Money, POSTING_MINOR_MAX};

/// An entry that must never reach the journal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Posted lines of one currency do not cancel.
    #[error("postings do not sum to zero: {0} is left over")]
    NotZero(Money),
    /// A line of zero, below zero, or above the limit of one posting.
    #[error("posting amount {0} is outside 1 to 10^18 minor units")]
    Amount(Money),
    /// A declined command moved money.
    #[error("a declined command has postings")]
    DeclinedButMoved,
}

/// Zero sum per currency, amounts in range, and nothing moves for a declined command.
pub fn check(entry: &Entry) -> Result<(), EntryError> {
    if entry.failure().is_some() && !entry.postings().is_empty() {
        return Err(EntryError::DeclinedButMoved);
    }
    for posting in entry.postings() {
        if !(1..=POSTING_MINOR_MAX).contains(&posting.amount.minor) {
            return Err(EntryError::Amount(posting.amount));
        }
    }
    // The common entry has two lines of one currency; the general rule below costs a map.
    if let [a, b] = entry.postings()
        && a.amount.currency == b.amount.currency
        && a.signed_minor().checked_add(b.signed_minor()) == Some(0)
    {
        return Ok(());
    }
    let mut sums: BTreeMap<u16, (Currency, i128)> = BTreeMap::new();
    for posting in entry.postings() {
        let currency = posting.amount.currency;
        let (_, sum) = sums.entry(currency.numeric()).or_insert((currency, 0));
        *sum = sum.saturating_add(posting.signed_minor());
    }
    sums.values()
        .find(|(_, sum)| *sum != 0)
        .map_or(Ok(()), |(currency, sum)| Err(EntryError::NotZero(Money::new(*sum, *currency))))
}
