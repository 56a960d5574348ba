//! The lines of money that goes from accounts to others, in one currency or through the desk.

use smallvec::SmallVec;

use crate::money::{AccountId, Currency, Money, Posting, PostingKind};

/// The lines of what leaves some accounts and what reaches others; the desk takes what comes in and gives what goes out, per
/// currency. What is zero makes no line. `held_on` is the UTC day of the desk's own lines.
pub fn moved(from: Vec<Posting>, to: impl IntoIterator<Item = Posting>, held_on: u32) -> Vec<Posting> {
    let (mut lines, to) = (from, to.into_iter().collect::<SmallVec<[Posting; 2]>>());
    let mut gains: SmallVec<[(Currency, i128); 2]> = SmallVec::new();
    let out = lines.iter().map(|line| (line.amount, line.amount.minor));
    let into = to.iter().map(|line| (line.amount, line.amount.minor.saturating_neg()));
    for (amount, minor) in out.chain(into) {
        match gains.iter_mut().find(|(currency, _)| *currency == amount.currency) {
            Some((_, gain)) => *gain = gain.saturating_add(minor),
            None => gains.push((amount.currency, minor)),
        }
    }
    lines.extend(gains.into_iter().map(|(currency, gain)| {
        let kind = if gain > 0 { PostingKind::Credit } else { PostingKind::Debit { held_on } };
        Posting::new(desk_of(currency), kind, Money::new(gain.saturating_abs(), currency))
    }));
    lines.extend(to);
    lines.retain(|line| line.amount.minor != 0);
    lines
}

/// The desk's account in a currency.
pub fn desk_of(currency: Currency) -> AccountId {
    AccountId::system("fx", currency)
}

/// The account of the house's fees in a currency.
pub fn fees_of(currency: Currency) -> AccountId {
    AccountId::system("fees", currency)
}

/// What a step moves of one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartMove {
    /// To, or from, this account.
    pub account: AccountId,
    /// How much of the payment that is, in C.
    pub amount: Money,
    /// What moves, in the account's currency.
    pub moves: Money,
}

/// What a step moves: out of the payer's account and into the parts', or back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movement {
    /// Out of the payer's, or back into it.
    pub payer: Money,
    /// By part, in their order, the fee last; also those of which nothing moves.
    pub parts: SmallVec<[PartMove; 1]>,
}

/// Money by account.
pub type ByAccount = SmallVec<[(AccountId, Money); 1]>;

impl Movement {
    /// How much of the payment that is, in C.
    pub fn amount(&self, currency: Currency) -> Money {
        Money::new(self.parts.iter().fold(0, |sum, moved| sum.saturating_add(moved.amount.minor)), currency)
    }

    /// One line by part.
    pub(super) fn lines(&self, kind: PostingKind) -> impl Iterator<Item = Posting> {
        self.parts.iter().map(move |moved| Posting::new(moved.account.clone(), kind, moved.moves))
    }

    /// What moves on the accounts of clients, by account: each is asked once.
    pub fn by_account(&self) -> ByAccount {
        let mut all = ByAccount::new();
        let takes_part = |moved: &&PartMove| moved.amount.minor > 0 && !moved.account.is_system();
        for moved in self.parts.iter().filter(takes_part) {
            add(&mut all, &moved.account, moved.moves);
        }
        all
    }
}

/// Adds an amount to what there is for an account.
pub fn add(all: &mut ByAccount, account: &AccountId, amount: Money) {
    match all.iter_mut().find(|(known, _)| known == account) {
        Some((_, sum)) => *sum = more(*sum, amount.minor),
        None => all.push((account.clone(), amount)),
    }
}

/// An amount with so many minor units more.
pub(super) fn more(before: Money, minor: i128) -> Money {
    Money::new(before.minor.saturating_add(minor), before.currency)
}

/// What is left of an amount; where parts before were rounded the other way, nothing rather than less.
pub(super) fn less(amount: Money, before: Option<Money>) -> Money {
    let before = before.map_or(0, |before| before.minor);
    Money::new(amount.minor.saturating_sub(before).max(0), amount.currency)
}
