//! Expire: the house itself frees what was not taken in time (P6). Its key names object and due time, so a reservation
//! expires once.

use minicbor::{Decode, Encode};
use smallvec::smallvec;

use super::release::{ended, to_end};
use crate::{
    ledger::{
        body::{SameBody, Body},
        flow::Flow,
        needs::{Found, House, Missing, Need, Needs, Terms},
        reservation::End,
        value::Field,
    },
    money::{OpId, OwnerId},
    planted::{Bug, is_planted},
};

/// What is missing where a reservation ended before, or its time is not over.
pub const NOTHING_TO_EXPIRE: &str = "reservation to expire";

/// Free money whose time is over.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Expire {
    /// The reservation.
    #[n(0)]
    pub reservation: OpId,
}

impl Body for Expire {
    fn check(&self, _: &House) -> Result<(), Missing> {
        Ok(())
    }

    fn needs(&self, _: &Terms<'_>, found: &Found) -> Result<Needs, Missing> {
        if found.rounds == 0 {
            return Ok(to_end(self.reservation));
        }
        let reservation = found.reservation(self.reservation)?;
        // One that finds nothing to do makes no entry: the reservation ended before, or its time is not over.
        let is_active = reservation.is_active() || is_planted(Bug::ExpiryTwice);
        if !is_active || !found.now()?.is_over(reservation.expires_at) {
            return Err(Missing::unknown(NOTHING_TO_EXPIRE, self.reservation));
        }
        Ok(match found.rounds {
            1 => smallvec![Need::Account(reservation.account.clone())],
            _ => Needs::new(),
        })
    }

    fn runs_with(&self, found: &Found) -> OwnerId {
        found.owner_of_reservation(self.reservation)
    }

    fn begin(&self, _: &Terms<'_>, found: &Found) -> Result<Box<dyn Flow>, Missing> {
        Ok(ended(found.reservation(self.reservation)?, End::Expired))
    }

    fn fields(&self) -> Vec<Field> {
        let Self { reservation } = self;
        vec![("reservation_id", (*reservation).into())]
    }
}

impl SameBody for Expire {}
