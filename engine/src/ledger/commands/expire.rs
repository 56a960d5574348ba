//! Expire: the house itself frees what was not taken in time, of a reservation, a payment or a transfer (P6). Its key names object and
//! due time, so that each expires once.

use minicbor::{Decode, Encode};
use smallvec::smallvec;

use super::{capture_payment, create_transfer, create_transfer::stepped, release, void_payment};
use crate::{
    ledger::{
        body::{SameBody, Body},
        decision::Change,
        flow::{Flow, decided},
        needs::{Found, House, Missing, Need, Needs, Terms, Turn},
        payment::PaymentStatus,
        reservation::End,
        steps::Ending,
        time::Timestamp,
        transfer::TransferStatus,
        value::Field,
    },
    money::{OpId, OwnerId},
    planted::{Bug, is_planted},
};

/// What is missing where an object ended before, or its time is not over.
pub const NOTHING_TO_EXPIRE: &str = "object to expire";

/// Free money whose time is over.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Expire {
    /// The reservation, the payment or the transfer.
    #[n(0)]
    pub object: OpId,
}

impl Expire {
    /// When its time is over, and whom that touches; nothing if it ended before.
    fn due(&self, found: &Found) -> Option<(Timestamp, Needs)> {
        match found.object.as_deref()? {
            Change::Reservation(reservation) => {
                let is_active = reservation.is_active() || is_planted(Bug::ExpiryTwice);
                is_active.then(|| (reservation.expires_at, release::touched_by_end(reservation)))
            }
            Change::Payment(payment) if payment.status == PaymentStatus::Authorized => {
                let due = payment.life.as_ref()?.authorization.as_ref()?.expires_at;
                Some((due, capture_payment::clients(payment)))
            }
            Change::Transfer(transfer) if transfer.status == TransferStatus::Held => {
                Some((transfer.expires_at?, create_transfer::touched(transfer)))
            }
            Change::Payment(_)
            | Change::Refund(_)
            | Change::Transfer(_)
            | Change::Operation(_)
            | Change::Account { .. }
            | Change::Rates => None,
        }
    }
}

impl Body for Expire {
    fn check(&self, _: &House) -> Result<(), Missing> {
        Ok(())
    }

    fn needs(&self, _: &Terms<'_>, found: &Found) -> Result<Needs, Missing> {
        let nothing = || Missing::unknown(NOTHING_TO_EXPIRE, self.object);
        match found.rounds {
            0 if is_planted(Bug::ExpiryWithoutATurn) => Ok(smallvec![Need::Object(self.object), Need::Now]),
            0 => Ok(smallvec![Need::Turn(Turn::Object(self.object)), Need::Object(self.object), Need::Now]),
            // One that finds nothing to do makes no entry: the object ended before, or its time is not over.
            1 => {
                let (due, touched) = self.due(found).ok_or_else(nothing)?;
                if found.now()?.is_over(due) { Ok(touched) } else { Err(nothing()) }
            }
            _ => Ok(Needs::new()),
        }
    }

    fn runs_with(&self, found: &Found) -> OwnerId {
        match found.object.as_deref() {
            Some(Change::Payment(_)) => found.customer_of_payment(self.object),
            Some(Change::Transfer(_)) => found.home_of_transfer(self.object),
            _ => found.owner_of_reservation(self.object),
        }
    }

    fn begin(&self, _: &Terms<'_>, found: &Found) -> Result<Box<dyn Flow>, Missing> {
        if let Ok((payment, life)) = found.payment(self.object) {
            return Ok(void_payment::ended(payment, life, Ending::Expired));
        }
        if let Ok(transfer) = found.transfer(self.object) {
            return Ok(decided(stepped(transfer, transfer.end(TransferStatus::Expired))));
        }
        Ok(release::ended(found.reservation(self.object)?, End::Expired))
    }

    fn fields(&self) -> Vec<Field> {
        let Self { object } = self;
        vec![("object_id", (*object).into())]
    }
}

impl SameBody for Expire {}
