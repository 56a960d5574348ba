//! VoidTransfer: what a transfer holds is freed (P12).

use minicbor::{Decode, Encode};
use smallvec::smallvec;

use super::create_transfer::{expired, stepped, to_step, touched};
use crate::{
    ledger::{
        body::{SameBody, Body},
        flow::{Flow, decided},
        needs::{Found, House, Missing, Needs, Terms},
        transfer::TransferStatus,
        value::Field,
    },
    money::{OpId, OwnerId},
};

/// Free what a transfer holds.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct VoidTransfer {
    /// The transfer.
    #[n(0)]
    pub transfer: OpId,
}

impl Body for VoidTransfer {
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
        Ok(decided(stepped(transfer, transfer.end(TransferStatus::Voided))))
    }

    fn fields(&self) -> Vec<Field> {
        let Self { transfer } = self;
        vec![("transfer_id", (*transfer).into())]
    }
}

impl SameBody for VoidTransfer {}
