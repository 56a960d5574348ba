//! Withdraw: money out to outside.

use minicbor::{Decode, Encode};

use super::funds::Funds;
use crate::{
    ledger::{
        body::{SameBody, Body},
        decision::Decision,
        flow::{Effect, Flow, ask},
        needs::{Found, House, Missing, Needs, Terms},
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

    fn begin(&self, _: &Terms<'_>, _: &Found) -> Result<Box<dyn Flow>, Missing> {
        let transfer = self.0.clone();
        Ok(ask(Effect::Hold(self.0.account.clone(), self.0.amount), move |event| {
            Ok(match event.held()? {
                Err(failure) => Decision::declined(failure),
                Ok(held_on) => transfer.moves(PostingKind::Credit, PostingKind::Debit { held_on }),
            })
        }))
    }

    fn fields(&self) -> Vec<Field> {
        self.0.fields()
    }
}

impl SameBody for Withdraw {}
