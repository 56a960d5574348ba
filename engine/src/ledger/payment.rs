//! A payment: its record, and the flow from risk to entry (P6, P7, P8).
//!
//! Order: the verdict begins it, then per candidate account quote (only across currencies), expect, hold. The first grant wins and
//! funds are never combined. Whatever is decided, declined too, ends in one entry.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::{
    entry::{Entry, Outcome},
    failure::{Failure, FailureCode},
    flow::{Effect, Event, Party},
    fx::{FxLeg, LegSide, Pair, PairPrice},
    request::{CreatePayment, Notes, Request},
    risk::{Assessment, Counts, Decision, Reason, Verdict},
};
use crate::money::{AccountId, Money, OpId, OwnerId, Posting, PostingKind, TenantId, TxId};

/// How often two prices of different books are asked for again before the payment is declined.
const REQUOTES_MAX: u8 = 2;

/// Where a payment stands. Wire values for later states are reserved in the protos (P9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PaymentStatus {
    /// Money moved.
    Captured,
    /// Declined; nothing moved.
    Failed,
}

/// A candidate that did not pay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// The account.
    pub account: AccountId,
    /// Why not.
    pub code: FailureCode,
}

/// A payment as it is after an entry; who and how much is in the entry's request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// Its id.
    pub id: OpId,
    /// Where it stands.
    pub status: PaymentStatus,
    /// The account that paid, or the last that was to.
    pub payer: AccountId,
    /// The account that was credited, or was to be.
    pub payee: AccountId,
    /// What the payer was debited.
    pub debited: Option<Money>,
    /// What the payee was credited.
    pub credited: Option<Money>,
    /// Conversions, payer's first.
    pub fx: Vec<FxLeg>,
    /// What the risk rules said.
    pub risk: Verdict,
    /// Why it was declined.
    pub failure: Option<Failure>,
    /// Every candidate that did not pay.
    pub tried: Vec<Tried>,
}

impl Payment {
    /// What it says of its customer to the risk rules (P14). What failed by the house's doing (rates, limits and freezes
    /// it set, the rules themselves) or the payee's says nothing.
    pub fn counts(&self) -> Counts {
        let Some(failure) = &self.failure else { return Counts::LetThrough };
        let is_customers = match failure.code {
            FailureCode::InsufficientFunds | FailureCode::SourceNotOwned => true,
            FailureCode::RiskRejected
            | FailureCode::AccountFrozen
            | FailureCode::AccountClosed
            | FailureCode::DailyLimitExceeded
            | FailureCode::CurrencyMismatch
            | FailureCode::AccountLimitExceeded
            | FailureCode::FxRateUnavailable
            | FailureCode::FxRateStale
            | FailureCode::AmountTooSmall
            | FailureCode::AmountTooLarge
            | FailureCode::SameAccount
            | FailureCode::AccountExists
            | FailureCode::AccountNotEmpty
            | FailureCode::TooManyAccounts
            | FailureCode::ReservationNotActive
            | FailureCode::AmountExceedsReservation
            | FailureCode::DestinationRequired
            | FailureCode::TooManyPairs => false,
        };
        if is_customers { Counts::Declined } else { Counts::Nothing }
    }
}

/// All a payment is decided from.
#[derive(Debug, Clone)]
pub struct PaymentOrder {
    /// Whose.
    pub tenant: TenantId,
    /// The payment's id.
    pub op: OpId,
    /// The client's key.
    pub tx_id: TxId,
    /// What was asked.
    pub request: CreatePayment,
    /// What came with it.
    pub notes: Notes,
    /// Who is credited.
    pub payee: Party,
    /// Who may pay, in this order (P7); never empty.
    pub candidates: SmallVec<[Party; 2]>,
    /// The customer's default account: where a payment is filed that named somebody else's.
    pub home: AccountId,
}

/// What one candidate would be debited, the payee credited, and the conversions between.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Plan {
    debit: Money,
    credit: Money,
    legs: SmallVec<[FxLeg; 2]>,
}

/// The flow. `Waiting` says which answer comes next.
#[derive(Debug)]
pub struct PaymentFlow {
    order: PaymentOrder,
    waiting: Waiting,
    verdict: Verdict,
    candidate: usize,
    requotes: u8,
    plan: Option<Plan>,
    /// What the payee agreed to take.
    expected: Option<Money>,
    tried: Vec<Tried>,
    last_failure: Option<Failure>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    Verdict,
    Prices,
    Payee,
    Payer,
}

impl PaymentFlow {
    /// A payment that has not begun.
    pub fn new(order: PaymentOrder) -> Self {
        Self {
            order,
            waiting: Waiting::Verdict,
            verdict: Verdict { decision: Decision::Accept, score: 0, reasons: Vec::new() },
            candidate: 0,
            requotes: 0,
            plan: None,
            expected: None,
            tried: Vec::new(),
            last_failure: None,
        }
    }

    /// The next effect.
    pub fn on(&mut self, event: Event) -> Effect {
        match (event, self.waiting) {
            // Only a verdict begins a payment: one that nobody judged moves nothing.
            (Event::Start, _) => self.rejected(),
            (Event::Assessed(verdict), _) => self.assessed(verdict),
            (Event::Quoted(Ok(prices)), _) => self.quoted(&prices),
            (Event::Granted(Ok(())), Waiting::Payee) => self.hold(),
            (Event::Held(Ok(held_on)), _) => self.captured(held_on),
            // A payment asks a payer only to hold and never for a change.
            (Event::Granted(Ok(())) | Event::Changed(Ok(_)), _) => self.try_candidate(),
            (Event::Granted(Err(failure)), Waiting::Payee) => self.failed(failure),
            (
                Event::Held(Err(failure))
                | Event::Granted(Err(failure))
                | Event::Quoted(Err(failure))
                | Event::Changed(Err(failure)),
                _,
            ) => self.next_candidate(failure),
        }
    }

    /// Who pays.
    pub fn customer(&self) -> &OwnerId {
        &self.order.request.customer
    }

    /// What the risk rules are asked.
    pub fn assessment(&self) -> Assessment {
        let order = &self.order;
        let candidates = order.candidates.iter().map(|party| &party.account);
        Assessment {
            customer: order.request.customer.clone(),
            amount: order.request.amount,
            accounts: candidates.chain([&order.payee.account]).cloned().collect(),
            notes: order.notes.clone(),
        }
    }

    fn assessed(&mut self, verdict: Verdict) -> Effect {
        self.verdict = verdict;
        match self.verdict.decision {
            Decision::Accept => self.try_candidate(),
            Decision::Review => {
                self.verdict.reasons.push(Reason::ReviewUnavailable);
                self.rejected()
            }
            Decision::Reject => self.rejected(),
        }
    }

    fn rejected(&mut self) -> Effect {
        let reasons: Vec<_> = self.verdict.reasons.iter().map(|reason| reason.name()).collect();
        self.failed(Failure::new(
            FailureCode::RiskRejected,
            format!("risk score {}: {}", self.verdict.score, reasons.join(", ")),
        ))
    }

    /// Begins with the current candidate: prices first if currencies differ.
    fn try_candidate(&mut self) -> Effect {
        let Some(party) = self.order.candidates.get(self.candidate) else {
            let failure = self.last_failure.take().unwrap_or_else(|| {
                Failure::new(FailureCode::SameAccount, "no account of the customer but the payee's own could pay")
            });
            return self.failed(failure);
        };
        let (wanted, payer, payee) = (self.order.request.amount.currency, party.currency, self.order.payee.currency);
        if party.owner != self.order.request.customer {
            let message = format!("account {} is not {}'s", party.account, self.order.request.customer);
            return self.next_candidate(Failure::new(FailureCode::SourceNotOwned, message));
        }
        if party.account == self.order.payee.account {
            let message = format!("account {} cannot pay itself", party.account);
            return self.next_candidate(Failure::new(FailureCode::SameAccount, message));
        }
        let mut pairs: SmallVec<[Pair; 2]> = SmallVec::new();
        for quote in [payer, payee] {
            let pair = Pair { base: wanted, quote };
            if quote != wanted && !pairs.contains(&pair) {
                pairs.push(pair);
            }
        }
        if pairs.is_empty() {
            let amount = self.order.request.amount;
            return self.expect(Plan { debit: amount, credit: amount, legs: SmallVec::new() });
        }
        self.waiting = Waiting::Prices;
        Effect::Quote(pairs)
    }

    fn next_candidate(&mut self, failure: Failure) -> Effect {
        if let Some(party) = self.order.candidates.get(self.candidate) {
            self.tried.push(Tried { account: party.account.clone(), code: failure.code });
        }
        self.last_failure = Some(failure);
        self.candidate = self.candidate.saturating_add(1);
        self.try_candidate()
    }

    fn quoted(&mut self, prices: &[Box<PairPrice>]) -> Effect {
        let one_book = prices.windows(2).all(|two| match two {
            [a, b] => a.book_version == b.book_version,
            _ => true,
        });
        if !one_book {
            if self.requotes < REQUOTES_MAX {
                self.requotes = self.requotes.saturating_add(1);
                return self.try_candidate();
            }
            let message = "rates changed while the payment was priced; try again with a new tx_id";
            return self.next_candidate(Failure::new(FailureCode::FxRateStale, message));
        }
        match self.plan_with(prices) {
            Ok(plan) => self.expect(plan),
            Err(failure) => self.next_candidate(failure),
        }
    }

    /// `debit = up(amount x ask)`, `credit = down(amount x bid)`, identity where equal; one conversion at mid where
    /// payer and payee hold one currency and the amount is in another.
    fn plan_with(&self, prices: &[Box<PairPrice>]) -> Result<Plan, Failure> {
        let amount = self.order.request.amount;
        let payer = self.order.candidates.get(self.candidate).map_or(amount.currency, |party| party.currency);
        let payee = self.order.payee.currency;
        let price = |quote| {
            let unpriced = || Failure::new(FailureCode::FxRateUnavailable, format!("{quote} was not priced"));
            prices.iter().find(|price| price.pair.quote == quote).ok_or_else(unpriced)
        };
        let mut legs = SmallVec::new();
        if payer == payee {
            legs.push(price(payer)?.convert(amount, LegSide::Both)?);
        } else {
            for (quote, side) in [(payer, LegSide::Payer), (payee, LegSide::Payee)] {
                if quote != amount.currency {
                    legs.push(price(quote)?.convert(amount, side)?);
                }
            }
        }
        let converted = |side| {
            legs.iter().find(|leg: &&FxLeg| leg.side == side || leg.side == LegSide::Both).map_or(amount, |leg| leg.to)
        };
        Ok(Plan { debit: converted(LegSide::Payer), credit: converted(LegSide::Payee), legs })
    }

    /// Expect comes before Hold, so that a hold lives only from its grant to its commit (P6).
    fn expect(&mut self, plan: Plan) -> Effect {
        let credit = plan.credit;
        self.plan = Some(plan);
        if self.expected == Some(credit) {
            return self.hold();
        }
        self.expected = Some(credit);
        self.waiting = Waiting::Payee;
        Effect::Expect(self.order.payee.account.clone(), credit)
    }

    fn hold(&mut self) -> Effect {
        self.waiting = Waiting::Payer;
        match (self.order.candidates.get(self.candidate), &self.plan) {
            (Some(party), Some(plan)) => Effect::Hold(party.account.clone(), plan.debit),
            _ => self.try_candidate(),
        }
    }

    fn captured(&mut self, held_on: u32) -> Effect {
        let (Some(party), Some(plan)) = (self.order.candidates.get(self.candidate), self.plan.take()) else {
            return self.try_candidate();
        };
        let (payer, payee) = (party.account.clone(), self.order.payee.account.clone());
        let mut postings = Vec::with_capacity(if plan.debit.currency == plan.credit.currency { 2 } else { 4 });
        postings.push(Posting::new(payer.clone(), PostingKind::Debit { held_on }, plan.debit));
        if plan.debit.currency != plan.credit.currency {
            let desk = |currency| AccountId::system("fx", currency);
            postings.push(Posting::new(desk(plan.debit.currency), PostingKind::Credit, plan.debit));
            postings.push(Posting::new(desk(plan.credit.currency), PostingKind::Debit { held_on }, plan.credit));
        }
        postings.push(Posting::new(payee.clone(), PostingKind::Credit, plan.credit));
        let payment = Payment {
            id: self.order.op,
            status: PaymentStatus::Captured,
            payer,
            payee,
            debited: Some(plan.debit),
            credited: Some(plan.credit),
            fx: plan.legs.into_vec(),
            risk: self.take_verdict(),
            failure: None,
            tried: std::mem::take(&mut self.tried),
        };
        self.append(payment, postings)
    }

    fn failed(&mut self, failure: Failure) -> Effect {
        let last = self.candidate.min(self.order.candidates.len().saturating_sub(1));
        let owned = |party: &&Party| party.owner == self.order.request.customer;
        let payer = self.order.candidates.get(last).filter(owned).map_or(&self.order.home, |party| &party.account);
        let payer = payer.clone();
        let payment = Payment {
            id: self.order.op,
            status: PaymentStatus::Failed,
            payer,
            payee: self.order.payee.account.clone(),
            debited: None,
            credited: None,
            fx: Vec::new(),
            risk: self.take_verdict(),
            failure: Some(failure),
            tried: std::mem::take(&mut self.tried),
        };
        self.append(payment, Vec::new())
    }

    fn take_verdict(&mut self) -> Verdict {
        let empty = Verdict { decision: self.verdict.decision, score: self.verdict.score, reasons: Vec::new() };
        std::mem::replace(&mut self.verdict, empty)
    }

    fn append(&mut self, payment: Payment, postings: Vec<Posting>) -> Effect {
        Effect::Append(Arc::new(Entry {
            tenant: self.order.tenant,
            op: self.order.op,
            tx_id: self.order.tx_id.clone(),
            request: Request::CreatePayment(self.order.request.clone()),
            notes: std::mem::take(&mut self.order.notes),
            outcome: Outcome::Payment(payment),
            postings,
        }))
    }
}
