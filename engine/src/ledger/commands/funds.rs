//! What Deposit and Withdraw have in common: money crosses the border of the house, and the world's account takes the
//! other side.

use minicbor::{Decode, Encode};
use smallvec::smallvec;

use crate::{
    ledger::{
        bounds,
        decision::{Change, Decision},
        failure::Failure,
        needs::{Found, Missing, Need, Needs},
        operation::{Operation, OperationKind},
        value::Field,
    },
    money::{AccountId, Money, OpId, Posting, PostingKind},
};

/// Money into an account or out of it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Funds {
    /// The account.
    #[n(0)]
    pub account: AccountId,
    /// How much.
    #[n(1)]
    pub amount: Money,
}

impl Funds {
    pub(super) fn check(&self) -> Result<(), Missing> {
        bounds::amount("amount", self.amount)
    }

    pub(super) fn needs(&self, found: &Found) -> Needs {
        match found.rounds {
            0 => {
                smallvec![Need::Account(self.account.clone()), Need::System("world", self.amount.currency), Need::Now]
            }
            _ => Needs::new(),
        }
    }

    /// The two lines: what the world's account does, and what the account does.
    pub(super) fn moves(self, id: OpId, kind: OperationKind, [world, own]: [PostingKind; 2]) -> Decision {
        let outside = AccountId::system("world", self.amount.currency);
        let lines = vec![Posting::new(outside, world, self.amount), Posting::new(self.account, own, self.amount)];
        Decision::of(Change::Operation(Box::new(Operation::new(id, kind, false))), lines)
    }

    /// Nothing moves; that it was asked for can be read back.
    pub(super) fn declined(id: OpId, kind: OperationKind, failure: Failure) -> Decision {
        Decision::declined_with(failure, Change::Operation(Box::new(Operation::new(id, kind, true))))
    }

    pub(super) fn fields(&self) -> Vec<Field> {
        let Self { account, amount } = self;
        vec![("account_id", account.into()), ("amount", (*amount).into())]
    }
}
