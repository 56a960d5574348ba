//! Release: the client frees what it had set aside (P10).

use minicbor::{Decode, Encode};
use smallvec::smallvec;

use crate::{
    ledger::{
        body::{SameBody, Body},
        decision::{Change, Decision},
        flow::{Flow, decided},
        needs::{Found, House, Missing, Need, Needs, Terms, Turn},
        reservation::{End, Reservation},
        value::Field,
    },
    money::{OpId, OwnerId},
};

/// Free money that was set aside.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Release {
    /// The reservation.
    #[n(0)]
    pub reservation: OpId,
}

impl Body for Release {
    fn check(&self, _: &House) -> Result<(), Missing> {
        Ok(())
    }

    fn needs(&self, _: &Terms<'_>, found: &Found) -> Result<Needs, Missing> {
        Ok(match found.rounds {
            0 => to_end(self.reservation),
            1 => touched_by_end(found.reservation(self.reservation)?),
            _ => Needs::new(),
        })
    }

    fn runs_with(&self, found: &Found) -> OwnerId {
        found.owner_of_reservation(self.reservation)
    }

    fn begin(&self, _: &Terms<'_>, found: &Found) -> Result<Box<dyn Flow>, Missing> {
        Ok(ended(found.reservation(self.reservation)?, End::Released))
    }

    fn fields(&self) -> Vec<Field> {
        let Self { reservation } = self;
        vec![("reservation_id", (*reservation).into())]
    }
}

impl SameBody for Release {}

/// What the end of a reservation needs first.
pub(super) fn to_end(reservation: OpId) -> Needs {
    smallvec![Need::Turn(Turn::Object(reservation)), Need::Object(reservation), Need::Now]
}

/// Whom the end of a reservation touches: the payer, and the payee, who is named by it no more.
pub(super) fn touched_by_end(reservation: &Reservation) -> Needs {
    let accounts = [&reservation.account].into_iter().chain(&reservation.destination);
    accounts.cloned().map(Need::Account).collect()
}

/// Frees what is left of a reservation.
pub(super) fn ended(before: &Reservation, end: End) -> Box<dyn Flow> {
    decided(match before.end(end) {
        Ok((after, lines)) => Decision::of(Change::Reservation(after), lines),
        Err(failure) => Decision::declined_with(failure, Change::Reservation(before.clone())),
    })
}
