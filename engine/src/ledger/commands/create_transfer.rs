//! CreateTransfer: a group of legs between any accounts, all or nothing, posted at once or held (P12).

use std::time::Duration;

use minicbor::{Decode, Encode};
use smallvec::smallvec;

use crate::{
    ledger::{
        bounds,
        body::{SameBody, Body, Defaults},
        decision::{Change, Decision},
        failure::Failure,
        flow::{Effect, Flow, Joined, ask},
        needs::{Found, House, Missing, Need, Needs, Terms, Turn},
        transfer::{Demands, Leg, Step, Transfer, TransferStatus, demands},
        value::Field,
    },
    money::{AccountId, OpId, OwnerId},
};

/// Move money between accounts.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct CreateTransfer {
    /// What moves, in this order.
    #[n(0)]
    pub legs: Vec<Leg>,
    /// Money is set aside only, to be posted or voided later.
    #[n(1)]
    pub hold: Option<HoldFor>,
}

/// A transfer that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct HoldFor {
    /// How long; the configured time if not named.
    #[n(0)]
    pub expires_in: Option<Duration>,
}

impl CreateTransfer {
    fn home<'a>(&'a self, found: &'a Found) -> OwnerId {
        self.legs.first().map_or_else(OwnerId::system, |leg| found.owner_of(&leg.from))
    }

    fn transfer(&self, id: OpId, terms: &Terms<'_>, found: &Found) -> Result<Transfer, Missing> {
        let begins = found.now()?.begins;
        let lasts = |hold: HoldFor| hold.expires_in.unwrap_or(terms.house.transfer_default);
        Ok(Transfer {
            id,
            status: TransferStatus::Failed,
            legs: self.legs.clone(),
            expires_at: self.hold.map(|hold| begins.plus(lasts(hold))),
            aside: Vec::new(),
            reversed_by: None,
            changed: None,
        })
    }
}

impl Body for CreateTransfer {
    fn check(&self, house: &House) -> Result<(), Missing> {
        bounds::legs("legs", &self.legs)?;
        let lifetime = self.hold.and_then(|hold| hold.expires_in);
        lifetime.map_or(Ok(()), |lifetime| bounds::lifetime("expires_in", lifetime, house.transfer_max))
    }

    fn needs(&self, _: &Terms<'_>, found: &Found) -> Result<Needs, Missing> {
        if found.rounds > 0 {
            return Ok(Needs::new());
        }
        let accounts = demands(&self.legs).into_iter().map(|(account, _)| Need::Account(account));
        Ok(accounts.chain([Need::Now]).collect())
    }

    fn runs_with(&self, found: &Found) -> OwnerId {
        self.home(found)
    }

    fn begin(&self, terms: &Terms<'_>, found: &Found) -> Result<Box<dyn Flow>, Missing> {
        let transfer = self.transfer(terms.op, terms, found)?;
        let (demands, is_held) = (demands(&self.legs), self.hold.is_some());
        let accounts = accounts(&demands);
        // All at once, each one thing; one that refuses stops all.
        Ok(ask(Effect::Join(demands), move |event| Ok(answered(transfer, is_held, accounts, event.joined()?))))
    }

    fn fields(&self) -> Vec<Field> {
        let Self { legs, hold } = self;
        let row = |leg: &Leg| {
            let Leg { from, to, amount, reference: _ } = leg;
            vec![("from", from.into()), ("to", to.into()), ("amount", (*amount).into())]
        };
        let mode = if hold.is_some() { "HOLD" } else { "POST" };
        vec![
            ("legs", legs.iter().map(row).collect::<Vec<_>>().into()),
            ("mode", mode.into()),
            ("expires_in", hold.and_then(|hold| hold.expires_in).into()),
        ]
    }
}

impl SameBody for CreateTransfer {
    fn spell_out(&mut self, defaults: &Defaults<'_>) {
        if let Some(hold) = &mut self.hold {
            hold.expires_in = hold.expires_in.or(Some(defaults.house.transfer_default));
        }
    }
}

/// What the accounts' answers come to.
fn answered(transfer: Transfer, is_held: bool, accounts: Vec<AccountId>, answer: Joined) -> Decision {
    match answer {
        Ok(days) => {
            let days: Vec<(AccountId, u32)> = accounts.into_iter().zip(days).collect();
            let (after, lines) = if is_held { transfer.held(&days) } else { transfer.posted_at_once(&days) };
            Decision::of(Change::Transfer(Box::new(after)), lines)
        }
        Err(refused) => {
            let failure = refusal(&transfer, &accounts, refused);
            Decision::declined_with(failure, Change::Transfer(Box::new(transfer)))
        }
    }
}

/// Whom demands are of.
pub(super) fn accounts(demands: &Demands) -> Vec<AccountId> {
    demands.iter().map(|(account, _)| account.clone()).collect()
}

/// An account's refusal, with the leg that it is about.
pub(super) fn refusal(transfer: &Transfer, accounts: &[AccountId], (n, failure): (usize, Failure)) -> Failure {
    match accounts.get(n) {
        Some(account) => transfer.refusal(account, failure),
        None => failure,
    }
}

/// A decision about a transfer that there is.
pub(super) fn stepped(before: &Transfer, step: Result<Step, Failure>) -> Decision {
    match step {
        Ok((after, lines)) => Decision::of(Change::Transfer(Box::new(after)), lines),
        Err(failure) => Decision::declined_with(failure, Change::Transfer(Box::new(before.clone()))),
    }
}

/// Whom a step of a transfer touches: everybody it names.
pub(super) fn touched(transfer: &Transfer) -> Needs {
    transfer.accounts().into_iter().cloned().map(Need::Account).collect()
}

/// What posting and voiding a transfer need: it, once it has expired if its time is over, and everybody it names.
pub(super) fn needs_to_end(transfer: OpId, found: &Found) -> Result<Needs, Missing> {
    Ok(match found.rounds {
        0 => to_step(transfer),
        1 => {
            let transfer = found.transfer(transfer)?;
            match expired(transfer, found)? {
                Some(expired) => smallvec![expired],
                None => touched(transfer),
            }
        }
        _ => Needs::new(),
    })
}

/// What a step of a transfer needs first.
pub(super) fn to_step(transfer: OpId) -> Needs {
    smallvec![Need::Turn(Turn::Object(transfer)), Need::Object(transfer), Need::Now]
}

/// The transfer has to expire first, where its time is over and the sweep has not come to it yet.
pub(super) fn expired(transfer: &Transfer, found: &Found) -> Result<Option<Need>, Missing> {
    let Some(due) = transfer.expires_at.filter(|_| transfer.status == TransferStatus::Held) else { return Ok(None) };
    Ok(found.now()?.is_over(due).then_some(Need::Expired(transfer.id, due)))
}
