//! CapturePayment: money that a payment set aside goes to its payee, in full or in part (P9).

use minicbor::{Decode, Encode};
use smallvec::smallvec;

use crate::{
    ledger::{
        bounds,
        body::{SameBody, Body, Defaults},
        decision::{Change, Decision},
        flow::{Effect, Flow, ask, decided},
        life::Life,
        needs::{Found, House, Missing, Need, Needs, Terms, Turn},
        payment::{Payment, PaymentStatus},
        reservation::Finality,
        value::Field,
    },
    money::{Money, OpId, OwnerId},
};

/// Take money that was set aside for a payment.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct CapturePayment {
    /// The payment.
    #[n(0)]
    pub payment: OpId,
    /// How much, in the payment's currency; all that is left if not named.
    #[n(1)]
    pub amount: Option<Money>,
    /// Whether what is left afterwards is freed.
    #[n(2)]
    pub finality: Finality,
}

impl Body for CapturePayment {
    fn check(&self, _: &House) -> Result<(), Missing> {
        self.amount.map_or(Ok(()), |amount| bounds::amount("amount", amount))
    }

    fn needs(&self, _: &Terms<'_>, found: &Found) -> Result<Needs, Missing> {
        Ok(match found.rounds {
            0 => to_step(self.payment),
            1 => {
                let (payment, life) = found.payment(self.payment)?;
                match expired(payment, life, found)? {
                    Some(expired) => smallvec![expired],
                    None => parties(payment),
                }
            }
            _ => Needs::new(),
        })
    }

    fn runs_with(&self, found: &Found) -> OwnerId {
        found.customer_of_payment(self.payment)
    }

    fn begin(&self, _: &Terms<'_>, found: &Found) -> Result<Box<dyn Flow>, Missing> {
        let (payment, life) = found.payment(self.payment)?;
        let amount = match payment.check_capture(life, self.amount) {
            Ok(amount) => amount,
            Err(failure) => {
                return Ok(decided(Decision::declined_with(failure, Change::Payment(payment.clone()))));
            }
        };
        let (asked, today) = (payment.movement_of_capture(life, amount).by_account(), found.now()?.believed.utc_day());
        let (before, life, finality) = (payment.clone(), life.clone(), self.finality);
        let decide = move |granted: Result<(), _>| {
            match granted.and_then(|()| before.capture(&life, amount, finality, today)) {
                Ok((after, lines)) => Decision::of(Change::Payment(after), lines),
                Err(failure) => Decision::declined_with(failure, Change::Payment(before)),
            }
        };
        // Also where a part is so small that nothing of it reaches its payee: a frozen account takes no part.
        Ok(ask(Effect::Expect(asked), move |event| Ok(decide(event.granted()?))))
    }

    fn fields(&self) -> Vec<Field> {
        let Self { payment, amount, finality } = self;
        vec![
            ("payment_id", (*payment).into()),
            ("amount", (*amount).into()),
            ("final", (*finality == Finality::Final).into()),
        ]
    }
}

impl SameBody for CapturePayment {
    fn spell_out(&mut self, defaults: &Defaults<'_>) {
        self.amount = self.amount.or_else(|| was_left(defaults.first));
    }
}

/// What was left to capture before a capture was decided.
fn was_left(first: &Decision) -> Option<Money> {
    let payment = first.payment()?;
    let life = payment.life.as_ref()?;
    match life.step {
        Some(step) => life.amount.checked_sub(life.captured)?.checked_add(step),
        None => Some(payment.capturable(life)),
    }
}

/// What a step in the life of a payment needs first.
pub(super) fn to_step(payment: OpId) -> Needs {
    smallvec![Need::Turn(Turn::Object(payment)), Need::Object(payment), Need::Now]
}

/// The payment has to expire first, where its time is over and the sweep has not come to it yet.
pub(super) fn expired(payment: &Payment, life: &Life, found: &Found) -> Result<Option<Need>, Missing> {
    let Some(authorization) = life.authorization.as_ref().filter(|_| payment.status == PaymentStatus::Authorized) else {
        return Ok(None);
    };
    let due = authorization.expires_at;
    Ok(found.now()?.is_over(due).then_some(Need::Expired(payment.id, due)))
}

/// Payer and payees, who are named by what is set aside.
pub(super) fn clients(payment: &Payment) -> Needs {
    std::iter::once(&payment.payer).chain(payment.payees()).cloned().map(Need::Account).collect()
}

/// Everybody whom a step may move money of: payer, payees, the desk where there are conversions, and the house's fees.
pub(super) fn parties(payment: &Payment) -> Needs {
    let mut parties = clients(payment);
    for leg in &payment.fx {
        parties.push(Need::System("fx", leg.from.currency));
        parties.push(Need::System("fx", leg.to.currency));
    }
    let fee = payment.shared.as_ref().and_then(|shared| shared.fee.as_ref());
    parties.extend(fee.map(|fee| Need::System("fees", fee.part.amount.currency)));
    parties
}
