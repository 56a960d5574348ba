//! Capture: money that was set aside goes to a payee, in full or in part (P10).

use minicbor::{Decode, Encode};
use smallvec::smallvec;

use super::release::touched_by_end;
use crate::{
    ledger::{
        bounds,
        body::{SameBody, Body, Defaults},
        decision::{Change, Decision},
        failure::{Failure, FailureCode},
        flow::{Effect, Flow, ask, decided},
        needs::{Found, House, Missing, Need, Needs, Terms, Turn},
        reservation::{Finality, Reservation},
        value::Field,
    },
    money::{AccountId, Money, OpId, OwnerId, PostingKind},
};

/// Take money that was set aside.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Capture {
    /// The reservation.
    #[n(0)]
    pub reservation: OpId,
    /// How much; all that is left if not named.
    #[n(1)]
    pub amount: Option<Money>,
    /// Whom to credit; the reservation's destination if not named.
    #[n(2)]
    pub destination: Option<AccountId>,
    /// Whether what is left afterwards is freed.
    #[n(3)]
    pub finality: Finality,
}

impl Capture {
    fn payee<'a>(&'a self, reservation: &'a Reservation) -> Option<&'a AccountId> {
        self.destination.as_ref().or(reservation.destination.as_ref())
    }

    /// How much to whom, if that may be.
    fn check(&self, reservation: &Reservation) -> Result<(Money, AccountId), Failure> {
        let amount = reservation.check_capture(self.amount)?;
        let Some(payee) = self.payee(reservation) else {
            let id = reservation.id;
            let message = format!("neither the capture nor reservation {id} names a destination_account");
            return Err(Failure::new(FailureCode::DestinationRequired, message));
        };
        if *payee == reservation.account {
            let message = format!("account {payee} cannot pay itself");
            return Err(Failure::new(FailureCode::SameAccount, message));
        }
        Ok((amount, payee.clone()))
    }
}

impl Body for Capture {
    fn check(&self, _: &House) -> Result<(), Missing> {
        self.amount.map_or(Ok(()), |amount| bounds::amount("amount", amount))
    }

    fn needs(&self, _: &Terms<'_>, found: &Found) -> Result<Needs, Missing> {
        if found.rounds == 0 {
            let id = self.reservation;
            return Ok(smallvec![Need::Turn(Turn::Object(id)), Need::Object(id), Need::Now]);
        }
        let reservation = found.reservation(self.reservation)?;
        if found.rounds > 1 {
            return Ok(Needs::new());
        }
        // The sweep has not come to it yet: it is freed first, so that the answer shows it as it is.
        if reservation.is_active() && found.now()?.is_over(reservation.expires_at) {
            return Ok(smallvec![Need::Expired(reservation.id, reservation.expires_at)]);
        }
        let mut needs = touched_by_end(reservation);
        needs.extend(self.payee(reservation).filter(|payee| reservation.destination.as_ref() != Some(payee)).cloned().map(Need::Account));
        Ok(needs)
    }

    fn runs_with(&self, found: &Found) -> OwnerId {
        found.owner_of_reservation(self.reservation)
    }

    fn begin(&self, _: &Terms<'_>, found: &Found) -> Result<Box<dyn Flow>, Missing> {
        let before = found.reservation(self.reservation)?.clone();
        let (amount, payee) = match self.check(&before) {
            Ok(checked) => checked,
            Err(failure) => {
                return Ok(decided(Decision::declined_with(failure, Change::Reservation(before))));
            }
        };
        let finality = self.finality;
        Ok(ask(Effect::Expect(smallvec![(payee.clone(), amount)]), move |event| {
            Ok(match event.granted()?.and_then(|()| before.capture(amount, payee, finality)) {
                Ok((after, lines)) => Decision::of(Change::Reservation(after), lines),
                Err(failure) => Decision::declined_with(failure, Change::Reservation(before)),
            })
        }))
    }

    fn fields(&self) -> Vec<Field> {
        let Self { reservation, amount, destination, finality } = self;
        vec![
            ("reservation_id", (*reservation).into()),
            ("amount", (*amount).into()),
            ("destination_account", destination.as_ref().into()),
            ("final", (*finality == Finality::Final).into()),
        ]
    }
}

impl SameBody for Capture {
    fn spell_out(&mut self, defaults: &Defaults<'_>) {
        if let Some(reservation) = defaults.first.reservation() {
            self.destination = self.destination.take().or_else(|| reservation.destination.clone());
            self.amount = self.amount.or_else(|| was_left(defaults.first, reservation));
        }
    }
}

/// What was left of a reservation before a capture was decided.
fn was_left(decision: &Decision, reservation: &Reservation) -> Option<Money> {
    let taken = decision.postings.iter().filter(|posting| posting.account == reservation.account);
    let taken = taken.filter(|posting| matches!(posting.kind, PostingKind::Settle | PostingKind::Void { .. }));
    taken.map(|posting| posting.amount).try_fold(reservation.remaining, Money::checked_add)
}
