//! Expire: the house itself frees what was not taken in time (P6). Its key names object and due time, so a reservation
//! expires once.

use serde::{Deserialize, Serialize};
use smallvec::smallvec;

use super::release::{ended, to_end};
use crate::{
    ledger::{
        command::{Body, Command, unlike},
        flow::Flow,
        needs::{Found, Need, Needs, Terms, Unknown},
        reservation::End,
    },
    money::{OpId, OwnerId},
};

/// Free money whose time is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expire {
    /// The reservation.
    pub reservation: OpId,
}

impl Command for Expire {
    fn needs(&self, terms: &Terms<'_>, found: &Found) -> Result<Needs, Unknown> {
        if found.rounds == 0 {
            return Ok(to_end(self.reservation));
        }
        let reservation = found.reservation(self.reservation)?;
        // One that finds nothing to do makes no entry: the reservation ended before, or its time is not over.
        if !reservation.is_active() || !terms.moment.is_over(reservation.expires_at) {
            return Err(Unknown::new("reservation to expire", self.reservation));
        }
        Ok(match found.rounds {
            1 => smallvec![Need::Account(reservation.account.clone())],
            _ => Needs::new(),
        })
    }

    fn runs_with(&self, found: &Found) -> OwnerId {
        found.owner_of_reservation(self.reservation)
    }

    fn begin(&self, _: &Terms<'_>, found: &Found) -> Result<Box<dyn Flow>, Unknown> {
        Ok(ended(found.reservation(self.reservation)?, End::Expired))
    }
}

impl Body for Expire {
    fn difference(&self, again: &Self) -> Option<&'static str> {
        let Self { reservation } = self;
        unlike(&[("reservation_id", *reservation == again.reservation)])
    }
}
