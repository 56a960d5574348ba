//! A refund's way to its decision: from prices, if it is at the rate of now, to the account it goes to and then those that
//! give it back, so that money is held last (P6, P9).

use smallvec::SmallVec;

use crate::{
    ledger::{
        decision::{Change, Decision},
        failure::{Failure, FailureCode},
        flow::{Effect, Event, Flow, Unexpected},
        fx::{LegSide, PairPrice},
        life::Life,
        moves::{Movement, PartMove},
        needs::Party,
        parts::FeesFrom,
        payment::Payment,
        plan::{self, Plan, worth},
        refund::{Refund, RefundPart, RefundRate, RefundStatus},
    },
    money::{Currency, Money},
};

/// How often two prices of different books are asked for again before the refund is declined.
const REQUOTES_MAX: u8 = 2;

/// The flow.
#[derive(Debug)]
pub(super) struct RefundFlow {
    pub(super) before: Payment,
    pub(super) life: Box<Life>,
    /// As it is shown if it is declined.
    pub(super) refund: Refund,
    /// What it moves at the payment's own rates.
    pub(super) original: Movement,
    pub(super) fees: FeesFrom,
    /// The currencies of the accounts that give it back, by part.
    pub(super) from: SmallVec<[Currency; 1]>,
    pub(super) to: Party,
    pub(super) today: u32,
    pub(super) waiting: Waiting,
    pub(super) requotes: u8,
}

/// Which answer comes next.
#[derive(Debug)]
pub(super) enum Waiting {
    Start,
    Prices,
    Payer(Movement),
    Payees(Movement),
    Nothing,
}

impl Flow for RefundFlow {
    fn on(&mut self, event: Event) -> Result<Effect, Unexpected> {
        Ok(match (event, std::mem::replace(&mut self.waiting, Waiting::Nothing)) {
            (Event::Start, Waiting::Start) => self.price(),
            (Event::Quoted(Ok(prices)), Waiting::Prices) => self.priced(&prices),
            (Event::Granted(Ok(())), Waiting::Payer(moves)) => self.take_back(moves),
            (Event::Granted(Ok(())), Waiting::Payees(moves)) => self.done(moves),
            // Closed since it was looked at.
            (Event::Granted(Err(failure)), Waiting::Payer(_)) if failure.code == FailureCode::AccountClosed => {
                self.declined(nowhere(&self.before))
            }
            (Event::Quoted(Err(failure)), Waiting::Prices)
            | (Event::Granted(Err(failure)), Waiting::Payer(_) | Waiting::Payees(_)) => self.declined(failure),
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
            Self::Payees(_) => "the payees",
            Self::Nothing => "nothing",
        }
    }
}

impl RefundFlow {
    fn price(&mut self) -> Effect {
        let amount = self.refund.amount;
        if self.refund.rate == RefundRate::Original {
            return self.expect(self.original.clone());
        }
        let pairs = plan::pairs(amount.currency, self.from.iter().copied().chain([self.to.currency]));
        if pairs.is_empty() {
            return match self.at(&[]) {
                Ok(moves) => self.expect(moves),
                Err(failure) => self.declined(failure),
            };
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
        match self.at(prices) {
            Ok(moves) => self.expect(moves),
            Err(failure) => self.declined(failure),
        }
    }

    /// What it moves at the rates of now: as a payment the other way, with several payers if the payment has several parts.
    fn at(&mut self, prices: &[Box<PairPrice>]) -> Result<Movement, Failure> {
        let amount = self.refund.amount;
        let mut moves = self.original.clone();
        if let ([from], [alone]) = (self.from.as_slice(), moves.parts.as_mut_slice()) {
            let Plan { debit, credits, legs } = Plan::new(amount, *from, &[(amount, self.to.currency)], prices)?;
            (alone.moves, moves.payer) = (debit, credits.first().copied().unwrap_or(Money::zero(self.to.currency)));
            self.refund.fx = legs.into_vec();
            return Ok(moves);
        }
        let mut legs = SmallVec::new();
        for (PartMove { amount, moves, .. }, from) in moves.parts.iter_mut().zip(&self.from) {
            *moves = match amount.minor {
                0 => Money::zero(*from),
                _ => worth((*amount, *from), LegSide::Payer, prices, &mut legs)?,
            };
        }
        moves.payer = worth((amount, self.to.currency), LegSide::Payee, prices, &mut legs)?;
        self.refund.fx = legs.into_vec();
        Ok(moves)
    }

    /// Both sides are asked also where a part is so small that nothing reaches one: a frozen account takes no part.
    fn expect(&mut self, moves: Movement) -> Effect {
        let asked = (self.to.account.clone(), moves.payer);
        self.waiting = Waiting::Payer(moves);
        Effect::Expect(smallvec::smallvec![asked])
    }

    fn take_back(&mut self, moves: Movement) -> Effect {
        let asked = moves.by_account();
        self.waiting = Waiting::Payees(moves);
        Effect::TakeBack(asked)
    }

    fn done(&mut self, moves: Movement) -> Effect {
        let to = self.to.account.clone();
        let (after, lines) = self.before.refund(&self.life, [&self.original, &moves], self.fees, (to, self.today));
        let mut decision = Decision::of(Change::Payment(after), lines);
        let mut refund = Refund { status: RefundStatus::Completed, credited: Some(moves.payer), ..self.refund.clone() };
        match (&mut refund.parts, moves.parts.first()) {
            (Some(parts), _) => debit(parts, &moves),
            (None, alone) => refund.debited = alone.map(|alone| alone.moves),
        }
        decision.changes.push(Change::Refund(Box::new(refund)));
        Effect::Decide(Box::new(decision))
    }

    fn declined(&mut self, failure: Failure) -> Effect {
        Effect::Decide(Box::new(declined(failure, self.before.clone(), self.refund.clone())))
    }
}

/// What each part of a shared payment is to give back; nothing moved yet.
pub(super) fn parts(payment: &Payment, original: &Movement) -> Option<Vec<RefundPart>> {
    let splits = payment.shared.as_ref()?.splits.len();
    let of = |(n, moved): (usize, &PartMove)| RefundPart {
        split: u32::try_from(n).ok().filter(|_| n < splits),
        account: moved.account.clone(),
        amount: moved.amount,
        debited: None,
    };
    let given = |(_, moved): &(usize, &PartMove)| moved.amount.minor > 0;
    Some(original.parts.iter().enumerate().filter(given).map(of).collect())
}

fn debit(parts: &mut [RefundPart], moves: &Movement) {
    let given = moves.parts.iter().filter(|moved| moved.amount.minor > 0);
    for (part, moved) in parts.iter_mut().zip(given) {
        part.debited = Some(moved.moves);
    }
}

/// There is no account that could get the money.
pub(super) fn nowhere(payment: &Payment) -> Failure {
    let message =
        format!("account {} is closed, and its owner has no other active account in its currency", payment.payer);
    Failure::new(FailureCode::RefundDestinationClosed, message)
}

/// A declined refund leaves the payment as it is.
pub(super) fn declined(failure: Failure, payment: Payment, refund: Refund) -> Decision {
    let mut decision = Decision::declined_with(failure, Change::Payment(payment));
    decision.changes.push(Change::Refund(Box::new(refund)));
    decision
}
