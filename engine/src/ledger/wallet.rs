//! A wallet: an account's durable state plus what a crash may forget (P6).
//!
//! Holds and expectations live here from their grant to the commit of their entry. Balances change only in
//! [`Wallet::apply`], by durable entries. `available = balance - held - authorised + overdraft limit -
//! minimum balance`.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::{
    account::{Account, FoldError},
    apply::to_account,
    entry::Entry,
    failure::{Failure, FailureCode},
    settings::{AccountStatus, DailyLimit, SettingsChange},
    time::Timestamp,
    transfer::Demand,
};
use crate::{
    money::{ACCOUNT_MINOR_MAX, Lsn, Money, OpId},
    planted::{Bug, is_planted},
};

/// So many places for what is pending are kept by an account that has nothing pending.
const PENDING_KEPT: usize = 3;

/// What a command in flight may do to the account once it commits. Minor units.
#[derive(Debug, Clone, Copy, Default)]
struct Pending {
    debit: i128,
    credit: i128,
    /// What of it the daily limit counts.
    counted: i128,
}

/// One account with its volatile part.
#[derive(Debug)]
pub struct Wallet {
    account: Account,
    /// The status new holds are judged by: ahead of `account.status` while a change commits.
    gate: AccountStatus,
    pending: HashMap<OpId, Pending, RandomState>,
    held: i128,
    expected: i128,
    /// What of all that is pending the daily limit counts.
    counted: i128,
}

/// What a client sees of an account: durable state and what is pending, read at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountView {
    /// The durable state.
    pub account: Account,
    /// What may still be spent.
    pub available: Money,
    /// Held and set aside.
    pub pending_debits: Money,
    /// Expected.
    pub pending_credits: Money,
}

impl Wallet {
    /// A wallet with nothing pending.
    pub fn new(account: Account) -> Self {
        Self { gate: account.status, account, pending: HashMap::default(), held: 0, expected: 0, counted: 0 }
    }

    /// The durable state.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Whether some command in flight has yet to commit or end.
    pub fn is_busy(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Balance, available and pending, as one answer.
    pub fn view(&self) -> AccountView {
        let money = |minor| Money::new(minor, self.account.currency);
        AccountView {
            account: self.account.clone(),
            available: money(self.available_minor()),
            pending_debits: money(self.held.saturating_add(self.account.authorized)),
            pending_credits: money(self.expected),
        }
    }

    // Every counter here is bounded by ACCOUNT_MINOR_MAX (10^27), so sums stay far inside i128.
    fn available_minor(&self) -> i128 {
        self.account
            .balance()
            .minor
            .saturating_sub(self.held)
            .saturating_sub(self.account.authorized)
            .saturating_add(self.account.overdraft_limit)
            .saturating_sub(self.account.minimum_balance)
    }

    /// Payer's side: holds `amount` for `op` if it is there. Says for which UTC day it counts.
    pub fn hold(&mut self, op: OpId, amount: Money, now: Timestamp) -> Result<u32, Failure> {
        self.check_available(amount)?;
        let day = self.check_daily_limit(amount, now)?;
        self.set_aside(op, amount.minor, amount.minor);
        Ok(day)
    }

    /// Both sides of a transfer: what must be there, what leaves and what comes in, in one answer.
    pub fn join(&mut self, op: OpId, demand: &Demand, now: Timestamp) -> Result<u32, Failure> {
        self.check_open(demand.need)?;
        if demand.need.minor > 0 {
            self.check_available(demand.need)?;
        }
        let day = self.check_daily_limit(demand.debits, now)?;
        self.expect(op, demand.credits)?;
        self.set_aside(op, demand.need.minor, demand.debits.minor);
        Ok(day)
    }

    /// The UTC day that a debit counts for, if the limit of that day allows it.
    fn check_daily_limit(&self, amount: Money, now: Timestamp) -> Result<u32, Failure> {
        let day = self.account.day_of_hold(now.utc_day());
        let spent = self.account.debits_on(day).saturating_add(self.counted);
        if amount.minor > 0
            && let Some(limit) = self.account.daily_debit_limit
            && spent.saturating_add(amount.minor) > limit
        {
            return Err(Failure::new(
                FailureCode::DailyLimitExceeded,
                format!(
                    "account {} may be debited {} on one UTC day and {} is used or held, {amount} is too much",
                    self.account.id,
                    Money::new(limit, amount.currency),
                    Money::new(spent, amount.currency)
                ),
            ));
        }
        Ok(day)
    }

    /// Payee's side of a refund: the same whatever the daily limit (P6).
    pub fn take_back(&mut self, op: OpId, amount: Money) -> Result<(), Failure> {
        self.check_available(amount)?;
        self.set_aside(op, amount.minor, 0);
        Ok(())
    }

    fn set_aside(&mut self, op: OpId, debit: i128, counted: i128) {
        let pending = self.pending.entry(op).or_default();
        (pending.debit, pending.counted) = (debit, counted);
        self.held = self.held.saturating_add(debit);
        self.counted = self.counted.saturating_add(counted);
    }

    fn check_available(&mut self, amount: Money) -> Result<(), Failure> {
        self.check_open(amount)?;
        let available = self.available_minor();
        if amount.minor > available {
            if is_planted(Bug::HoldLeakedOnDecline) {
                self.held = self.held.saturating_add(amount.minor);
            }
            return Err(Failure::new(
                FailureCode::InsufficientFunds,
                format!(
                    "account {} has {} available, {amount} is needed",
                    self.account.id,
                    Money::new(available, amount.currency)
                ),
            ));
        }
        Ok(())
    }

    /// Payee's side: notes that `op` will credit `amount`. A second call for one `op` replaces the first.
    pub fn expect(&mut self, op: OpId, amount: Money) -> Result<(), Failure> {
        self.check_open(amount)?;
        let before = self.pending.get(&op).map_or(0, |pending| pending.credit);
        let expected = self.expected.saturating_sub(before).saturating_add(amount.minor);
        if self.account.balance().minor.saturating_add(expected) > ACCOUNT_MINOR_MAX {
            return Err(Failure::new(
                FailureCode::AccountLimitExceeded,
                format!("account {} would pass 10^27 minor units", self.account.id),
            ));
        }
        self.pending.entry(op).or_default().credit = amount.minor;
        self.expected = expected;
        Ok(())
    }

    fn check_open(&self, amount: Money) -> Result<(), Failure> {
        let id = &self.account.id;
        match self.gate {
            AccountStatus::Frozen => {
                return Err(Failure::new(FailureCode::AccountFrozen, format!("account {id} is frozen")));
            }
            AccountStatus::Closed => {
                return Err(Failure::new(FailureCode::AccountClosed, format!("account {id} is closed")));
            }
            AccountStatus::Active => {}
        }
        if amount.currency != self.account.currency {
            return Err(Failure::new(
                FailureCode::CurrencyMismatch,
                format!("account {id} is in {}, the amount is {amount}", self.account.currency),
            ));
        }
        Ok(())
    }

    /// Ends what `op` had pending: its entry committed, or it never will.
    pub fn release(&mut self, op: OpId) {
        if let Some(pending) = self.pending.remove(&op) {
            self.held = self.held.saturating_sub(pending.debit);
            self.expected = self.expected.saturating_sub(pending.credit);
            self.counted = self.counted.saturating_sub(pending.counted);
            if self.pending.is_empty() && self.pending.capacity() > PENDING_KEPT {
                // An idle account keeps little memory for what it once had pending.
                self.pending.shrink_to(PENDING_KEPT);
            }
        }
    }

    /// Decides a change of settings. A freeze or close stops new holds from here on, before it is durable.
    /// The caller sees to it that one account has one change in flight.
    pub fn change(&mut self, change: &SettingsChange) -> Result<Account, Failure> {
        let mut next = self.account.clone();
        if self.gate == AccountStatus::Closed {
            return Err(Failure::new(
                FailureCode::AccountClosed,
                format!("account {} is closed; a closed account never changes", next.id),
            ));
        }
        let daily = match &change.daily_debit_limit {
            Some(DailyLimit::AtMost(limit)) => Some(limit),
            Some(DailyLimit::Unlimited) | None => None,
        };
        for limit in change.overdraft_limit.iter().chain(&change.minimum_balance).chain(daily) {
            if limit.currency != next.currency {
                return Err(Failure::new(
                    FailureCode::CurrencyMismatch,
                    format!("account {} is in {}, the limit is {limit}", next.id, next.currency),
                ));
            }
        }
        if change.status == Some(AccountStatus::Closed) {
            self.check_empty()?;
        }
        next.status = change.status.unwrap_or(next.status);
        next.overdraft_limit = change.overdraft_limit.map_or(next.overdraft_limit, |limit| limit.minor);
        next.minimum_balance = change.minimum_balance.map_or(next.minimum_balance, |minimum| minimum.minor);
        check_exclusive(&next)?;
        next.daily_debit_limit = match change.daily_debit_limit {
            Some(DailyLimit::AtMost(limit)) => Some(limit.minor),
            Some(DailyLimit::Unlimited) => None,
            None => next.daily_debit_limit,
        };
        if next.status != AccountStatus::Active {
            self.gate = next.status;
        }
        Ok(next)
    }

    fn check_empty(&self) -> Result<(), Failure> {
        let balance = self.account.balance();
        if !self.account.named_by.is_none() {
            let message = format!("account {} is named by {}; end them first", self.account.id, self.account.named_by);
            return Err(Failure::new(FailureCode::AccountNotEmpty, message));
        }
        if balance.minor != 0 || self.account.authorized != 0 || self.is_busy() {
            return Err(Failure::new(
                FailureCode::AccountNotEmpty,
                format!(
                    "account {} has a balance of {balance}, {} set aside and {} payments in flight; all must be none",
                    self.account.id,
                    Money::new(self.account.authorized, balance.currency),
                    self.pending.len()
                ),
            ));
        }
        Ok(())
    }

    /// A change that was decided will not commit: new holds are judged by the durable status again.
    pub fn abandon_change(&mut self) {
        self.gate = self.account.status;
    }

    /// Applies what a durable entry does to this account and ends what it had pending.
    pub fn apply(&mut self, entry: &Entry, lsn: Lsn) -> Result<(), FoldError> {
        let status = self.account.status;
        self.release(entry.op);
        to_account(&mut self.account, entry, lsn)?;
        if self.account.status != status {
            self.gate = self.account.status;
        }
        Ok(())
    }
}

/// An account may go below zero, or has to keep something, not both (P6).
fn check_exclusive(next: &Account) -> Result<(), Failure> {
    let Account { id, currency, overdraft_limit, minimum_balance, .. } = next;
    if *overdraft_limit > 0 && *minimum_balance > 0 {
        let [limit, minimum] = [*overdraft_limit, *minimum_balance].map(|minor| Money::new(minor, *currency));
        let message = format!(
            "account {id} would have an overdraft limit of {limit} and a minimum balance of {minimum}; one of them must be zero"
        );
        return Err(Failure::new(FailureCode::OverdraftAndMinimum, message));
    }
    Ok(())
}
