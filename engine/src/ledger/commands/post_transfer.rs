//! PostTransfer: what a transfer holds moves, all of it (P12).

use minicbor::{Decode, Encode};
use smallvec::smallvec;

use super::create_transfer::{expired, stepped, to_step, touched};
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
        Ok(match found.rounds {
            0 => to_step(self.transfer),
            1 => {
                let transfer = found.transfer(self.transfer)?;
                match expired(transfer, found)? {
                    Some(expired) => smallvec![expired],
                    None => touched(transfer),
                }
            }
            _ => Needs::new(),
        })
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
        let credits = demands(&transfer.legs).into_iter().filter(|(_, demand)| demand.credits.minor > 0);
        let credits = credits.map(|(account, demand)| (account, demand.credits)).collect();
        let before = transfer.clone();
        Ok(ask(Effect::Expect(credits), move |event| {
            let granted = event.granted()?;
            Ok(stepped(&before, granted.and(posted)))
        }))
    }

    fn fields(&self) -> Vec<Field> {
        let Self { transfer } = self;
        vec![("transfer_id", (*transfer).into())]
    }
}

impl SameBody for PostTransfer {}
