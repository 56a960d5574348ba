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
        moves::{ByAccount, add, fees_of, moved},
        needs::Party,
        notes::Notes,
        parts::{FeePart, Part, Parts, at_ask},
        payment::{Payment, PaymentStatus, Tried},
        plan::{self, Plan},
        risk::{Assessment, Reason, RiskDecision, Verdict},
        time::Timestamp,
    },
    money::{AccountId, Currency, Money, OpId, OwnerId, Posting, PostingKind, Rate},
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
    /// Who is credited, with how much of it; never empty.
    pub(super) parts: SmallVec<[PartOrder; 1]>,
    /// What the house takes.
    pub(super) fee: Option<FeeOrder>,
    /// Whether its parts are told apart: it has splits or a fee.
    pub(super) is_shared: bool,
    /// Who may pay, in this order (P7); never empty.
    pub(super) candidates: SmallVec<[Party; 2]>,
    /// When what is set aside is freed, if it is captured by hand.
    pub(super) expires_at: Option<Timestamp>,
    /// The customer's default account: where a payment is filed that named somebody else's.
    pub(super) home: AccountId,
}

/// Somebody who is credited.
#[derive(Debug, Clone)]
pub(super) struct PartOrder {
    pub(super) party: Party,
    /// In the payment's currency, after the fee.
    pub(super) amount: Money,
    /// The client's own words.
    pub(super) reference: String,
}

/// The house's fee.
#[derive(Debug, Clone, Copy)]
pub(super) struct FeeOrder {
    /// In the payment's currency.
    pub(super) amount: Money,
    /// The part it was taken out of.
    pub(super) carrier: usize,
}

/// The flow.
#[derive(Debug)]
pub(super) struct PaymentFlow {
    order: PaymentOrder,
    waiting: Waiting,
    verdict: Verdict,
    candidate: usize,
    requotes: u8,
    /// What the payees agreed to take.
    expected: ByAccount,
    tried: Vec<Tried>,
    last_failure: Option<Failure>,
}

/// Which answer comes next, and what it is for.
#[derive(Debug)]
enum Waiting {
    Verdict,
    /// Of the conversions for a payer's currency.
    Prices(Currency),
    Payees(Priced),
    /// Whether this account pays.
    Payer(AccountId, Priced),
    Nothing,
}

impl Waiting {
    fn name(&self) -> &'static str {
        match self {
            Self::Verdict => "a verdict",
            Self::Prices(_) => "prices",
            Self::Payees(_) => "the payees",
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
            accounts: candidates.chain(self.order.parts.iter().map(|part| &part.party.account)).cloned().collect(),
            notes: notes.clone(),
        })
    }

    /// Only a verdict begins a payment: one that nobody judged moves nothing.
    fn on(&mut self, event: Event) -> Result<Effect, Unexpected> {
        Ok(match (event, std::mem::replace(&mut self.waiting, Waiting::Nothing)) {
            (Event::Assessed(verdict), Waiting::Verdict) => self.assessed(verdict),
            (Event::Quoted(Ok(prices)), Waiting::Prices(payer)) => self.quoted(&prices, payer),
            (Event::Granted(Ok(())), Waiting::Payees(plan)) => self.hold(plan),
            (Event::Granted(Err(failure)), Waiting::Payees(_)) => self.failed(failure),
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
            expected: ByAccount::new(),
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
        let (wanted, payer) = (self.order.amount.currency, party.currency);
        if party.owner != self.order.customer {
            let message = format!("account {} is not {}'s", party.account, self.order.customer);
            return self.next_candidate(Failure::new(FailureCode::SourceNotOwned, message));
        }
        if self.order.parts.iter().any(|part| part.party.account == party.account) {
            let message = format!("account {} cannot pay itself", party.account);
            return self.next_candidate(Failure::new(FailureCode::SameAccount, message));
        }
        let payees = self.order.parts.iter().map(|part| part.party.currency);
        let pairs = plan::pairs(wanted, std::iter::once(payer).chain(payees));
        if pairs.is_empty() {
            return self.expect(Priced { plan: Plan::unconverted(self.order.amount, self.order.amounts()), ask: None });
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
        match self.order.price(payer, prices) {
            Ok(plan) => self.expect(plan),
            Err(failure) => self.next_candidate(failure),
        }
    }

    /// Expect comes before Hold, so that a hold lives only from its grant to its commit (P6).
    fn expect(&mut self, priced: Priced) -> Effect {
        let credits = self.order.credits(&priced.plan);
        if self.expected == credits {
            return self.hold(priced);
        }
        self.expected.clone_from(&credits);
        self.waiting = Waiting::Payees(priced);
        Effect::Expect(credits)
    }

    fn hold(&mut self, priced: Priced) -> Effect {
        // Past the last candidate nobody is left to ask, and the payment fails.
        let Some(party) = self.order.candidates.get(self.candidate) else { return self.try_candidate() };
        let (payer, debit) = (party.account.clone(), priced.plan.debit);
        self.waiting = Waiting::Payer(payer.clone(), priced);
        Effect::Hold(payer, debit)
    }

    fn granted(&mut self, payer: AccountId, priced: Priced, held_on: u32) -> Effect {
        let Priced { plan, ask } = priced;
        let amount = self.order.amount;
        let authorization = self.order.expires_at.map(|expires_at| Authorization { left: plan.debit, held_on, expires_at });
        let is_captured = authorization.is_none();
        let postings = if is_captured {
            let credits = self.order.accounts().zip(&plan.credits);
            let credits = credits.map(|(account, credit)| Posting::new(account, PostingKind::Credit, *credit));
            moved(vec![Posting::new(payer.clone(), PostingKind::Debit { held_on }, plan.debit)], credits, held_on)
        } else {
            vec![Posting::new(payer.clone(), PostingKind::Authorize { held_on }, plan.debit)]
        };
        let shared = self.order.shared(&plan.credits, ask, is_captured);
        let credited = plan.credits.first().copied().filter(|_| is_captured && shared.is_none());
        let life = authorization.map(|of| Box::new(Life::begin(amount, Money::zero(amount.currency), Some(of))));
        let payment = Payment {
            status: if is_captured { PaymentStatus::Captured } else { PaymentStatus::Authorized },
            debited: is_captured.then_some(plan.debit),
            credited,
            fx: plan.legs.into_vec(),
            life,
            shared,
            ..self.payment(payer)
        };
        Effect::Decide(Box::new(Decision::of(Change::Payment(payment), postings)))
    }

    fn failed(&mut self, failure: Failure) -> Effect {
        let last = self.candidate.min(self.order.candidates.len().saturating_sub(1));
        let owned = |party: &&Party| party.owner == self.order.customer;
        let payer = self.order.candidates.get(last).filter(owned).map_or(&self.order.home, |party| &party.account);
        let nothing: SmallVec<[Money; 1]> =
            self.order.parts.iter().map(|part| Money::zero(part.party.currency)).collect();
        let shared = self.order.shared(&nothing, None, false);
        let payment = Payment { shared, ..self.payment(payer.clone()) };
        Effect::Decide(Box::new(Decision::declined_with(failure, Change::Payment(payment))))
    }

    /// A payment of which nothing moved.
    fn payment(&mut self, payer: AccountId) -> Payment {
        let payee = self.order.accounts().next().unwrap_or_else(|| self.order.home.clone());
        Payment {
            id: self.order.op,
            status: PaymentStatus::Failed,
            payer,
            payee,
            debited: None,
            credited: None,
            fx: Vec::new(),
            risk: self.take_verdict(),
            tried: std::mem::take(&mut self.tried),
            life: None,
            shared: None,
        }
    }

    fn take_verdict(&mut self) -> Verdict {
        let empty = Verdict { decision: self.verdict.decision, score: self.verdict.score, ..Verdict::accept() };
        std::mem::replace(&mut self.verdict, empty)
    }
}

/// A plan, and at which price the fee's carrier would stand in for the house.
#[derive(Debug)]
struct Priced {
    plan: Plan,
    ask: Option<Rate>,
}

impl PaymentOrder {
    /// The accounts that are credited, the house's for the fee last.
    fn accounts(&self) -> impl Iterator<Item = AccountId> {
        let fees = self.fee.map(|fee| fees_of(fee.amount.currency));
        self.parts.iter().map(|part| part.party.account.clone()).chain(fees)
    }

    /// How much of the payment each gets.
    fn amounts(&self) -> impl Iterator<Item = Money> {
        self.parts.iter().map(|part| part.amount).chain(self.fee.map(|fee| fee.amount))
    }

    fn price(&self, payer: Currency, prices: &[Box<PairPrice>]) -> Result<Priced, Failure> {
        let fee = self.fee.map(|fee| (fee.amount, fee.amount.currency));
        let parts = self.parts.iter().map(|part| (part.amount, part.party.currency)).chain(fee);
        let plan = Plan::new(self.amount, payer, &parts.collect::<SmallVec<[_; 1]>>(), prices)?;
        let carrier = self.fee.and_then(|fee| Some((fee.amount, self.parts.get(fee.carrier)?.party.currency)));
        let ask = match carrier.filter(|(fee, currency)| fee.currency != *currency) {
            None => None,
            Some((fee, currency)) => {
                let ask = plan::price(prices, currency)?.ask;
                // All of it must be possible, so that every share is.
                at_ask(ask, fee, currency)?;
                Some(ask)
            }
        };
        Ok(Priced { plan, ask })
    }

    /// What is asked of each client's account.
    fn credits(&self, plan: &Plan) -> ByAccount {
        let mut credits = ByAccount::new();
        for (part, credit) in self.parts.iter().zip(&plan.credits) {
            add(&mut credits, &part.party.account, *credit);
        }
        credits
    }

    /// The parts as they begin.
    fn shared(&self, credits: &[Money], ask: Option<Rate>, is_captured: bool) -> Option<Box<Parts>> {
        if !self.is_shared {
            return None;
        }
        let part = |account, amount, worth, reference| {
            let part = Part::new(account, amount, worth, reference);
            if is_captured { part.captured() } else { part }
        };
        let splits = self.parts.iter().zip(credits).map(|(of, worth)| {
            part(of.party.account.clone(), of.amount, *worth, of.reference.clone())
        });
        let fee = self.fee.map(|fee| FeePart {
            part: part(fees_of(fee.amount.currency), fee.amount, fee.amount, String::new()),
            carrier: u32::try_from(fee.carrier).unwrap_or_default(),
            ask,
            carried: Money::zero(fee.amount.currency),
            carried_debited: Money::zero(self.carrier_currency(fee)),
        });
        Some(Box::new(Parts { splits: splits.collect(), fee }))
    }

    fn carrier_currency(&self, fee: FeeOrder) -> Currency {
        self.parts.get(fee.carrier).map_or(fee.amount.currency, |part| part.party.currency)
    }
}
