//! What Deposit and Withdraw have in common: money crosses the border of the house, and the world's account takes the
//! other side.

use minicbor::{Decode, Encode};
use smallvec::{SmallVec, smallvec};

use crate::{
    ledger::{
        bounds,
        decision::Decision,
        needs::{Found, Missing, Need, Needs},
        value::Field,
    },
    money::{AccountId, Money, Posting, PostingKind},
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
    pub(super) fn moves(self, world: PostingKind, own: PostingKind) -> Decision {
        let outside = AccountId::system("world", self.amount.currency);
        let lines = vec![Posting::new(outside, world, self.amount), Posting::new(self.account, own, self.amount)];
        Decision { failure: None, changes: SmallVec::new(), postings: lines }
    }

    pub(super) fn fields(&self) -> Vec<Field> {
        let Self { account, amount } = self;
        vec![("account_id", account.into()), ("amount", (*amount).into())]
    }
}
