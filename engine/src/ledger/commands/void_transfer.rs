//! VoidTransfer: what a transfer holds is freed (P12).

use minicbor::{Decode, Encode};

use super::create_transfer::{needs_to_end, stepped};
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
        needs_to_end(self.transfer, found)
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
