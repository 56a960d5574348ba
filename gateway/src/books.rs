//! The books as the journal says, folded entry by entry without any index: what `arus verify` judges them by.

use std::collections::{BTreeMap, HashMap};

use arus_engine::{
    index::AccountKey,
    journal::{Block, block::for_each_account},
    ledger::{account::Account, apply::fold, invariants},
    money::{Currency, Lsn, Money},
};

/// Every account as the journal says.
#[derive(Default)]
pub(crate) struct Books {
    /// As of the last entry.
    pub(crate) accounts: HashMap<AccountKey, Account>,
    limits: HashMap<AccountKey, i128>,
    overdrawn: Option<String>,
    entries: u64,
}

impl Books {
    /// Folds a block's entries; each must be sound by itself.
    pub(crate) fn take(&mut self, block: &Block) -> Result<(), String> {
        for committed in block.committed() {
            let entry = &committed.entry;
            invariants::check(entry).map_err(|error| format!("lsn {}: {error}", committed.lsn))?;
            let mut failed = None;
            for_each_account(entry, |id| {
                let key = (entry.tenant, id.clone());
                let mut state = self.accounts.remove(&key);
                failed = fold(&mut state, id, entry, committed.lsn).err().or(failed.take());
                if let Some(account) = state {
                    self.watch_overdraft(&key, &account, committed.lsn);
                    self.accounts.insert(key, account);
                }
            });
            failed.map_or(Ok(()), |error| Err(error.to_string()))?;
            self.entries += 1;
        }
        Ok(())
    }

    /// Per tenant and currency all accounts sum to zero.
    pub(crate) fn zero_sums(&self) -> Result<String, String> {
        let mut sums: BTreeMap<(u32, u16), (Currency, i128)> = BTreeMap::new();
        for ((tenant, _), account) in &self.accounts {
            let key = (tenant.0, account.currency.numeric());
            let (_, sum) = sums.entry(key).or_insert((account.currency, 0));
            *sum += account.balance().minor;
        }
        match sums.values().find(|(_, sum)| *sum != 0) {
            Some((currency, sum)) => Err(format!("{} is left over", Money::new(*sum, *currency))),
            None => Ok(format!("{} entries and {} currencies sum to zero", self.entries, sums.len())),
        }
    }

    /// No account ever had less than it may.
    pub(crate) fn overdrawn(&self) -> Result<String, String> {
        match &self.overdrawn {
            Some(what) => Err(what.clone()),
            None => Ok(format!("{} accounts, at every entry", self.accounts.len())),
        }
    }

    /// Nothing ever takes what is not there. A hold is judged by the limit of its moment, and a limit may be lowered
    /// below what is used: so the highest limit the account ever had is what counts.
    fn watch_overdraft(&mut self, key: &AccountKey, account: &Account, lsn: Lsn) {
        let limit = self.limits.entry(key.clone()).or_default();
        *limit = account.overdraft_limit.max(*limit);
        let free = account.balance().minor - account.authorized;
        if !account.id.is_system() && free < -*limit && self.overdrawn.is_none() {
            let free = Money::new(free, account.currency);
            self.overdrawn = Some(format!("account {} has {free} at lsn {lsn}", account.id));
        }
    }
}
