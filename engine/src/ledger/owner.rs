//! What an owner owns: which accounts, in order of opening, and which is the default (P6, P7).

use serde::{Deserialize, Serialize};

use super::{
    account::Account,
    settings::{AccountStatus, DefaultMark},
};
use crate::money::{AccountId, Currency, Lsn};

/// One account of an owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owned {
    /// The account.
    pub account: AccountId,
    /// Its currency.
    pub currency: Currency,
    /// Its status.
    pub status: AccountStatus,
    /// The entry that opened it.
    pub opened_lsn: Lsn,
    /// The last entry that changed it.
    pub changed_lsn: Lsn,
}

/// An owner as the journal says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owner {
    /// In order of opening.
    pub accounts: Vec<Owned>,
    /// The default account, and the entry that made it so; `None` only while there is no account.
    pub default: Option<(AccountId, Lsn)>,
}

impl Owner {
    /// Takes in one of its accounts as it is after an entry; no entry changes a thing twice.
    pub fn take(&mut self, account: &Account, default: DefaultMark, lsn: Lsn) {
        match self.accounts.iter_mut().find(|owned| owned.account == account.id) {
            Some(owned) if owned.changed_lsn < lsn => {
                owned.status = account.status;
                owned.changed_lsn = lsn;
            }
            Some(_) => {}
            None => {
                // Most owners have one account.
                self.accounts.reserve_exact(1);
                self.accounts.push(Owned {
                    account: account.id.clone(),
                    currency: account.currency,
                    status: account.status,
                    opened_lsn: lsn,
                    changed_lsn: lsn,
                });
            }
        }
        if default == DefaultMark::Default && self.default.as_ref().is_none_or(|(_, since)| *since < lsn) {
            self.default = Some((account.id.clone(), lsn));
        }
    }

    /// The default account.
    pub fn default_account(&self) -> Option<&Owned> {
        let (id, _) = self.default.as_ref()?;
        self.accounts.iter().find(|owned| owned.account == *id)
    }

    /// Whether there is any account, that is, whether anybody knows this owner.
    pub fn exists(&self) -> bool {
        !self.accounts.is_empty()
    }

    /// The accounts that may pay an amount in `currency`, in this order (P7): active ones in that currency, then the
    /// default one, whatever its state.
    pub fn candidates(&self, currency: Currency) -> impl Iterator<Item = &Owned> {
        let fits = move |owned: &&Owned| owned.currency == currency && owned.status == AccountStatus::Active;
        let last = self.default_account().filter(move |owned| !fits(owned));
        self.accounts.iter().filter(fits).chain(last)
    }
}
