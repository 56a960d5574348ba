//! PostTransfer: what a transfer holds moves, all of it (P12).

use minicbor::{Decode, Encode};

use super::create_transfer::{accounts, needs_to_end, refusal, stepped};
use crate::{
    ledger::{
        body::{SameBody, Body},
        flow::{Effect, Flow, ask, decided},
        needs::{Found, House, Missing, Needs, Terms},
        transfer::demands,
        value::Field,
    },
    money::{OpId, OwnerId},
};

/// Move what a transfer holds.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PostTransfer {
    /// The transfer.
    #[n(0)]
    pub transfer: OpId,
}

impl Body for PostTransfer {
    fn check(&self, _: &House) -> Result<(), Missing> {
        Ok(())
    }

    fn needs(&self, _: &Terms<'_>, found: &Found) -> Result<Needs, Missing> {
        needs_to_end(self.transfer, found)
    }

    fn runs_with(&self, found: &Found) -> OwnerId {
        found.home_of_transfer(self.transfer)
    }

    fn begin(&self, _: &Terms<'_>, found: &Found) -> Result<Box<dyn Flow>, Missing> {
        let transfer = found.transfer(self.transfer)?;
        let posted = transfer.post();
        if posted.is_err() {
            return Ok(decided(stepped(transfer, posted)));
        }
        // What leaves is set aside; who gets it is asked (P6).
        let mut asked = demands(&transfer.legs);
        asked.retain(|(_, demand)| demand.credits.minor > 0);
        for (_, demand) in &mut asked {
            (demand.need.minor, demand.debits.minor) = (0, 0);
        }
        let (accounts, before) = (accounts(&asked), transfer.clone());
        Ok(ask(Effect::Join(asked), move |event| {
            let answer = event.joined()?.map_err(|refused| refusal(&before, &accounts, refused));
            Ok(stepped(&before, answer.and(posted)))
        }))
    }

    fn fields(&self) -> Vec<Field> {
        let Self { transfer } = self;
        vec![("transfer_id", (*transfer).into())]
    }
}

impl SameBody for PostTransfer {}
