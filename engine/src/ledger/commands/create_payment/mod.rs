//! CreatePayment: pay an amount to the payee from one of the customer's accounts (P6, P7, P8).
//!
//! Here is what it asks for and needs; its way from verdict to decision is in `flow`.

mod flow;

use std::time::Duration;

use minicbor::{Decode, Encode};
use smallvec::{SmallVec, smallvec};

use self::flow::{FeeOrder, PartOrder, PaymentFlow, PaymentOrder};
use crate::{
    ledger::{
        bounds,
        body::{SameBody, Body, Defaults},
        flow::Flow,
        needs::{Found, House, Missing, Need, Needs, Party, Terms},
        owner::Owner,
        splits::{Division, Sharing, Split, Unsound},
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
    /// Who shares the amount, and what the house takes of it, if not all goes to one payee.
    #[n(5)]
    pub sharing: Option<Box<Sharing>>,
}

/// A payment that is captured by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Manual {
    /// How long money is set aside; the configured time if not named.
    #[n(0)]
    pub expires_in: Option<Duration>,
}

impl CreatePayment {
    /// Who shares the amount; nobody if it has one payee.
    fn splits(&self) -> &[Split] {
        self.sharing.as_ref().map_or(&[], |sharing| &sharing.splits)
    }

    /// The accounts that are credited.
    fn payees<'a>(&'a self, found: &'a Found, house: &House) -> Result<SmallVec<[&'a AccountId; 1]>, Missing> {
        match self.splits() {
            [] => Ok(smallvec![self.payee(found, house)?]),
            splits => Ok(splits.iter().map(|split| &split.destination).collect()),
        }
    }

    /// The account that is credited where there is one.
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

    /// Who gets what, in the payment's currency, the fee last; a sharing that does not add up is refused.
    fn division(&self) -> Result<Division, Missing> {
        let alone = || Division { parts: vec![self.amount.minor], fee: None, carrier: 0 };
        let unsound = |Unsound { at, rule }| Missing::OutOfBounds { field: at.field(), rule: format!("{at} {rule}") };
        self.sharing.as_ref().map_or_else(|| Ok(alone()), |sharing| sharing.divide(self.amount).map_err(unsound))
    }

    fn parts(&self, found: &Found, house: &House) -> Result<SmallVec<[PartOrder; 1]>, Missing> {
        let money = |minor| Money::new(minor, self.amount.currency);
        let Some(sharing) = &self.sharing else {
            let party = payee_of(found, self.payee(found, house)?)?;
            return Ok(smallvec![PartOrder { party, amount: self.amount, reference: String::new() }]);
        };
        let references = sharing.splits.iter().map(|split| split.reference.clone()).chain([String::new()]);
        let parts = self.payees(found, house)?.into_iter().zip(self.division()?.parts).zip(references);
        let parts = parts.map(|((account, minor), reference)| {
            Ok(PartOrder { party: payee_of(found, account)?, amount: money(minor), reference })
        });
        parts.collect()
    }

    fn fee(&self) -> Result<Option<FeeOrder>, Missing> {
        let Some(_) = &self.sharing else { return Ok(None) };
        let Division { fee, carrier, .. } = self.division()?;
        Ok(fee.map(|minor| FeeOrder { amount: Money::new(minor, self.amount.currency), carrier }))
    }
}

impl Body for CreatePayment {
    fn check(&self, house: &House) -> Result<(), Missing> {
        bounds::amount("amount", self.amount)?;
        self.division()?;
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
                match (self.splits(), &self.destination) {
                    ([], Some(destination)) => needs.push(Need::Account(destination.clone())),
                    ([], None) => needs.push(Need::Owner(terms.house.merchant.clone())),
                    (splits, _) => needs.extend(splits.iter().map(|split| Need::Account(split.destination.clone()))),
                }
            }
            2 if self.house_payee().is_some() => {
                self.candidates(found)?;
                needs.push(Need::Account(self.payee(found, terms.house)?.clone()));
            }
            2 | 3 => {
                let payees = self.payees(found, terms.house)?;
                let currency = |payee: &&AccountId| payee_of(found, payee).map(|party| party.currency);
                let fee = self.sharing.as_ref().and_then(|sharing| sharing.fee).map(|_| self.amount.currency);
                // Several are each converted from the payment's currency, one alone at the middle.
                let wanted = (payees.len() > 1).then_some(self.amount.currency).or(fee);
                let payees = payees.iter().map(currency).chain(wanted.map(Ok));
                let payees = payees.collect::<Result<SmallVec<[_; 2]>, _>>()?;
                needs.extend(desks(&self.candidates(found)?, &payees).into_iter().map(|ccy| Need::System("fx", ccy)));
                needs.extend(fee.map(|currency| Need::System("fees", currency)));
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
            parts: self.parts(found, terms.house)?,
            fee: self.fee()?,
            is_shared: self.sharing.is_some(),
            candidates: self.candidates(found)?,
            expires_at,
            home: home.ok_or_else(|| Missing::unknown("customer", &self.customer))?,
        })))
    }

    fn house_payee(&self) -> Option<Currency> {
        (self.destination.is_none() && self.splits().is_empty()).then_some(self.amount.currency)
    }

    fn fields(&self) -> Vec<Field> {
        let Self { customer, amount, source, destination, manual, sharing } = self;
        let [splits, fee] = Sharing::fields(sharing.as_deref());
        let method = if manual.is_some() { "MANUAL" } else { "AUTOMATIC" };
        vec![
            ("customer_id", customer.into()),
            ("amount", (*amount).into()),
            ("source_account", source.as_ref().into()),
            ("destination_account", destination.as_ref().into()),
            ("capture_method", method.into()),
            ("expires_in", manual.and_then(|manual| manual.expires_in).into()),
            splits,
            fee,
        ]
    }
}

impl SameBody for CreatePayment {
    fn spell_out(&mut self, defaults: &Defaults<'_>) {
        if self.house_payee().is_some() {
            self.destination = defaults.payee.cloned();
        }
        if let Some(manual) = &mut self.manual {
            manual.expires_in = manual.expires_in.or(Some(defaults.house.authorization_default));
        }
    }
}

fn payee_of(found: &Found, account: &AccountId) -> Result<Party, Missing> {
    found.party(account).cloned().ok_or(Missing::NotAsked("a payee"))
}

/// The currencies whose desk accounts the payment may post to.
fn desks(candidates: &[Party], payees: &[Currency]) -> SmallVec<[Currency; 3]> {
    let mut currencies: SmallVec<[Currency; 3]> = SmallVec::new();
    for party in candidates.iter().filter(|party| payees.iter().any(|payee| *payee != party.currency)) {
        for currency in std::iter::once(&party.currency).chain(payees) {
            if !currencies.contains(currency) {
                currencies.push(*currency);
            }
        }
    }
    currencies
}
