//! What may become of a transfer: each account's lines by running through the legs.

use std::collections::BTreeMap;

use arus_engine::{
    ledger::{
        commands::Request,
        entry::{Committed, Entry},
        time::Timestamp,
        transfer::{Leg, Transfer},
    },
    money::{AccountId, Money, OpId},
};

use super::{Model, Wrong, must, payments::Line};

/// A transfer after an entry.
#[derive(Debug, Clone)]
pub(super) struct Moved {
    pub(super) legs: Vec<Leg>,
    status: &'static str,
    pub(super) expires_at: Option<Timestamp>,
}

/// What one account gives in all, and how much of that it must have itself.
fn gives(legs: &[Leg]) -> BTreeMap<AccountId, (Money, i128)> {
    let mut balances: BTreeMap<&AccountId, i128> = BTreeMap::new();
    let mut gives: BTreeMap<AccountId, (Money, i128)> = BTreeMap::new();
    for leg in legs {
        let balance = balances.entry(&leg.from).or_default();
        *balance -= leg.amount.minor;
        let given = gives.entry(leg.from.clone()).or_insert((Money::zero(leg.amount.currency), 0));
        given.0.minor += leg.amount.minor;
        given.1 = given.1.max(-*balance);
        *balances.entry(&leg.to).or_default() += leg.amount.minor;
    }
    gives
}

/// Whether all that a transfer, or its reversal, takes of an account came in by it before.
pub(super) fn passes_through(entry: &Entry, account: &AccountId) -> bool {
    let Some(transfer) = entry.decision.transfer() else { return false };
    let back = |leg: &Leg| Leg { from: leg.to.clone(), to: leg.from.clone(), ..leg.clone() };
    let legs = match &entry.request {
        Request::ReverseOperation(_) => transfer.legs.iter().rev().map(back).collect(),
        _ => transfer.legs.clone(),
    };
    gives(&legs).get(account).is_some_and(|(_, own)| *own == 0)
}

impl Moved {
    pub(super) fn is_held(&self) -> bool {
        self.is("HELD")
    }

    pub(super) fn is(&self, status: &str) -> bool {
        self.status == status
    }

    /// The other way: who got gives.
    fn back(&self) -> Vec<Line> {
        let back = |leg: &Leg| [(leg.to.clone(), "return", leg.amount), (leg.from.clone(), "credit", leg.amount)];
        self.legs.iter().flat_map(back).collect()
    }

    pub(super) fn names(&self) -> Vec<AccountId> {
        let mut names: Vec<_> = self.legs.iter().flat_map(|leg| [leg.from.clone(), leg.to.clone()]).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// What sets money aside: all that leaves counts, and what comes in before is freed again.
    fn held(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        for (account, (all, own)) in gives(&self.legs) {
            lines.push((account.clone(), "authorization", all));
            lines.push((account, "release", Money::new(all.minor - own, all.currency)));
        }
        lines
    }

    fn posted(&self) -> Vec<Line> {
        let mut aside: BTreeMap<AccountId, i128> =
            gives(&self.legs).into_iter().map(|(account, (_, own))| (account, own)).collect();
        let mut lines = Vec::new();
        for leg in &self.legs {
            let left = aside.get_mut(&leg.from).expect("it gives");
            let own = leg.amount.minor.min(*left);
            *left -= own;
            let money = |minor| Money::new(minor, leg.amount.currency);
            lines.push((leg.from.clone(), "settlement", money(own)));
            lines.push((leg.from.clone(), "return", money(leg.amount.minor - own)));
            lines.push((leg.to.clone(), "credit", leg.amount));
        }
        lines
    }

    /// The same the other way.
    fn freed(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        for (account, (all, own)) in gives(&self.legs) {
            lines.push((account.clone(), "authorization", Money::new(all.minor - own, all.currency)));
            lines.push((account, "release", all));
        }
        lines
    }

    fn check(&self, transfer: &Transfer) -> Result<(), Wrong> {
        must!(transfer.status.name() == self.status, "it is {:?}, it should be {}", transfer.status, self.status);
        must!(transfer.legs == self.legs, "its legs became others");
        Ok(())
    }
}

impl Model {
    pub(super) fn transfer(&self, id: OpId) -> Result<&Moved, Wrong> {
        self.transfers.get(&id).ok_or(format!("there is no transfer {id}"))
    }

    /// All transfers that were accepted.
    pub fn transfers(&self) -> Vec<OpId> {
        self.transfers.keys().copied().collect()
    }

    /// What a transfer, or a step of one, should move, and what it is from then on.
    pub(super) fn transferred(&self, committed: &Committed) -> Result<(OpId, Moved, Vec<Line>), Wrong> {
        let entry: &Entry = &committed.entry;
        let after = entry.decision.transfer().ok_or("no transfer")?;
        let held = |id: OpId| -> Result<Moved, Wrong> {
            let moved = self.transfer(id)?.clone();
            must!(id == after.id && moved.is_held(), "transfer {id} is {}", moved.status);
            Ok(moved)
        };
        let (moved, mut lines) = match &entry.request {
            Request::CreateTransfer(create) => {
                let legs = create.legs.clone();
                let status = if create.hold.is_some() { "HELD" } else { "POSTED" };
                let moved = Moved { legs, status, expires_at: after.expires_at };
                let at_once =
                    |leg: &Leg| [(leg.from.clone(), "debit", leg.amount), (leg.to.clone(), "credit", leg.amount)];
                let lines = if moved.is_held() { moved.held() } else { moved.legs.iter().flat_map(at_once).collect() };
                (moved, lines)
            }
            Request::PostTransfer(post) => {
                let moved = held(post.transfer)?;
                let lines = moved.posted();
                (Moved { status: "POSTED", ..moved }, lines)
            }
            Request::VoidTransfer(void) => {
                let moved = held(void.transfer)?;
                let lines = moved.freed();
                (Moved { status: "VOIDED", ..moved }, lines)
            }
            Request::ReverseOperation(reverse) => {
                let moved = self.transfer(reverse.operation)?.clone();
                must!(reverse.operation == after.id && moved.is("POSTED"), "transfer {} is {}", after.id, moved.status);
                must!(after.reversed_by == Some(entry.op), "transfer {} does not say what reversed it", after.id);
                let lines = moved.back();
                (Moved { status: "REVERSED", ..moved }, lines)
            }
            Request::Expire(expire) => {
                let moved = held(expire.object)?;
                let due = moved.expires_at.ok_or("it has no end")?;
                must!(due <= self.latest.max(committed.at), "a transfer expired that ends at {}", due.0);
                let lines = moved.freed();
                (Moved { status: "EXPIRED", ..moved }, lines)
            }
            _ => return Err("another command changed a transfer".into()),
        };
        lines.retain(|line| line.2.minor > 0);
        moved.check(after)?;
        Ok((after.id, moved, lines))
    }
}
