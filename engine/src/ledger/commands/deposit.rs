//! Deposit: money in from outside.

use serde::{Deserialize, Serialize};

use super::transfer::Transfer;
use crate::{
    ledger::{
        command::{Body, Command},
        decision::Decision,
        flow::{Effect, Flow, ask},
        needs::{Found, Needs, Terms, Unknown},
    },
    money::{OwnerId, PostingKind},
};

/// Money in from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deposit(pub Transfer);

impl Command for Deposit {
    fn needs(&self, _: &Terms<'_>, found: &Found) -> Result<Needs, Unknown> {
        Ok(self.0.needs(found))
    }

    fn runs_with(&self, found: &Found) -> OwnerId {
        found.owner_of(&self.0.account)
    }

    fn begin(&self, terms: &Terms<'_>, _: &Found) -> Result<Box<dyn Flow>, Unknown> {
        let transfer = self.0.clone();
        let today = terms.moment.believed.utc_day();
        Ok(ask(Effect::Expect(self.0.account.clone(), self.0.amount), move |event| {
            Ok(match event.granted()? {
                Err(failure) => Decision::declined(failure),
                Ok(()) => transfer.moves(PostingKind::Debit { held_on: today }, PostingKind::Credit),
            })
        }))
    }
}

impl Body for Deposit {
    fn difference(&self, again: &Self) -> Option<&'static str> {
        self.0.difference(&again.0)
    }
}
