//! RefundPayment: what a payment took goes back from its payee to the account that paid, in full or in part (P9).

use minicbor::{Decode, Encode};
use smallvec::smallvec;

use super::capture_payment::{parties, to_step};
use crate::{
    ledger::{
        bounds,
        body::{SameBody, Body, Defaults},
        decision::{Change, Decision},
        failure::{Failure, FailureCode},
        flow::{Effect, Event, Flow, Unexpected, decided},
        fx::PairPrice,
        life::Life,
        needs::{Found, House, Missing, Need, Needs, Party, Terms},
        owner::{Owned, Owner},
        payment::Payment,
        plan::{self, Plan},
        refund::{Refund, RefundRate, RefundStatus},
        settings::AccountStatus,
        steps::Share,
        value::Field,
    },
    money::{Money, OpId, OwnerId},
    planted::{Bug, is_planted},
};

/// How often prices of different rate sets are asked for again.
const REQUOTES_MAX: u8 = 2;

/// Give back what a payment took.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct RefundPayment {
    /// The payment.
    #[n(0)]
    pub payment: OpId,
    /// How much, in the payment's currency; all that was captured and not given back if not named.
    #[n(1)]
    pub amount: Option<Money>,
    /// At which rate.
    #[n(2)]
    pub rate: RefundRate,
}

impl RefundPayment {
    /// Where the money goes: the account that paid; if that is closed, another of its owner's. Nowhere if there is none.
    fn destination<'a>(payment: &Payment, found: &'a Found) -> Option<&'a Party> {
        match owner_if_closed(payment, found) {
            None => found.party(&payment.payer),
            Some(owner) => others(payment, owner, found).find_map(|owned| found.party(&owned.account)),
        }
    }
}

/// The accounts that may stand in for one that is closed: active ones in its currency, the default one first, then the
/// oldest; not the one that gives the money back.
fn others<'a>(payment: &'a Payment, owner: &'a Owner, found: &Found) -> impl Iterator<Item = &'a Owned> {
    let currency = found.party(&payment.payer).map(|payer| payer.currency);
    let fits = move |owned: &&Owned| {
        owned.status == AccountStatus::Active && Some(owned.currency) == currency && owned.account != payment.payee
    };
    owner.default_account().into_iter().chain(&owner.accounts).filter(fits)
}

/// The record of the payer's owner, if the account that paid is closed.
fn owner_if_closed<'a>(payment: &Payment, found: &'a Found) -> Option<&'a Owner> {
    let owner = found.owner(&found.owner_of(&payment.payer))?;
    let payer = owner.accounts.iter().find(|owned| owned.account == payment.payer)?;
    (payer.status == AccountStatus::Closed).then_some(&**owner)
}

impl Body for RefundPayment {
    fn check(&self, _: &House) -> Result<(), Missing> {
        self.amount.map_or(Ok(()), |amount| bounds::amount("amount", amount))
    }

    fn needs(&self, _: &Terms<'_>, found: &Found) -> Result<Needs, Missing> {
        if found.rounds == 0 {
            let mut needs = to_step(self.payment);
            needs.retain(|need| !is_planted(Bug::RefundWithoutATurn) || !matches!(need, Need::Turn(_)));
            return Ok(needs);
        }
        let (payment, _) = found.payment(self.payment)?;
        Ok(match found.rounds {
            1 => parties(payment),
            2 => smallvec![Need::Owner(found.owner_of(&payment.payer))],
            3 => {
                let owner = owner_if_closed(payment, found);
                let first = owner.and_then(|owner| others(payment, owner, found).next());
                first.map(|owned| Need::AccountIfOpen(owned.account.clone())).into_iter().collect()
            }
            _ => Needs::new(),
        })
    }

    fn runs_with(&self, found: &Found) -> OwnerId {
        found.customer_of_payment(self.payment)
    }

    fn begin(&self, terms: &Terms<'_>, found: &Found) -> Result<Box<dyn Flow>, Missing> {
        let (payment, life) = found.payment(self.payment)?;
        let destination = Self::destination(payment, found);
        let refund = Refund {
            id: terms.op,
            payment: payment.id,
            status: RefundStatus::Failed,
            amount: self.amount.unwrap_or_else(|| life.refundable()),
            rate: self.rate,
            source: payment.payee.clone(),
            destination: destination.map_or(&payment.payer, |party| &party.account).clone(),
            debited: None,
            credited: None,
            fx: Vec::new(),
        };
        let decline = |failure| decided(declined(failure, payment.clone(), refund.clone()));
        let amount = match payment.check_refund(life, self.amount) {
            Ok(amount) => amount,
            Err(failure) => return Ok(decline(failure)),
        };
        let (Some(destination), Some(payee)) = (destination, found.party(&payment.payee)) else {
            return Ok(decline(nowhere(payment)));
        };
        let flow = RefundFlow {
            before: payment.clone(),
            life: Box::new(life.clone()),
            refund: Refund { amount, ..refund },
            from: payee.clone(),
            to: destination.clone(),
            today: found.now()?.believed.utc_day(),
            waiting: Waiting::Start,
            requotes: 0,
        };
        Ok(Box::new(flow))
    }

    fn fields(&self) -> Vec<Field> {
        let Self { payment, amount, rate } = self;
        vec![("payment_id", (*payment).into()), ("amount", (*amount).into()), ("rate", rate.name().into())]
    }
}

impl SameBody for RefundPayment {
    fn spell_out(&mut self, defaults: &Defaults<'_>) {
        self.amount = self.amount.or_else(|| was_left(defaults.first));
    }
}

/// There is no account that could get the money.
fn nowhere(payment: &Payment) -> Failure {
    let message =
        format!("account {} is closed, and its owner has no other active account in its currency", payment.payer);
    Failure::new(FailureCode::RefundDestinationClosed, message)
}

/// A declined refund leaves the payment as it is.
fn declined(failure: Failure, payment: Payment, refund: Refund) -> Decision {
    let mut decision = Decision::declined_with(failure, Change::Payment(payment));
    decision.changes.push(Change::Refund(Box::new(refund)));
    decision
}

/// From prices, if it is at the rate of now, to the payer's account and then the payee's: money is held last.
#[derive(Debug)]
struct RefundFlow {
    before: Payment,
    life: Box<Life>,
    refund: Refund,
    from: Party,
    to: Party,
    today: u32,
    waiting: Waiting,
    requotes: u8,
}

#[derive(Debug)]
enum Waiting {
    Start,
    Prices,
    Payer(Share),
    Payee(Share),
    Nothing,
}

impl Flow for RefundFlow {
    fn on(&mut self, event: Event) -> Result<Effect, Unexpected> {
        Ok(match (event, std::mem::replace(&mut self.waiting, Waiting::Nothing)) {
            (Event::Start, Waiting::Start) => self.price(),
            (Event::Quoted(Ok(prices)), Waiting::Prices) => self.priced(&prices),
            (Event::Granted(Ok(())), Waiting::Payer(share)) => self.take_back(share),
            (Event::Granted(Ok(())), Waiting::Payee(share)) => self.done(share),
            // Closed since it was looked at.
            (Event::Granted(Err(failure)), Waiting::Payer(_)) if failure.code == FailureCode::AccountClosed => {
                self.declined(nowhere(&self.before))
            }
            (Event::Quoted(Err(failure)), Waiting::Prices)
            | (Event::Granted(Err(failure)), Waiting::Payer(_) | Waiting::Payee(_)) => self.declined(failure),
            (event, waiting) => return Err(event.unexpected(waiting.name())),
        })
    }
}

impl Waiting {
    fn name(&self) -> &'static str {
        match self {
            Self::Start => "its start",
            Self::Prices => "prices",
            Self::Payer(_) => "the payer",
            Self::Payee(_) => "the payee",
            Self::Nothing => "nothing",
        }
    }
}

impl RefundFlow {
    fn price(&mut self) -> Effect {
        let amount = self.refund.amount;
        if self.refund.rate == RefundRate::Original {
            return self.expect(self.before.share_of_refund(&self.life, amount));
        }
        let pairs = plan::pairs(amount.currency, self.from.currency, self.to.currency);
        if pairs.is_empty() {
            return self.expect(Share { out: amount, into: amount });
        }
        self.waiting = Waiting::Prices;
        Effect::Quote(pairs)
    }

    fn priced(&mut self, prices: &[Box<PairPrice>]) -> Effect {
        if !plan::is_of_one_book(prices) {
            if self.requotes < REQUOTES_MAX {
                self.requotes = self.requotes.saturating_add(1);
                return self.price();
            }
            let message = "rates changed while the refund was priced; try again with a new tx_id";
            return self.declined(Failure::new(FailureCode::FxRateStale, message));
        }
        match Plan::new(self.refund.amount, (self.from.currency, self.to.currency), prices) {
            Ok(Plan { debit, credit, legs }) => {
                self.refund.fx = legs.into_vec();
                self.expect(Share { out: debit, into: credit })
            }
            Err(failure) => self.declined(failure),
        }
    }

    /// Both are asked also where a part is so small that nothing reaches one: a frozen account takes no part.
    fn expect(&mut self, share: Share) -> Effect {
        self.waiting = Waiting::Payer(share);
        Effect::Expect(self.to.account.clone(), share.into)
    }

    fn take_back(&mut self, share: Share) -> Effect {
        self.waiting = Waiting::Payee(share);
        Effect::TakeBack(self.from.account.clone(), share.out)
    }

    fn done(&mut self, share: Share) -> Effect {
        let (amount, to) = (self.refund.amount, self.to.account.clone());
        let (after, lines) = self.before.refund(&self.life, amount, (share, to), self.today);
        let mut decision = Decision::of(Change::Payment(after), lines);
        let (debited, credited) = (Some(share.out), Some(share.into));
        let refund = Refund { status: RefundStatus::Completed, debited, credited, ..self.refund.clone() };
        decision.changes.push(Change::Refund(Box::new(refund)));
        Effect::Decide(Box::new(decision))
    }

    fn declined(&mut self, failure: Failure) -> Effect {
        Effect::Decide(Box::new(declined(failure, self.before.clone(), self.refund.clone())))
    }
}

/// What was captured and not given back before a refund was decided.
fn was_left(first: &Decision) -> Option<Money> {
    let life = first.payment()?.life.as_ref()?;
    life.refundable().checked_add(life.step.unwrap_or(Money::zero(life.amount.currency)))
}
