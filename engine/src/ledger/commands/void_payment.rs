//! VoidPayment: what is still set aside for a payment is freed (P9).

use minicbor::{Decode, Encode};
use smallvec::smallvec;

use super::capture_payment::{clients, expired, to_step};
use crate::{
    ledger::{
        body::{SameBody, Body},
        decision::{Change, Decision},
        flow::{Flow, decided},
        life::Life,
        needs::{Found, House, Missing, Needs, Terms},
        payment::Payment,
        steps::Ending,
        value::Field,
    },
    money::{OpId, OwnerId},
};

/// Free money that was set aside for a payment.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct VoidPayment {
    /// The payment.
    #[n(0)]
    pub payment: OpId,
}

impl Body for VoidPayment {
    fn check(&self, _: &House) -> Result<(), Missing> {
        Ok(())
    }

    fn needs(&self, _: &Terms<'_>, found: &Found) -> Result<Needs, Missing> {
        Ok(match found.rounds {
            0 => to_step(self.payment),
            1 => {
                let (payment, life) = found.payment(self.payment)?;
                match expired(payment, life, found)? {
                    Some(expired) => smallvec![expired],
                    None => clients(payment),
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
        Ok(ended(payment, life, Ending::Voided))
    }

    fn fields(&self) -> Vec<Field> {
        let Self { payment } = self;
        vec![("payment_id", (*payment).into())]
    }
}

impl SameBody for VoidPayment {}

/// Frees what is left. It asks nobody: money is always given back (P6).
pub(super) fn ended(payment: &Payment, life: &Life, ending: Ending) -> Box<dyn Flow> {
    decided(match payment.end(life, ending) {
        Ok((after, lines)) => Decision::of(Change::Payment(after), lines),
        Err(failure) => Decision::declined_with(failure, Change::Payment(payment.clone())),
    })
}
