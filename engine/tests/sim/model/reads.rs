//! What a read may say.

use arus_engine::{
    ledger::wallet::AccountView,
    money::{AccountId, Lsn},
};

use super::{Model, State, Wrong, must};

impl Model {
    /// An account as a client read it, when everything up to `floor` had been acknowledged.
    pub fn check_view(&self, id: &AccountId, view: &AccountView, floor: Lsn) -> Result<(), Wrong> {
        let read = &view.account;
        let states = self.accounts.get(id).ok_or(format!("{id} was read and is not open"))?;
        let known = states.iter().rev().find(|(lsn, _)| *lsn == read.applied_lsn);
        let Some((lsn, state)) = known else {
            return Err(format!("{id} was read as of lsn {}, which did not change it", read.applied_lsn));
        };
        let least = self.state(id, floor).map_or(Lsn(0), |(lsn, _)| *lsn);
        must!(*lsn >= least, "{id} was read as of lsn {lsn}, lsn {least} had been acknowledged before");
        let seen = State {
            owner: read.owner.clone(),
            status: read.status,
            balance: read.balance().minor,
            aside: read.authorized,
            overdraft: read.overdraft_limit,
            minimum: read.minimum_balance,
            limit: read.daily_debit_limit,
            day: read.day,
            day_debits: read.day_debits,
        };
        must!(seen == *state, "{id} was read as {seen:?}, at lsn {lsn} it was {state:?}");
        let available = state.balance + state.overdraft - state.minimum - view.pending_debits.minor;
        must!(view.available.minor == available, "{id} says {} is available, it is {available}", view.available);
        Ok(())
    }

    /// That there is no such account as of an entry.
    pub fn check_absent(&self, id: &AccountId, floor: Lsn) -> Result<(), Wrong> {
        must!(self.state(id, floor).is_none(), "{id} was not found");
        Ok(())
    }

    /// An account's lines, oldest first: entry and balance after it.
    pub fn lines(&self, id: &AccountId) -> Vec<(Lsn, i128)> {
        let mut balance = 0;
        let mut lines = Vec::new();
        for committed in &self.entries {
            for posting in committed.entry.postings().iter().filter(|posting| posting.account == *id) {
                balance += posting.signed_minor();
                lines.push((committed.lsn, balance));
            }
        }
        lines
    }

    /// A list that was read newest first is all there is up to its newest, and that is no older than what was
    /// acknowledged.
    pub fn check_list<T: PartialEq + std::fmt::Debug>(
        seen: &[(Lsn, T)],
        all: &[(Lsn, T)],
        floor: Lsn,
    ) -> Result<(), Wrong> {
        let newest = seen.first().map_or(Lsn(0), |(lsn, _)| *lsn);
        let least = all.iter().rev().find(|(lsn, _)| *lsn <= floor).map_or(Lsn(0), |(lsn, _)| *lsn);
        must!(newest >= least, "a list ends at lsn {newest}, lsn {least} had been acknowledged before");
        let expected = all.iter().filter(|(lsn, _)| *lsn <= newest).rev();
        must!(seen.iter().eq(expected), "a list is {seen:?} and should be {all:?} up to lsn {newest}");
        Ok(())
    }
}
