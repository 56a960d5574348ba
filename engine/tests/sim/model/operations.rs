//! What may be taken back, once: deposits, withdrawals and posted transfers.

use arus_engine::{
    ledger::{commands::Request, entry::Entry},
    money::OpId,
};

use super::{Model, Wrong, must, payments::Line};

/// An operation that was accepted.
#[derive(Debug, Clone)]
pub(super) struct Done {
    /// What takes it back; a reversal stays.
    back: Option<Line>,
    is_reversed: bool,
}

impl Model {
    /// All that a reversal may name and find, transfers included.
    pub fn operations(&self) -> Vec<OpId> {
        let mut all: Vec<_> = self.operations.keys().chain(self.transfers.keys()).copied().collect();
        all.sort_unstable();
        all
    }

    /// Whether it was taken back before.
    pub(super) fn is_reversed(&self, id: OpId) -> bool {
        self.operations.get(&id).is_some_and(|done| done.is_reversed)
            || self.transfers.get(&id).is_some_and(|moved| moved.is("REVERSED"))
    }

    /// Whether it can be taken back.
    pub(super) fn is_reversible(&self, id: OpId) -> bool {
        self.taken_back(id).is_ok() || self.transfers.get(&id).is_some_and(|moved| moved.is("POSTED"))
    }

    /// What taking back a deposit or a withdrawal should move.
    pub(super) fn taken_back(&self, id: OpId) -> Result<Vec<Line>, Wrong> {
        let done = self.operations.get(&id).ok_or(format!("there is no operation {id}"))?;
        must!(!done.is_reversed, "operation {id} was reversed before");
        done.back.clone().map(|line| vec![line]).ok_or(format!("operation {id} is a reversal"))
    }

    pub(super) fn apply_operation(&mut self, entry: &Entry) {
        let back = match &entry.request {
            Request::Deposit(deposit) => Some((deposit.0.account.clone(), "return", deposit.0.amount)),
            Request::Withdraw(withdraw) => Some((withdraw.0.account.clone(), "credit", withdraw.0.amount)),
            Request::ReverseOperation(reverse) => {
                if let Some(done) = self.operations.get_mut(&reverse.operation) {
                    done.is_reversed = true;
                }
                None
            }
            _ => return,
        };
        self.operations.insert(entry.op, Done { back, is_reversed: false });
    }
}
