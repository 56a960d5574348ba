//! Reserve: money set aside for a while, to be captured or freed (P10).

use std::time::Duration;

use minicbor::{Decode, Encode};
use smallvec::smallvec;

use crate::{
    ledger::{
        bounds,
        body::{SameBody, Body, Defaults},
        decision::{Change, Decision},
        flow::{Effect, Flow, ask, expect_first},
        needs::{Found, House, Missing, Need, Needs, Terms},
        reservation::{Reservation, ReservationStatus},
        time::Timestamp,
        value::Field,
    },
    money::{AccountId, Money, OpId, OwnerId, Posting, PostingKind},
};

/// Set money aside.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Reserve {
    /// The account that will pay.
    #[n(0)]
    pub account: AccountId,
    /// How much.
    #[n(1)]
    pub amount: Money,
    /// Whom captures credit, unless they name another.
    #[n(2)]
    pub destination: Option<AccountId>,
    /// How long it lasts; the configured time if not named.
    #[n(3)]
    pub expires_in: Option<Duration>,
}

impl Reserve {
    /// What it makes, held on a UTC day.
    fn reservation(&self, id: OpId, held_on: u32, expires_at: Timestamp) -> Reservation {
        Reservation {
            id,
            account: self.account.clone(),
            destination: self.destination.clone(),
            amount: self.amount,
            captured: Money::zero(self.amount.currency),
            remaining: self.amount,
            status: ReservationStatus::Active,
            expires_at,
            held_on,
            changed: None,
        }
    }
}

impl Body for Reserve {
    fn check(&self, house: &House) -> Result<(), Missing> {
        bounds::amount("amount", self.amount)?;
        self.expires_in.map_or(Ok(()), |lifetime| bounds::lifetime("expires_in", lifetime, house.reservation_max))
    }

    fn needs(&self, _: &Terms<'_>, found: &Found) -> Result<Needs, Missing> {
        if found.rounds > 0 {
            return Ok(Needs::new());
        }
        let destination = self.destination.clone().map(Need::Account);
        Ok([Need::Account(self.account.clone())].into_iter().chain(destination).chain([Need::Now]).collect())
    }

    fn runs_with(&self, found: &Found) -> OwnerId {
        found.owner_of(&self.account)
    }

    fn begin(&self, terms: &Terms<'_>, found: &Found) -> Result<Box<dyn Flow>, Missing> {
        let (id, now) = (terms.op, found.now()?);
        let today = now.believed.utc_day();
        let expires_at = now.begins.plus(self.expires_in.unwrap_or(terms.house.reservation_default));
        let body = self.clone();
        let failed = self.reservation(id, today, expires_at).failed();
        let declined = move |failure| Decision::declined_with(failure, Change::Reservation(failed));
        let declined_later = declined.clone();
        let hold = ask(Effect::Hold(self.account.clone(), self.amount), move |event| {
            Ok(match event.held()? {
                Err(failure) => declined(failure),
                Ok(held_on) => {
                    let line = Posting::new(body.account.clone(), PostingKind::Authorize { held_on }, body.amount);
                    let reservation = body.reservation(id, held_on, expires_at);
                    Decision::of(Change::Reservation(reservation), vec![line])
                }
            })
        });
        Ok(match &self.destination {
            None => hold,
            // Whom it names is asked as any payee: one that is being closed is not named any more.
            Some(destination) => expect_first(smallvec![(destination.clone(), self.amount)], declined_later, hold),
        })
    }

    fn fields(&self) -> Vec<Field> {
        let Self { account, amount, destination, expires_in } = self;
        vec![
            ("account_id", account.into()),
            ("amount", (*amount).into()),
            ("destination_account", destination.as_ref().into()),
            ("expires_in", (*expires_in).into()),
        ]
    }
}

impl SameBody for Reserve {
    fn spell_out(&mut self, defaults: &Defaults<'_>) {
        self.expires_in = self.expires_in.or(Some(defaults.house.reservation_default));
    }
}
