//! The lines of money that goes from one account to another, in one currency or through the desk.

use crate::money::{AccountId, Currency, Money, Posting, PostingKind};

/// The lines of what leaves one account and what reaches another; the desk takes what comes in and gives what goes out.
/// What is zero makes no line. `held_on` is the UTC day of the desk's own lines.
pub fn moved(from: Posting, to: Posting, held_on: u32) -> Vec<Posting> {
    let (out, into) = (from.amount, to.amount);
    let mut lines = Vec::with_capacity(if out.currency == into.currency { 2 } else { 4 });
    lines.push(from);
    if out.currency != into.currency {
        lines.push(desk(out, PostingKind::Credit));
        lines.push(desk(into, PostingKind::Debit { held_on }));
    } else if out.minor != into.minor {
        let gain = out.minor.saturating_sub(into.minor);
        let kind = if gain > 0 { PostingKind::Credit } else { PostingKind::Debit { held_on } };
        lines.push(desk(Money::new(gain.saturating_abs(), out.currency), kind));
    }
    lines.push(to);
    lines.retain(|line| line.amount.minor != 0);
    lines
}

fn desk(amount: Money, kind: PostingKind) -> Posting {
    Posting::new(desk_of(amount.currency), kind, amount)
}

/// The desk's account in a currency.
pub fn desk_of(currency: Currency) -> AccountId {
    AccountId::system("fx", currency)
}
