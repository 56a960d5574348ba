//! A payment's way from the risk verdict to its decision (P6, P7, P8).
//!
//! Order: the verdict begins it, then per candidate account quote (only across currencies), expect, hold. The first grant
//! wins and funds are never combined. Whatever is decided, declined too, ends in one entry.

use smallvec::SmallVec;

use crate::{
    ledger::{
        decision::{Change, Decision},
        failure::{Failure, FailureCode},
        flow::{Effect, Event, Flow, Unexpected},
        fx::PairPrice,
        life::{Authorization, Life},
        moves::moved,
        needs::Party,
        notes::Notes,
        payment::{Payment, PaymentStatus, Tried},
        plan::{self, Plan},
        risk::{Assessment, Reason, RiskDecision, Verdict},
        time::Timestamp,
    },
    money::{AccountId, Currency, Money, OpId, OwnerId, Posting, PostingKind},
};

/// How often two prices of different books are asked for again before the payment is declined.
const REQUOTES_MAX: u8 = 2;

/// All a payment is decided from.
#[derive(Debug, Clone)]
pub(super) struct PaymentOrder {
    /// The payment's id.
    pub(super) op: OpId,
    /// Who pays.
    pub(super) customer: OwnerId,
    /// What the payee asked for.
    pub(super) amount: Money,
    /// Who is credited.
    pub(super) payee: Party,
    /// Who may pay, in this order (P7); never empty.
    pub(super) candidates: SmallVec<[Party; 2]>,
    /// When what is set aside is freed, if it is captured by hand.
    pub(super) expires_at: Option<Timestamp>,
    /// The customer's default account: where a payment is filed that named somebody else's.
    pub(super) home: AccountId,
}

/// The flow.
#[derive(Debug)]
pub(super) struct PaymentFlow {
    order: PaymentOrder,
    waiting: Waiting,
    verdict: Verdict,
    candidate: usize,
    requotes: u8,
    /// What the payee agreed to take.
    expected: Option<Money>,
    tried: Vec<Tried>,
    last_failure: Option<Failure>,
}

/// Which answer comes next, and what it is for.
#[derive(Debug)]
enum Waiting {
    Verdict,
    /// Of the conversions for a payer's currency.
    Prices(Currency),
    Payee(Plan),
    /// Whether this account pays.
    Payer(AccountId, Plan),
    Nothing,
}

impl Waiting {
    fn name(&self) -> &'static str {
        match self {
            Self::Verdict => "a verdict",
            Self::Prices(_) => "prices",
            Self::Payee(_) => "the payee",
            Self::Payer(..) => "the payer",
            Self::Nothing => "nothing",
        }
    }
}

impl Flow for PaymentFlow {
    fn is_judged(&self) -> bool {
        true
    }

    fn assessment(&self, notes: &Notes) -> Option<Assessment> {
        let candidates = self.order.candidates.iter().map(|party| &party.account);
        Some(Assessment {
            customer: self.order.customer.clone(),
            amount: self.order.amount,
            accounts: candidates.chain([&self.order.payee.account]).cloned().collect(),
            notes: notes.clone(),
        })
    }

    /// Only a verdict begins a payment: one that nobody judged moves nothing.
    fn on(&mut self, event: Event) -> Result<Effect, Unexpected> {
        Ok(match (event, std::mem::replace(&mut self.waiting, Waiting::Nothing)) {
            (Event::Assessed(verdict), Waiting::Verdict) => self.assessed(verdict),
            (Event::Quoted(Ok(prices)), Waiting::Prices(payer)) => self.quoted(&prices, payer),
            (Event::Granted(Ok(())), Waiting::Payee(plan)) => self.hold(plan),
            (Event::Granted(Err(failure)), Waiting::Payee(_)) => self.failed(failure),
            (Event::Held(Ok(held_on)), Waiting::Payer(payer, plan)) => self.granted(payer, plan, held_on),
            (Event::Quoted(Err(failure)), Waiting::Prices(_)) | (Event::Held(Err(failure)), Waiting::Payer(..)) => {
                self.next_candidate(failure)
            }
            (event, waiting) => return Err(event.unexpected(waiting.name())),
        })
    }
}

impl PaymentFlow {
    /// A payment that has not begun.
    pub(super) fn new(order: PaymentOrder) -> Self {
        Self {
            order,
            waiting: Waiting::Verdict,
            verdict: Verdict::accept(),
            candidate: 0,
            requotes: 0,
            expected: None,
            tried: Vec::new(),
            last_failure: None,
        }
    }

    fn assessed(&mut self, verdict: Verdict) -> Effect {
        self.verdict = verdict;
        match self.verdict.decision {
            RiskDecision::Accept => self.try_candidate(),
            RiskDecision::Review => {
                self.verdict.reasons.push(Reason::ReviewUnavailable);
                self.rejected()
            }
            RiskDecision::Reject => self.rejected(),
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
        let (wanted, payer, payee) = (self.order.amount.currency, party.currency, self.order.payee.currency);
        if party.owner != self.order.customer {
            let message = format!("account {} is not {}'s", party.account, self.order.customer);
            return self.next_candidate(Failure::new(FailureCode::SourceNotOwned, message));
        }
        if party.account == self.order.payee.account {
            let message = format!("account {} cannot pay itself", party.account);
            return self.next_candidate(Failure::new(FailureCode::SameAccount, message));
        }
        let pairs = plan::pairs(wanted, payer, payee);
        if pairs.is_empty() {
            return self.expect(Plan::unconverted(self.order.amount));
        }
        self.waiting = Waiting::Prices(payer);
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

    fn quoted(&mut self, prices: &[Box<PairPrice>], payer: Currency) -> Effect {
        if !plan::is_of_one_book(prices) {
            if self.requotes < REQUOTES_MAX {
                self.requotes = self.requotes.saturating_add(1);
                return self.try_candidate();
            }
            let message = "rates changed while the payment was priced; try again with a new tx_id";
            return self.next_candidate(Failure::new(FailureCode::FxRateStale, message));
        }
        match Plan::new(self.order.amount, (payer, self.order.payee.currency), prices) {
            Ok(plan) => self.expect(plan),
            Err(failure) => self.next_candidate(failure),
        }
    }

    /// Expect comes before Hold, so that a hold lives only from its grant to its commit (P6).
    fn expect(&mut self, plan: Plan) -> Effect {
        let credit = plan.credit;
        if self.expected == Some(credit) {
            return self.hold(plan);
        }
        self.expected = Some(credit);
        self.waiting = Waiting::Payee(plan);
        Effect::Expect(self.order.payee.account.clone(), credit)
    }

    fn hold(&mut self, plan: Plan) -> Effect {
        // Past the last candidate nobody is left to ask, and the payment fails.
        let Some(party) = self.order.candidates.get(self.candidate) else { return self.try_candidate() };
        let (payer, debit) = (party.account.clone(), plan.debit);
        self.waiting = Waiting::Payer(payer.clone(), plan);
        Effect::Hold(payer, debit)
    }

    fn granted(&mut self, payer: AccountId, plan: Plan, held_on: u32) -> Effect {
        let payee = self.order.payee.account.clone();
        let to = Posting::new(payee.clone(), PostingKind::Credit, plan.credit);
        let (postings, life) = match self.order.expires_at {
            None => (moved(Posting::new(payer.clone(), PostingKind::Debit { held_on }, plan.debit), to, held_on), None),
            Some(expires_at) => {
                let amount = self.order.amount;
                let authorization = Authorization { left: plan.debit, held_on, expires_at };
                let life = Life::begin(amount, Money::zero(amount.currency), Some(authorization));
                let line = Posting::new(payer.clone(), PostingKind::Authorize { held_on }, plan.debit);
                (vec![line], Some(Box::new(life)))
            }
        };
        let is_captured = life.is_none();
        let payment = Payment {
            id: self.order.op,
            status: if is_captured { PaymentStatus::Captured } else { PaymentStatus::Authorized },
            payer,
            payee,
            debited: is_captured.then_some(plan.debit),
            credited: is_captured.then_some(plan.credit),
            fx: plan.legs.into_vec(),
            risk: self.take_verdict(),
            tried: std::mem::take(&mut self.tried),
            life,
        };
        Effect::Decide(Box::new(Decision::of(Change::Payment(payment), postings)))
    }

    fn failed(&mut self, failure: Failure) -> Effect {
        let last = self.candidate.min(self.order.candidates.len().saturating_sub(1));
        let owned = |party: &&Party| party.owner == self.order.customer;
        let payer = self.order.candidates.get(last).filter(owned).map_or(&self.order.home, |party| &party.account);
        let payment = Payment {
            id: self.order.op,
            status: PaymentStatus::Failed,
            payer: payer.clone(),
            payee: self.order.payee.account.clone(),
            debited: None,
            credited: None,
            fx: Vec::new(),
            risk: self.take_verdict(),
            tried: std::mem::take(&mut self.tried),
            life: None,
        };
        Effect::Decide(Box::new(Decision::declined_with(failure, Change::Payment(payment))))
    }

    fn take_verdict(&mut self) -> Verdict {
        let empty = Verdict { decision: self.verdict.decision, score: self.verdict.score, ..Verdict::accept() };
        std::mem::replace(&mut self.verdict, empty)
    }
}
