//! ReverseOperation: a deposit, a withdrawal or a posted transfer is taken back, once (P12).

use minicbor::{Decode, Encode};
use smallvec::smallvec;

use super::create_transfer::{accounts, expired, to_step};
use crate::{
    ledger::{
        body::{SameBody, Body},
        decision::{Change, Decision},
        failure::Failure,
        flow::{Effect, Flow, ask, decided},
        needs::{Found, House, Missing, Need, Needs, Terms},
        operation::{Operation, OperationKind},
        reversal::Original,
        value::Field,
    },
    money::{OpId, OwnerId},
};

/// Take back what an operation moved.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ReverseOperation {
    /// The deposit, the withdrawal or the transfer.
    #[n(0)]
    pub operation: OpId,
}

impl Body for ReverseOperation {
    fn check(&self, _: &House) -> Result<(), Missing> {
        Ok(())
    }

    fn needs(&self, _: &Terms<'_>, found: &Found) -> Result<Needs, Missing> {
        Ok(match found.rounds {
            0 => to_step(self.operation),
            1 => {
                let original = found.original(self.operation)?;
                if let Original::Transfer(transfer) = &original
                    && let Some(expired) = expired(transfer, found)?
                {
                    return Ok(smallvec![expired]);
                }
                let clients = original.demands().into_iter().map(|(account, _)| Need::Account(account));
                let legs = original.legs_back();
                let house = legs.iter().find(|leg| leg.from.is_system() || leg.to.is_system());
                clients.chain(house.map(|leg| Need::System("world", leg.amount.currency))).collect()
            }
            _ => Needs::new(),
        })
    }

    fn runs_with(&self, found: &Found) -> OwnerId {
        let demands = found.original(self.operation).map(|original| original.demands()).unwrap_or_default();
        demands.first().map_or_else(OwnerId::system, |(account, _)| found.owner_of(account))
    }

    fn begin(&self, terms: &Terms<'_>, found: &Found) -> Result<Box<dyn Flow>, Missing> {
        let (original, reversal) = (found.original(self.operation)?, terms.op);
        if let Err(failure) = original.check() {
            return Ok(decided(declined(failure, original, reversal)));
        }
        let today = found.now()?.believed.utc_day();
        let demands = original.demands();
        let accounts = accounts(&demands);
        Ok(ask(Effect::Join(demands), move |event| {
            Ok(match event.joined()? {
                Err((n, failure)) => {
                    let failure = match accounts.get(n) {
                        Some(account) => original.refusal(account, failure),
                        None => failure,
                    };
                    declined(failure, original, reversal)
                }
                Ok(_) => {
                    let id = original.id();
                    let (change, lines) = original.reversed(reversal, today);
                    let mut decision = Decision::of(change, lines);
                    decision.changes.push(made(reversal, id, false));
                    decision
                }
            })
        }))
    }

    fn fields(&self) -> Vec<Field> {
        let Self { operation } = self;
        vec![("operation_id", (*operation).into())]
    }
}

impl SameBody for ReverseOperation {}

/// A declined reversal leaves the original as it is.
fn declined(failure: Failure, original: Original, reversal: OpId) -> Decision {
    let id = original.id();
    let mut decision = Decision::declined_with(failure, original.change());
    decision.changes.push(made(reversal, id, true));
    decision
}

fn made(reversal: OpId, of: OpId, is_declined: bool) -> Change {
    Change::Operation(Box::new(Operation::new(reversal, OperationKind::Reversal { of }, is_declined)))
}
