//! Withdraw: money out to outside.

use minicbor::{Decode, Encode};

use super::funds::Funds;
use crate::{
    ledger::{
        body::{SameBody, Body},
        flow::{Effect, Flow, ask},
        needs::{Found, House, Missing, Needs, Terms},
        operation::OperationKind,
        value::Field,
    },
    money::{OwnerId, PostingKind},
};

/// Money out to outside.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct Withdraw(#[n(0)] pub Funds);

impl Body for Withdraw {
    fn check(&self, _: &House) -> Result<(), Missing> {
        self.0.check()
    }

    fn needs(&self, _: &Terms<'_>, found: &Found) -> Result<Needs, Missing> {
        Ok(self.0.needs(found))
    }

    fn runs_with(&self, found: &Found) -> OwnerId {
        found.owner_of(&self.0.account)
    }

    fn begin(&self, terms: &Terms<'_>, _: &Found) -> Result<Box<dyn Flow>, Missing> {
        let (funds, id) = (self.0.clone(), terms.op);
        let kind = OperationKind::Withdrawal { account: funds.account.clone(), amount: funds.amount };
        Ok(ask(Effect::Hold(self.0.account.clone(), self.0.amount), move |event| {
            Ok(match event.held()? {
                Err(failure) => Funds::declined(id, kind, failure),
                Ok(held_on) => funds.moves(id, kind, [PostingKind::Credit, PostingKind::Debit { held_on }]),
            })
        }))
    }

    fn fields(&self) -> Vec<Field> {
        self.0.fields()
    }
}

impl SameBody for Withdraw {}
