//! What is set aside, by payments, reservations and transfers: what `arus verify` holds the accounts against.

use std::collections::{HashMap, HashSet};

use arus_engine::{
    index::AccountKey,
    journal::Block,
    ledger::{
        account::Account,
        decision::Change,
        life::Life,
        operation::OperationKind,
        parts::Part,
        payment::{Payment, PaymentStatus},
    },
    money::{OpId, TenantId},
};

/// See the module.
#[derive(Default)]
pub(crate) struct Holds {
    /// Of everything that is open: whose money, and how much of it in minor units.
    open: HashMap<(TenantId, OpId), Vec<(AccountKey, i128)>>,
    /// What was taken back.
    reversed: HashSet<(TenantId, OpId)>,
    payments: u64,
}

impl Holds {
    /// Takes a block in. Of a payment never more is given back than captured, nor captured than authorised.
    pub(crate) fn take(&mut self, block: &Block) -> Result<(), String> {
        for committed in block.committed().filter(|committed| committed.entry.failure().is_none()) {
            let (tenant, lsn) = (committed.entry.tenant, committed.lsn);
            for change in &committed.entry.decision.changes {
                let (id, aside) = match change {
                    Change::Payment(payment) => {
                        let Some(life) = &payment.life else { continue };
                        let sums = [life.refunded.minor, life.captured.minor, life.amount.minor];
                        if !sums.is_sorted() || life.refunded.minor < 0 {
                            return Err(format!(
                                "lsn {lsn}: payment {}: refunded {}, captured {}, authorised {}",
                                payment.id, life.refunded, life.captured, life.amount
                            ));
                        }
                        check_parts(payment, life)
                            .map_err(|why| format!("lsn {lsn}: payment {}: {why}", payment.id))?;
                        self.payments += 1;
                        let is_open = payment.status == PaymentStatus::Authorized;
                        let left = life.authorization.as_ref().map_or(0, |authorization| authorization.left.minor);
                        (payment.id, vec![(&payment.payer, if is_open { left } else { 0 })])
                    }
                    Change::Reservation(reservation) => {
                        (reservation.id, vec![(&reservation.account, reservation.remaining.minor)])
                    }
                    Change::Transfer(transfer) => {
                        let aside = transfer.aside.iter().map(|of| (&of.account, of.amount.minor));
                        (transfer.id, aside.collect())
                    }
                    Change::Operation(operation) => {
                        self.note_reversal(tenant, &operation.kind).map_err(|why| format!("lsn {lsn}: {why}"))?;
                        continue;
                    }
                    Change::Refund(_) | Change::Account { .. } | Change::Rates => continue,
                };
                let aside = aside.into_iter().filter(|(_, left)| *left > 0);
                let aside: Vec<_> = aside.map(|(account, left)| ((tenant, account.clone()), left)).collect();
                if aside.is_empty() {
                    self.open.remove(&(tenant, id));
                } else {
                    self.open.insert((tenant, id), aside);
                }
            }
        }
        Ok(())
    }

    /// Nothing is taken back twice.
    fn note_reversal(&mut self, tenant: TenantId, kind: &OperationKind) -> Result<(), String> {
        match kind {
            OperationKind::Reversal { of } if !self.reversed.insert((tenant, *of)) => {
                Err(format!("operation {of} was reversed before"))
            }
            OperationKind::Reversal { .. } | OperationKind::Deposit { .. } | OperationKind::Withdrawal { .. } => Ok(()),
        }
    }

    /// What is set aside on each account is what its payments, reservations and transfers set aside.
    pub(crate) fn outcome(&self, accounts: &HashMap<AccountKey, Account>) -> Result<String, String> {
        let mut sums: HashMap<&AccountKey, i128> = HashMap::new();
        for (account, left) in self.open.values().flatten() {
            *sums.entry(account).or_default() += left;
        }
        for (key, account) in accounts {
            let sum = sums.get(key).copied().unwrap_or_default();
            if account.authorized != sum {
                return Err(format!(
                    "account {} has {} minor units set aside, its payments, reservations and transfers {sum}",
                    account.id, account.authorized
                ));
            }
        }
        Ok(format!("{} open, each on its account; sums hold in {} entries of payments", self.open.len(), self.payments))
    }
}

/// The parts of a shared payment add up to it, also what of them was captured and given back, and none gives back more than it
/// got.
fn check_parts(payment: &Payment, life: &Life) -> Result<(), String> {
    let Some(shared) = &payment.shared else { return Ok(()) };
    let sum = |of: fn(&Part) -> i128| shared.iter().map(of).sum::<i128>();
    let sums = [sum(|part| part.amount.minor), sum(|part| part.captured.minor), sum(|part| part.refunded.minor)];
    let wanted = [life.amount.minor, life.captured.minor, life.refunded.minor];
    if sums != wanted {
        return Err(format!("its parts sum to {sums:?} authorised, captured and refunded, it says {wanted:?}"));
    }
    let bad = shared.iter().find(|part| {
        let sums = [0, part.refunded.minor, part.captured.minor, part.amount.minor];
        !sums.is_sorted() || part.taken_back.minor > part.credited.minor || part.credited.minor > part.worth.minor
    });
    bad.map_or(Ok(()), |part| Err(format!("more was taken back from {} than it got: {part:?}", part.account)))
}
