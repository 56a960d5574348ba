//! Deposit: money in from outside.

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

/// Money in from outside.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct Deposit(#[n(0)] pub Funds);

impl Body for Deposit {
    fn check(&self, _: &House) -> Result<(), Missing> {
        self.0.check()
    }

    fn needs(&self, _: &Terms<'_>, found: &Found) -> Result<Needs, Missing> {
        Ok(self.0.needs(found))
    }

    fn runs_with(&self, found: &Found) -> OwnerId {
        found.owner_of(&self.0.account)
    }

    fn begin(&self, terms: &Terms<'_>, found: &Found) -> Result<Box<dyn Flow>, Missing> {
        let (funds, id) = (self.0.clone(), terms.op);
        let kind = OperationKind::Deposit { account: funds.account.clone(), amount: funds.amount };
        let today = found.now()?.believed.utc_day();
        Ok(ask(Effect::Expect(smallvec::smallvec![(self.0.account.clone(), self.0.amount)]), move |event| {
            Ok(match event.granted()? {
                Err(failure) => Funds::declined(id, kind, failure),
                Ok(()) => funds.moves(id, kind, [PostingKind::Debit { held_on: today }, PostingKind::Credit]),
            })
        }))
    }

    fn fields(&self) -> Vec<Field> {
        self.0.fields()
    }
}

impl SameBody for Deposit {}
