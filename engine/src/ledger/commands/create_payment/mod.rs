//! CreatePayment: pay an amount to the payee from one of the customer's accounts (P6, P7, P8).
//!
//! Here is what it asks for and needs; its way from verdict to decision is in `flow`.

mod flow;

use std::time::Duration;

use minicbor::{Decode, Encode};
use smallvec::SmallVec;

use self::flow::{PaymentFlow, PaymentOrder};
use crate::{
    ledger::{
        bounds,
        body::{SameBody, Body, Defaults},
        flow::Flow,
        needs::{Found, House, Missing, Need, Needs, Party, Terms},
        owner::Owner,
        value::Field,
    },
    money::{AccountId, Currency, Money, OwnerId},
};

/// Pay an amount.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct CreatePayment {
    /// Who pays.
    #[n(0)]
    pub customer: OwnerId,
    /// What the payee asked for, in its currency.
    #[n(1)]
    pub amount: Money,
    /// The only account that may pay, if named.
    #[n(2)]
    pub source: Option<AccountId>,
    /// The payee's account; the house merchant's if not named.
    #[n(3)]
    pub destination: Option<AccountId>,
    /// Money is set aside only, and captured later by the client's own commands.
    #[n(4)]
    pub manual: Option<Manual>,
}

/// A payment that is captured by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Manual {
    /// How long money is set aside; the configured time if not named.
    #[n(0)]
    pub expires_in: Option<Duration>,
}

impl CreatePayment {
    /// The account that is credited.
    fn payee<'a>(&'a self, found: &'a Found, house: &House) -> Result<&'a AccountId, Missing> {
        if let Some(destination) = &self.destination {
            return Ok(destination);
        }
        let unknown = || Missing::unknown("house merchant", &house.merchant);
        let merchant = found.owner(&house.merchant).ok_or_else(unknown)?;
        House::account_of(merchant, self.amount.currency).ok_or_else(unknown)
    }

    fn customer<'a>(&self, found: &'a Found) -> Result<&'a Owner, Missing> {
        let customer = found.owner(&self.customer).filter(|owner| owner.exists());
        customer.map(|owner| &**owner).ok_or_else(|| Missing::unknown("customer", &self.customer))
    }

    /// Who may pay, in this order (P7). One whose opening is durable and not yet handed over is passed over: nobody was
    /// told of it.
    fn candidates(&self, found: &Found) -> Result<SmallVec<[Party; 2]>, Missing> {
        let party = |id: &AccountId| found.party(id).cloned();
        let candidates: SmallVec<[Party; 2]> = match &self.source {
            Some(source) => party(source).into_iter().collect(),
            None => {
                let owned = self.customer(found)?.candidates(self.amount.currency);
                owned.filter_map(|owned| party(&owned.account)).collect()
            }
        };
        if candidates.is_empty() { Err(Missing::unknown("customer", &self.customer)) } else { Ok(candidates) }
    }
}

impl Body for CreatePayment {
    fn check(&self, house: &House) -> Result<(), Missing> {
        bounds::amount("amount", self.amount)?;
        let lifetime = self.manual.and_then(|manual| manual.expires_in);
        lifetime.map_or(Ok(()), |lifetime| bounds::lifetime("expires_in", lifetime, house.authorization_max))
    }

    fn needs(&self, terms: &Terms<'_>, found: &Found) -> Result<Needs, Missing> {
        let mut needs = Needs::new();
        match found.rounds {
            0 => {
                needs.push(Need::Owner(self.customer.clone()));
                needs.extend(self.manual.map(|_| Need::Now));
            }
            1 => {
                let customer = self.customer(found)?;
                match &self.source {
                    Some(source) => needs.push(Need::Account(source.clone())),
                    None => {
                        let owned = customer.candidates(self.amount.currency);
                        needs.extend(owned.map(|owned| Need::AccountIfOpen(owned.account.clone())));
                    }
                }
                needs.push(match &self.destination {
                    Some(destination) => Need::Account(destination.clone()),
                    None => Need::Owner(terms.house.merchant.clone()),
                });
            }
            2 if self.destination.is_none() => {
                self.candidates(found)?;
                needs.push(Need::Account(self.payee(found, terms.house)?.clone()));
            }
            2 | 3 => {
                let payee = self.payee(found, terms.house)?;
                let payee = found.party(payee).ok_or(Missing::NotAsked("the payee"))?;
                needs.extend(desks(&self.candidates(found)?, payee).into_iter().map(|ccy| Need::System("fx", ccy)));
            }
            _ => {}
        }
        Ok(needs)
    }

    fn runs_with(&self, _: &Found) -> OwnerId {
        self.customer.clone()
    }

    fn begin(&self, terms: &Terms<'_>, found: &Found) -> Result<Box<dyn Flow>, Missing> {
        let customer = self.customer(found)?;
        let home = customer.default_account().or(customer.accounts.first()).map(|owned| owned.account.clone());
        let payee = self.payee(found, terms.house)?;
        let expires_at = match self.manual {
            None => None,
            Some(manual) => {
                let lifetime = manual.expires_in.unwrap_or(terms.house.authorization_default);
                Some(found.now()?.begins.plus(lifetime))
            }
        };
        Ok(Box::new(PaymentFlow::new(PaymentOrder {
            op: terms.op,
            customer: self.customer.clone(),
            amount: self.amount,
            payee: found.party(payee).cloned().ok_or(Missing::NotAsked("the payee"))?,
            candidates: self.candidates(found)?,
            expires_at,
            home: home.ok_or_else(|| Missing::unknown("customer", &self.customer))?,
        })))
    }

    fn house_payee(&self) -> Option<Currency> {
        self.destination.is_none().then_some(self.amount.currency)
    }

    fn fields(&self) -> Vec<Field> {
        let Self { customer, amount, source, destination, manual } = self;
        let method = if manual.is_some() { "MANUAL" } else { "AUTOMATIC" };
        vec![
            ("customer_id", customer.into()),
            ("amount", (*amount).into()),
            ("source_account", source.as_ref().into()),
            ("destination_account", destination.as_ref().into()),
            ("capture_method", method.into()),
            ("expires_in", manual.and_then(|manual| manual.expires_in).into()),
        ]
    }
}

impl SameBody for CreatePayment {
    fn spell_out(&mut self, defaults: &Defaults<'_>) {
        self.destination = self.destination.take().or_else(|| defaults.payee.cloned());
        if let Some(manual) = &mut self.manual {
            manual.expires_in = manual.expires_in.or(Some(defaults.house.authorization_default));
        }
    }
}

/// The currencies whose desk accounts the payment may post to.
fn desks(candidates: &[Party], payee: &Party) -> SmallVec<[Currency; 3]> {
    let mut currencies: SmallVec<[Currency; 3]> = SmallVec::new();
    for party in candidates.iter().filter(|party| party.currency != payee.currency) {
        for currency in [party.currency, payee.currency] {
            if !currencies.contains(&currency) {
                currencies.push(currency);
            }
        }
    }
    currencies
}
