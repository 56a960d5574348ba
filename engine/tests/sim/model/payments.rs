//! What may become of a payment: sums in the payment's currency, and what each side has been moved in its own.

use arus_engine::{
    ledger::{
        commands::{CapturePayment, CreatePayment, RefundPayment, Request},
        entry::{Committed, Entry},
        failure::FailureCode,
        fx::LegSide,
        payment::{Payment, PaymentStatus},
        refund::RefundRate,
        reservation::Finality,
        settings::AccountStatus,
        time::Timestamp,
    },
    money::{AccountId, Lsn, Money, OpId},
};

use super::{MERCHANT, Model, Wrong, must};

/// What moves on one account.
pub(super) type Line = (AccountId, &'static str, Money);

/// A payment after an entry.
#[derive(Debug, Clone)]
pub(super) struct Paid {
    pub(super) payer: AccountId,
    pub(super) payee: AccountId,
    status: &'static str,
    pub(super) expires_at: Option<Timestamp>,
    amount: Money,
    /// What the whole is worth to payer and payee.
    worth: [Money; 2],
    captured: i128,
    refunded: i128,
    /// What payer and payee have been moved by captures, and of that by refunds at the original rate.
    moved: [i128; 2],
    back: [i128; 2],
    version: u32,
}

impl Paid {
    pub(super) fn is_open(&self) -> bool {
        self.status == "AUTHORIZED"
    }

    fn left(&self) -> i128 {
        if self.is_open() { self.amount.minor - self.captured } else { 0 }
    }

    fn money(&self, minor: i128, side: usize) -> Money {
        Money::new(minor, self.worth[side].currency)
    }

    /// What is set aside on the payer's account.
    fn aside(&self) -> i128 {
        if self.is_open() { self.worth[0].minor - self.moved[0] } else { 0 }
    }

    /// Captured: the payer's share rounded up, the payee's down, of all that was captured so far.
    fn capture(&mut self, taken: i128, is_last: bool) -> Vec<Line> {
        let before = self.moved;
        self.captured += taken;
        let [up, down] = self.worth.map(|worth| worth.minor * self.captured);
        self.moved = [-(-up).div_euclid(self.amount.minor), down.div_euclid(self.amount.minor)];
        let mut lines = vec![
            (self.payer.clone(), "settlement", self.money(self.moved[0] - before[0], 0)),
            (self.payee.clone(), "credit", self.money(self.moved[1] - before[1], 1)),
        ];
        if is_last || self.captured == self.amount.minor {
            lines.extend(self.end("VOIDED"));
        }
        self.version += 1;
        lines.retain(|line| line.2.minor != 0);
        lines
    }

    fn end(&mut self, status: &'static str) -> Vec<Line> {
        let freed = (self.payer.clone(), "release", self.money(self.aside(), 0));
        self.status = match (self.captured, self.refunded) {
            (0, _) => status,
            (captured, refunded) if captured == refunded => "REFUNDED",
            _ => "CAPTURED",
        };
        if freed.2.minor == 0 { Vec::new() } else { vec![freed] }
    }

    /// Given back at the original rate: what stays with the payee is rounded down, what stays paid up.
    fn refund(&mut self, given: i128) -> [i128; 2] {
        self.refunded += given;
        let stays = self.captured - self.refunded;
        let [up, down] = self.moved.map(|moved| moved * stays);
        let kept = [-(-up).div_euclid(self.captured), down.div_euclid(self.captured)];
        let before = self.back;
        for side in 0..2 {
            self.back[side] = before[side].max(self.moved[side] - kept[side]);
        }
        if self.refunded == self.captured && self.status == "CAPTURED" {
            self.status = "REFUNDED";
        }
        self.version += 1;
        [self.back[0] - before[0], self.back[1] - before[1]]
    }

    fn check(&self, payment: &Payment) -> Result<(), Wrong> {
        let says = (self.status, self.payer.clone(), self.payee.clone());
        let is = (payment.status.name(), payment.payer.clone(), payment.payee.clone());
        must!(is == says, "the payment is {is:?}, it should be {says:?}");
        let Some(life) = &payment.life else { return Ok(()) };
        let is = (life.captured.minor, life.refunded.minor, life.version);
        must!(is == (self.captured, self.refunded, self.version), "its sums are {is:?}, they should be {self:?}");
        let aside = life.authorization.as_ref().map_or(0, |authorization| authorization.left.minor);
        must!(aside == self.aside(), "{aside} is set aside, it should be {}", self.aside());
        must!(
            self.refunded <= self.captured && self.captured <= self.amount.minor,
            "more was given back than captured, or captured than authorised: {self:?}"
        );
        Ok(())
    }
}

impl Model {
    /// What a new payment should move, and what it is from then on.
    pub(super) fn made(&self, request: &CreatePayment, committed: &Committed) -> Result<(Paid, Vec<Line>), Wrong> {
        let payment = committed.entry.payment().ok_or("a payment without one")?;
        let payer = self.state(&payment.payer, self.head()).ok_or("a payer nobody knows")?;
        must!(payer.1.owner == request.customer, "{} is not the customer's", payment.payer);
        must!(request.source.as_ref().is_none_or(|id| *id == payment.payer), "another source paid");
        must!(request.destination.as_ref().is_none_or(|id| *id == payment.payee), "another payee was paid");
        let payee = self.state(&payment.payee, self.head()).ok_or("a payee nobody knows")?;
        must!(request.destination.is_some() || payee.1.owner.to_string() == MERCHANT, "not the house was paid");
        let leg = |side| payment.fx.iter().find(|leg| leg.side == side || leg.side == LegSide::Both);
        let worth = |side| leg(side).map_or(request.amount, |leg| leg.to);
        must!(payment.fx.iter().all(|leg| leg.from == request.amount), "not the amount was converted");
        let worth = [worth(LegSide::Payer), worth(LegSide::Payee)];
        let authorization = payment.life.as_ref().and_then(|life| life.authorization.as_ref());
        must!(request.manual.is_some() == authorization.is_some(), "it is captured otherwise than asked");
        let amount = request.amount;
        let mut paid = Paid {
            payer: payment.payer.clone(),
            payee: payment.payee.clone(),
            status: "AUTHORIZED",
            expires_at: authorization.map(|authorization| authorization.expires_at),
            amount,
            worth,
            captured: 0,
            refunded: 0,
            moved: [0; 2],
            back: [0; 2],
            version: 1,
        };
        let lines = match request.manual {
            Some(_) => vec![(paid.payer.clone(), "authorization", worth[0])],
            None => {
                let moved = (payment.debited, payment.credited);
                must!(moved == (Some(worth[0]), Some(worth[1])), "it moved {moved:?}, it is worth {worth:?}");
                (paid.status, paid.captured) = ("CAPTURED", amount.minor);
                paid.moved = worth.map(|worth| worth.minor);
                vec![(paid.payer.clone(), "debit", worth[0]), (paid.payee.clone(), "credit", worth[1])]
            }
        };
        Ok((paid, lines))
    }

    /// What a step should move, and what the payment is from then on.
    pub(super) fn stepped(&self, committed: &Committed, after: Lsn) -> Result<(OpId, Paid, Vec<Line>), Wrong> {
        let entry = &*committed.entry;
        let id = entry.payment().ok_or("no payment")?.id;
        let mut paid = self.paid(id)?.clone();
        let lines = match &entry.request {
            Request::CapturePayment(CapturePayment { payment, amount, finality }) => {
                must!(*payment == id && paid.is_open(), "a payment was captured that is {}", paid.status);
                let taken = amount.map_or(paid.left(), |amount| amount.minor);
                must!(taken <= paid.left(), "{taken} was captured of {}", paid.left());
                paid.capture(taken, *finality == Finality::Final)
            }
            Request::VoidPayment(void) => {
                must!(void.payment == id && paid.is_open(), "a payment was voided that is {}", paid.status);
                paid.version += 1;
                paid.end("VOIDED")
            }
            Request::Expire(_) => {
                let due = paid.expires_at.filter(|_| paid.is_open()).ok_or("a payment expired that was not open")?;
                must!(due <= self.latest.max(committed.at), "a payment expired that ends at {}", due.0);
                paid.version += 1;
                paid.end("EXPIRED")
            }
            Request::RefundPayment(refund) => self.refunded(refund, entry, &mut paid, after)?,
            _ => return Err("another command than a step changed a payment".into()),
        };
        paid.check(entry.payment().ok_or("no payment")?)?;
        Ok((id, paid, lines))
    }

    fn refunded(
        &self,
        request: &RefundPayment,
        entry: &Entry,
        paid: &mut Paid,
        after: Lsn,
    ) -> Result<Vec<Line>, Wrong> {
        let refund = entry.decision.refund().ok_or("a refund without one")?;
        let left = paid.captured - paid.refunded;
        let given = request.amount.map_or(left, |amount| amount.minor);
        must!(given <= left && given > 0, "{given} was given back of {left}");
        must!(refund.amount == Money::new(given, paid.amount.currency), "{} is said to be given back", refund.amount);
        let original = paid.refund(given);
        let [into, out] = match request.rate {
            RefundRate::Original => original,
            RefundRate::Current => {
                self.books.check_legs(&refund.fx, after)?;
                must!(refund.fx.iter().all(|leg| leg.from == refund.amount), "not the amount was converted");
                let leg = |side| refund.fx.iter().find(|leg| leg.side == side || leg.side == LegSide::Both);
                let worth = |side, whole: Money| match leg(side) {
                    Some(leg) => Ok(leg.to.minor),
                    None if whole.currency == refund.amount.currency => Ok(refund.amount.minor),
                    None => Err(format!("there is no conversion to {}", whole.currency)),
                };
                [worth(LegSide::Payee, paid.worth[0])?, worth(LegSide::Payer, paid.worth[1])?]
            }
        };
        if refund.destination != paid.payer {
            let closed = self.since(&paid.payer, after).any(|state| state.status == AccountStatus::Closed);
            must!(closed, "{} got what {} paid, which is open", refund.destination, paid.payer);
            let owner = |id| self.state(id, self.head()).map(|(_, state)| state.owner.clone());
            must!(owner(&refund.destination) == owner(&paid.payer), "{} is another's", refund.destination);
            must!(refund.destination != paid.payee, "{} got back what it gives back", refund.destination);
        }
        let mut lines = vec![
            (paid.payee.clone(), "return", paid.money(out, 1)),
            (refund.destination.clone(), "credit", paid.money(into, 0)),
        ];
        lines.retain(|line| line.2.minor != 0);
        Ok(lines)
    }

    /// A step is declined for what the payment was then: steps come one after another.
    pub(super) fn check_declined_step(&self, entry: &Entry, code: FailureCode) -> Result<(), Wrong> {
        let payment = entry.payment().ok_or("no payment")?;
        let paid = self.paid(payment.id)?;
        paid.check(payment)?;
        let asked = match &entry.request {
            Request::CapturePayment(capture) => capture.amount,
            Request::RefundPayment(refund) => refund.amount,
            _ => None,
        };
        let more_than = |left: i128| asked.is_some_and(|amount| amount.minor > left);
        let refundable = paid.captured - paid.refunded;
        let holds = match code {
            FailureCode::PaymentNotCapturable | FailureCode::PaymentNotVoidable => !paid.is_open(),
            FailureCode::AmountExceedsCapturable => more_than(paid.left()),
            FailureCode::PaymentNotRefundable => refundable == 0,
            FailureCode::AmountExceedsRefundable => more_than(refundable),
            FailureCode::CurrencyMismatch => asked.is_some_and(|amount| amount.currency != paid.amount.currency),
            _ => true,
        };
        must!(holds, "{code:?}, and the payment is {paid:?}");
        Ok(())
    }

    pub(super) fn paid(&self, id: OpId) -> Result<&Paid, Wrong> {
        self.payments.get(&id).ok_or(format!("there is no payment {id}"))
    }

    /// How many open payments and reservations name an account, on either side.
    pub(super) fn names(&self, id: &AccountId) -> usize {
        let payments =
            self.payments.values().filter(|paid| paid.is_open() && [&paid.payer, &paid.payee].contains(&id)).count();
        let held = self
            .reservations
            .values()
            .filter(|held| held.is_active && [Some(&held.account), held.destination.as_ref()].contains(&Some(id)));
        payments + held.count()
    }

    /// All payments by the entry that made them, oldest first.
    pub fn payments(&self) -> Vec<OpId> {
        let made = |committed: &&Committed| matches!(committed.entry.request, Request::CreatePayment(_));
        let payments = self.entries.iter().filter(made).filter_map(|committed| committed.entry.payment());
        payments.filter(|payment| payment.status != PaymentStatus::Failed).map(|payment| payment.id).collect()
    }
}
