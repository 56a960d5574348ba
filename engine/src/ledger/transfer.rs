//! A transfer: a group of legs between any accounts, each in one currency, all or nothing (P12). Posted at once, or held and
//! later posted or voided as a whole.

use minicbor::{Decode, Encode};
use smallvec::SmallVec;

use super::{
    failure::{Failure, FailureCode},
    moves::more,
    time::Timestamp,
};
use crate::money::{AccountId, Lsn, Money, NO_DAY, OpId, Posting, PostingKind};

/// One leg.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Leg {
    /// Who gives.
    #[n(0)]
    pub from: AccountId,
    /// Who gets.
    #[n(1)]
    pub to: AccountId,
    /// How much, in the currency of both.
    #[n(2)]
    pub amount: Money,
    /// The client's own words. They do not count for "same body".
    #[n(3)]
    pub reference: String,
}

/// Where a transfer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum TransferStatus {
    /// Money moved.
    #[n(0)]
    Posted,
    /// Money is set aside for it.
    #[n(1)]
    Held,
    /// Given up by the client; nothing moved.
    #[n(2)]
    Voided,
    /// Its time was over; nothing moved.
    #[n(3)]
    Expired,
    /// Declined; nothing moved.
    #[n(4)]
    Failed,
    /// Posted, and taken back.
    #[n(5)]
    Reversed,
}

/// A transfer as it is after an entry.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Transfer {
    /// Its id.
    #[n(0)]
    pub id: OpId,
    /// Where it stands.
    #[n(1)]
    pub status: TransferStatus,
    /// What moves, in this order.
    #[n(2)]
    pub legs: Vec<Leg>,
    /// When what is held is freed, if it is held or was.
    #[n(3)]
    pub expires_at: Option<Timestamp>,
    /// What is set aside for it, by account.
    #[n(4)]
    pub aside: Vec<Aside>,
    /// The reversal that took it back, if one did.
    #[n(5)]
    pub reversed_by: Option<OpId>,
    /// The entry before this one that changed it: a declined one changes nothing.
    #[n(6)]
    pub changed: Option<Lsn>,
}

/// What a transfer sets aside on one account.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Aside {
    /// The account.
    #[n(0)]
    pub account: AccountId,
    /// How much.
    #[n(1)]
    pub amount: Money,
    /// The UTC day of the hold, whose daily limit its debits count against.
    #[n(2)]
    pub held_on: u32,
}

/// What a transfer asks of one account, however often its legs name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// What must be there: the most that has left before it comes in, over the legs in their order.
    pub need: Money,
    /// What leaves in all: what the daily limit counts. Nothing where money is given back, which it does not count.
    pub debits: Money,
    /// What comes in in all.
    pub credits: Money,
}

impl Demand {
    /// What leaves only after it came in by an earlier leg.
    fn passes(&self) -> Money {
        Money::new(self.debits.minor.saturating_sub(self.need.minor), self.debits.currency)
    }
}

/// Demands by account, in the order in which the legs name them.
pub type Demands = Vec<(AccountId, Demand)>;

/// What legs ask of each account.
pub fn demands(legs: &[Leg]) -> Demands {
    let mut demands = Demands::new();
    for leg in legs {
        ask(&mut demands, &leg.from, leg.amount, |of| {
            of.debits = more(of.debits, leg.amount.minor);
            of.need.minor = of.need.minor.max(of.debits.minor.saturating_sub(of.credits.minor));
        });
        ask(&mut demands, &leg.to, leg.amount, |of| of.credits = more(of.credits, leg.amount.minor));
    }
    demands
}

/// Asks an account for more.
fn ask(demands: &mut Demands, account: &AccountId, of: Money, more: impl FnOnce(&mut Demand)) {
    if let Some((_, demand)) = demands.iter_mut().find(|(known, _)| known == account) {
        return more(demand);
    }
    let [need, debits, credits] = [Money::zero(of.currency); 3];
    let mut demand = Demand { need, debits, credits };
    more(&mut demand);
    demands.push((account.clone(), demand));
}

impl TransferStatus {
    /// The status as the wire spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Posted => "POSTED",
            Self::Held => "HELD",
            Self::Voided => "VOIDED",
            Self::Expired => "EXPIRED",
            Self::Failed => "FAILED",
            Self::Reversed => "REVERSED",
        }
    }
}

/// Which of some legs an account's refusal is about.
pub fn refused_leg(legs: &[Leg], account: &AccountId, code: FailureCode) -> Option<usize> {
    let by_code: [(FailureCode, Option<usize>); 3] = [
        (FailureCode::InsufficientFunds, neediest_leg(legs, account)),
        (FailureCode::DailyLimitExceeded, legs.iter().rposition(|leg| leg.from == *account)),
        (FailureCode::AccountLimitExceeded, legs.iter().rposition(|leg| leg.to == *account)),
    ];
    let place = by_code.iter().find(|(of, _)| *of == code).and_then(|(_, place)| *place);
    place.or_else(|| legs.iter().position(|leg| leg.from == *account || leg.to == *account))
}

/// The leg that asks most of an account in all, counted from the first.
fn neediest_leg(legs: &[Leg], account: &AccountId) -> Option<usize> {
    let (mut given, mut most, mut place) = (0_i128, 0, None);
    for (n, leg) in legs.iter().enumerate() {
        given = given.saturating_add(if leg.from == *account { leg.amount.minor } else { 0 });
        if given > most {
            (most, place) = (given, Some(n));
        }
        given = given.saturating_sub(if leg.to == *account { leg.amount.minor } else { 0 });
    }
    place
}

/// A failure with the leg that it is about.
pub fn name_leg(leg: Option<usize>, failure: Failure) -> Failure {
    match leg {
        None => failure,
        Some(n) => Failure::new(failure.code, format!("legs[{n}]: {}", failure.message)),
    }
}

/// The next state, with the lines that lead there.
pub type Step = (Transfer, Vec<Posting>);

impl Transfer {
    /// All accounts it names, each once.
    pub fn accounts(&self) -> SmallVec<[&AccountId; 2]> {
        let mut accounts: SmallVec<[&AccountId; 2]> = SmallVec::new();
        for account in self.legs.iter().flat_map(|leg| [&leg.from, &leg.to]) {
            if !accounts.contains(&account) {
                accounts.push(account);
            }
        }
        accounts
    }

    /// Moves the money at once; each account said for which UTC day its debits count.
    pub fn posted_at_once(self, days: &[(AccountId, u32)]) -> Step {
        let day = |account: &AccountId| days.iter().find(|(known, _)| known == account).map_or(0, |(_, day)| *day);
        let debit = |leg: &Leg| PostingKind::Debit { held_on: day(&leg.from) };
        let lines = self.legs.iter().flat_map(|leg| lines(leg, [(debit(leg), leg.amount.minor), NOTHING])).collect();
        (Self { status: TransferStatus::Posted, ..self }, lines)
    }

    /// Sets aside what each account needs. The daily limit counts what leaves in all, also what comes in by an earlier leg.
    pub fn held(self, days: &[(AccountId, u32)]) -> Step {
        let (mut lines, mut aside) = (Vec::new(), Vec::new());
        for ((account, demand), (_, held_on)) in demands(&self.legs).into_iter().zip(days) {
            let held_on = *held_on;
            if demand.debits.minor == 0 {
                continue;
            }
            lines.push(Posting::new(account.clone(), PostingKind::Authorize { held_on }, demand.debits));
            let passes = demand.passes();
            if passes.minor > 0 {
                lines.push(Posting::new(account.clone(), PostingKind::Void { held_on: NO_DAY }, passes));
            }
            aside.push(Aside { account, amount: demand.need, held_on });
        }
        (Self { status: TransferStatus::Held, aside, ..self }, lines)
    }

    /// Moves what was held.
    pub fn post(&self) -> Result<Step, Failure> {
        self.check_held()?;
        let mut left: Vec<(&AccountId, i128)> = self.aside.iter().map(|of| (&of.account, of.amount.minor)).collect();
        let mut all = Vec::new();
        for leg in &self.legs {
            let aside = left.iter_mut().find(|(account, _)| **account == leg.from);
            let settled = aside.map_or(0, |(_, left)| {
                let settled = leg.amount.minor.min(*left);
                *left = left.saturating_sub(settled);
                settled
            });
            let passes = leg.amount.minor.saturating_sub(settled);
            all.extend(lines(leg, [(PostingKind::Settle, settled), (PostingKind::Return, passes)]));
        }
        Ok((Self { status: TransferStatus::Posted, aside: Vec::new(), ..self.clone() }, all))
    }

    /// Frees what was held: `status` says by whom.
    pub fn end(&self, status: TransferStatus) -> Result<Step, Failure> {
        self.check_held()?;
        // The lines of the hold the other way: its day gets back all that it counted.
        let mut lines = Vec::new();
        for (account, demand) in demands(&self.legs) {
            let Some(aside) = self.aside.iter().find(|aside| aside.account == account) else { continue };
            let passes = demand.passes();
            if passes.minor > 0 {
                lines.push(Posting::new(account.clone(), PostingKind::Authorize { held_on: NO_DAY }, passes));
            }
            lines.push(Posting::new(account, PostingKind::Void { held_on: aside.held_on }, demand.debits));
        }
        Ok((Self { status, aside: Vec::new(), ..self.clone() }, lines))
    }

    /// The leg that a line belongs to: the `line`th of an account among the postings that moved the transfer.
    pub fn leg_of(&self, postings: &[Posting], account: &AccountId, line: usize) -> Option<&Leg> {
        let (place, _) = postings.iter().enumerate().filter(|(_, posting)| posting.account == *account).nth(line)?;
        let ended = postings.iter().take(place).filter(|posting| posting.kind == PostingKind::Credit).count();
        self.legs.get(ended).filter(|_| self.status == TransferStatus::Posted)
    }

    /// Declined: which leg an account's refusal is about, in words.
    pub fn refusal(&self, account: &AccountId, failure: Failure) -> Failure {
        name_leg(refused_leg(&self.legs, account, failure.code), failure)
    }

    fn check_held(&self) -> Result<(), Failure> {
        if self.status == TransferStatus::Held {
            return Ok(());
        }
        let message =
            format!("transfer {} is {}; only one that is HELD is posted or voided", self.id, self.status.name());
        Err(Failure::new(FailureCode::TransferNotHeld, message))
    }
}

const NOTHING: (PostingKind, i128) = (PostingKind::Return, 0);

/// The lines of one leg: what leaves, in up to two ways, and what comes in.
fn lines(leg: &Leg, out: [(PostingKind, i128); 2]) -> impl Iterator<Item = Posting> {
    let currency = leg.amount.currency;
    let out = out.into_iter().filter(|(_, minor)| *minor > 0);
    let out = out.map(move |(kind, minor)| Posting::new(leg.from.clone(), kind, Money::new(minor, currency)));
    out.chain([Posting::new(leg.to.clone(), PostingKind::Credit, leg.amount)])
}
