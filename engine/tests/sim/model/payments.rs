//! What may become of a payment: sums in the payment's currency, and what each side has been moved in its own.

use arus_engine::{
    ledger::{
        commands::{CapturePayment, CreatePayment, RefundPayment, Request},
        entry::{Committed, Entry},
        failure::FailureCode,
        fx::LegSide,
        payment::{Payment, PaymentStatus},
        refund::{Refund, RefundRate},
        reservation::Finality,
        settings::AccountStatus,
        splits::{Fee, Portion, Split},
        time::Timestamp,
    },
    money::{AccountId, Currency, Lsn, Money, OpId, Rate},
};

use super::{MERCHANT, Model, Wrong, must};

/// What moves on one account.
pub(super) type Line = (AccountId, &'static str, Money);

/// A payment after an entry.
#[derive(Debug, Clone)]
pub(super) struct Paid {
    pub(super) payer: AccountId,
    /// Who gets what; the house with its fee last.
    pub(super) parts: Vec<Part>,
    /// Whether it has splits or a fee.
    is_shared: bool,
    /// The part that the fee was taken out of, and what one unit costs there.
    carrier: Option<(usize, Option<Rate>)>,
    status: &'static str,
    pub(super) expires_at: Option<Timestamp>,
    amount: Money,
    /// What the whole is worth to the payer.
    worth: Money,
    captured: i128,
    refunded: i128,
    /// What the payer has been moved by captures, and of that by refunds at the original rate.
    moved: i128,
    back: i128,
    version: u32,
}

/// What of a payment one account gets.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) account: AccountId,
    amount: i128,
    worth: Money,
    captured: i128,
    refunded: i128,
    moved: i128,
    back: i128,
    /// Of a fee: what its carrier gave in the house's stead, in the payment's currency and in its own.
    carried: [i128; 2],
}

/// By largest remainder, ties to the earlier.
fn divide(amount: i128, weights: &[i128]) -> Vec<i128> {
    let whole: i128 = weights.iter().sum::<i128>().max(1);
    let mut shares: Vec<i128> = weights.iter().map(|weight| amount * weight / whole).collect();
    while shares.iter().sum::<i128>() < amount && weights.iter().any(|weight| *weight > 0) {
        let missing = |n: &usize| (amount * weights[*n] - shares[*n] * whole, std::cmp::Reverse(*n));
        let most = (0..weights.len()).max_by_key(missing).expect("there is one");
        shares[most] += 1;
    }
    shares
}

fn up(of: i128, by: i128) -> i128 {
    -(-of).div_euclid(by)
}

impl Part {
    fn new(account: AccountId, amount: i128, worth: Money) -> Self {
        Self { account, amount, worth, captured: 0, refunded: 0, moved: 0, back: 0, carried: [0; 2] }
    }

    fn left_to_refund(&self) -> i128 {
        self.captured - self.refunded
    }

    fn line(&self, kind: &'static str, minor: i128) -> Line {
        (self.account.clone(), kind, Money::new(minor, self.worth.currency))
    }
}

impl Paid {
    pub(super) fn is_open(&self) -> bool {
        self.status == "AUTHORIZED"
    }

    fn left(&self) -> i128 {
        if self.is_open() { self.amount.minor - self.captured } else { 0 }
    }

    /// How many of its parts a refund can name.
    pub(super) fn splits(&self) -> usize {
        let shared = if self.is_shared { self.parts.len() } else { 0 };
        shared - usize::from(self.carrier.is_some())
    }

    /// Whether an account gets a part of it.
    pub(super) fn has(&self, id: &AccountId) -> bool {
        self.parts.iter().any(|part| part.account == *id)
    }

    /// Whom it names while it is open: payer and payees.
    pub(super) fn names(&self) -> Vec<AccountId> {
        let mut named = vec![self.payer.clone()];
        for part in self.parts.iter().filter(|part| !part.account.is_system()) {
            if !named.contains(&part.account) {
                named.push(part.account.clone());
            }
        }
        named
    }

    /// What is set aside on the payer's account.
    fn aside(&self) -> i128 {
        if self.is_open() { self.worth.minor - self.moved } else { 0 }
    }

    /// Captured: the payer's share rounded up, the payees' down, of all that was captured so far.
    fn capture(&mut self, taken: i128, is_last: bool) -> Vec<Line> {
        let left: Vec<i128> = self.parts.iter().map(|part| part.amount - part.captured).collect();
        self.captured += taken;
        let paid = up(self.worth.minor * self.captured, self.amount.minor) - self.moved;
        self.moved += paid;
        let mut lines = vec![(self.payer.clone(), "settlement", Money::new(paid, self.worth.currency))];
        for (part, share) in self.parts.iter_mut().zip(divide(taken, &left)) {
            part.captured += share;
            let moved = (part.worth.minor * part.captured).div_euclid(part.amount) - part.moved;
            part.moved += moved;
            lines.push(part.line("credit", moved));
        }
        if is_last || self.captured == self.amount.minor {
            lines.extend(self.end("VOIDED"));
        }
        self.version += 1;
        lines.retain(|line| line.2.minor != 0 && !line.0.is_system());
        lines
    }

    fn end(&mut self, status: &'static str) -> Vec<Line> {
        let freed = (self.payer.clone(), "release", Money::new(self.aside(), self.worth.currency));
        self.status = match (self.captured, self.refunded) {
            (0, _) => status,
            (captured, refunded) if captured == refunded => "REFUNDED",
            _ => "CAPTURED",
        };
        if freed.2.minor == 0 { Vec::new() } else { vec![freed] }
    }

    /// How much each part gives back: all in proportion, or those that are named with the fee that is theirs.
    fn divided(&self, asked: &RefundPayment) -> Vec<i128> {
        let left: Vec<i128> = self.parts.iter().map(Part::left_to_refund).collect();
        if asked.splits.is_empty() {
            return divide(asked.amount.map_or(left.iter().sum(), |amount| amount.minor), &left);
        }
        let mut shares = vec![0; left.len()];
        for named in &asked.splits {
            let n = named.index as usize;
            let is_in = |other: usize| other == n || self.fee_of(n) == Some(other);
            let weights: Vec<i128> =
                left.iter().enumerate().map(|(other, left)| if is_in(other) { *left } else { 0 }).collect();
            let amount = named.amount.map_or(weights.iter().sum(), |amount| amount.minor);
            for (share, more) in shares.iter_mut().zip(divide(amount, &weights)) {
                *share += more;
            }
        }
        shares
    }

    /// Whether some split that a refund names cannot give what it is to.
    fn has_less_than(&self, asked: &RefundPayment) -> bool {
        asked.splits.iter().any(|named| {
            let n = named.index as usize;
            let places = [Some(n), self.fee_of(n)].into_iter().flatten();
            let left: i128 = places.map(|place| self.parts[place].left_to_refund()).sum();
            left == 0 || named.amount.is_some_and(|amount| amount.minor > left)
        })
    }

    /// The fee's place, if it was taken out of this part.
    fn fee_of(&self, n: usize) -> Option<usize> {
        self.carrier.filter(|(carrier, _)| *carrier == n).map(|_| self.parts.len() - 1)
    }

    /// Given back at the original rate: what stays with the payees is rounded down, what stays paid up. Says what the payer
    /// gets, and who gives how much.
    fn refund(&mut self, shares: &[i128], refund_fees: bool) -> (i128, Vec<Line>) {
        let (mut lines, carrier) = (Vec::new(), self.carrier);
        let given: i128 = shares.iter().sum();
        self.refunded += given;
        let kept = up(self.moved * (self.captured - self.refunded), self.captured);
        let before = self.back;
        self.back = before.max(self.moved - kept);
        let carries = carrier.map(|(n, ask)| (self.parts[n].clone(), ask));
        let fee = carrier.map(|_| self.parts.len() - 1);
        for (n, (part, share)) in self.parts.iter_mut().zip(shares).enumerate() {
            part.refunded += share;
            match carries.as_ref().filter(|_| Some(n) == fee) {
                None => {
                    let stays = (part.moved * part.left_to_refund()).div_euclid(part.captured.max(1));
                    let before = part.back;
                    part.back = before.max(part.moved - stays);
                    lines.push(part.line("return", part.back - before));
                }
                Some(_) if refund_fees => lines.push(part.line("return", *share)),
                Some((carrier, ask)) => {
                    part.carried[0] += share;
                    let currency = carrier.worth.currency;
                    let carried = Money::new(part.carried[0], self.amount.currency);
                    let all =
                        ask.map_or(carried.minor, |ask| ask.convert_up(carried, currency).expect("it fits").minor);
                    lines.push(carrier.line("return", all - part.carried[1]));
                    part.carried[1] = all;
                }
            }
        }
        if self.refunded == self.captured && self.status == "CAPTURED" {
            self.status = "REFUNDED";
        }
        self.version += 1;
        (self.back - before, lines)
    }

    fn check(&self, payment: &Payment) -> Result<(), Wrong> {
        let says = (self.status, &self.payer, &self.parts[0].account);
        let is = (payment.status.name(), &payment.payer, &payment.payee);
        must!(is == says, "the payment is {is:?}, it should be {says:?}");
        for (part, of) in payment.shared.iter().flat_map(|shared| shared.iter()).zip(&self.parts) {
            let is = (&part.account, part.amount.minor, part.captured.minor, part.refunded.minor, part.credited.minor);
            let says = (&of.account, of.amount, of.captured, of.refunded, of.moved);
            must!(is == says, "a part is {is:?}, it should be {says:?}");
        }
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

/// Who should get what of a payment, and out of which part the fee was taken: the house with its fee last.
fn amounts(request: &CreatePayment, payee: &AccountId) -> (Vec<(AccountId, i128)>, Option<usize>) {
    let whole = request.amount.minor;
    let Some(sharing) = &request.sharing else { return (vec![(payee.clone(), whole)], None) };
    let of_bps = |bps: u16| whole * i128::from(bps) / 10_000;
    let fixed = |portion: &Portion| match portion {
        Portion::Amount(amount) => amount.minor,
        Portion::BasisPoints(bps) => of_bps(*bps),
        Portion::Remainder => 0,
    };
    let mut parts: Vec<(AccountId, i128)> =
        sharing.splits.iter().map(|split| (split.destination.clone(), fixed(&split.portion))).collect();
    if parts.is_empty() {
        parts.push((payee.clone(), whole));
    }
    let rest = whole - parts.iter().map(|part| part.1).sum::<i128>();
    let remainder = sharing.splits.iter().position(|split| split.portion == Portion::Remainder);
    match remainder {
        Some(n) => parts[n].1 = rest,
        // All in basis points: what is left over goes to the largest fractions.
        None if rest > 0 => {
            let bps = |split: &Split| if let Portion::BasisPoints(bps) = split.portion { bps.into() } else { 0 };
            let shares = divide(whole, &sharing.splits.iter().map(bps).collect::<Vec<i128>>());
            parts.iter_mut().zip(shares).for_each(|(part, share)| part.1 = share);
        }
        None => {}
    }
    let Some(fee) = sharing.fee else { return (parts, None) };
    let fee = match fee {
        Fee::Amount(amount) => amount.minor,
        Fee::BasisPoints(bps) => of_bps(bps),
    };
    let carrier = remainder.unwrap_or(parts.len() - 1);
    parts[carrier].1 -= fee;
    parts.push((AccountId::system("fees", request.amount.currency), fee));
    (parts, Some(carrier))
}

impl Model {
    /// What each part is worth to its account: by the payment's conversions, in their order.
    fn parts(&self, request: &CreatePayment, payment: &Payment) -> Result<(Vec<Part>, Option<usize>), Wrong> {
        let mut legs = payment.fx.iter().filter(|leg| leg.side != LegSide::Payer);
        let (amounts, carrier) = amounts(request, &payment.payee);
        let mut parts = Vec::new();
        for (account, minor) in amounts {
            let amount = Money::new(minor, request.amount.currency);
            let is_converted = !account.is_system() && !account.to_string().ends_with(&amount.currency.to_string());
            let worth = if is_converted {
                let leg = legs.next().ok_or(format!("nothing is converted for {account}"))?;
                must!(leg.from == amount, "{} was converted for {account}, it gets {amount}", leg.from);
                leg.to
            } else {
                amount
            };
            must!(account.is_system() || self.state(&account, self.head()).is_some(), "{account} is not known");
            parts.push(Part::new(account, minor, worth));
        }
        must!(legs.next().is_none(), "more is converted than was asked for");
        Ok((parts, carrier))
    }

    /// What a new payment should move, and what it is from then on.
    pub(super) fn made(&self, request: &CreatePayment, committed: &Committed) -> Result<(Paid, Vec<Line>), Wrong> {
        let payment = committed.entry.payment().ok_or("a payment without one")?;
        let payer = self.state(&payment.payer, self.head()).ok_or("a payer nobody knows")?;
        must!(payer.1.owner == request.customer, "{} is not the customer's", payment.payer);
        must!(request.source.as_ref().is_none_or(|id| *id == payment.payer), "another source paid");
        must!(request.destination.as_ref().is_none_or(|id| *id == payment.payee), "another payee was paid");
        let (parts, carrier) = self.parts(request, payment)?;
        let payee = self.state(&payment.payee, self.head()).ok_or("a payee nobody knows")?;
        let is_named =
            request.destination.is_some() || request.sharing.as_ref().is_some_and(|of| !of.splits.is_empty());
        must!(is_named || payee.1.owner.to_string() == MERCHANT, "not the house was paid");
        let leg = payment.fx.iter().find(|leg| leg.side != LegSide::Payee);
        must!(leg.is_none_or(|leg| leg.from == request.amount), "not the amount was converted");
        // One conversion prices both sides only where one payee gets all of it.
        let is_both = payment.fx.iter().any(|leg| leg.side == LegSide::Both);
        must!(!is_both || parts.len() == 1, "several parts, and one conversion for both sides");
        let authorization = payment.life.as_ref().and_then(|life| life.authorization.as_ref());
        must!(request.manual.is_some() == authorization.is_some(), "it is captured otherwise than asked");
        let ask = payment.shared.as_ref().and_then(|shared| shared.fee.as_ref()?.ask);
        let amount = request.amount;
        let mut paid = Paid {
            payer: payment.payer.clone(),
            parts,
            is_shared: request.sharing.is_some(),
            carrier: carrier.map(|carrier| (carrier, ask)),
            status: "AUTHORIZED",
            expires_at: authorization.map(|authorization| authorization.expires_at),
            amount,
            worth: leg.map_or(amount, |leg| leg.to),
            captured: 0,
            refunded: 0,
            moved: 0,
            back: 0,
            version: 1,
        };
        if request.manual.is_some() {
            let line = (paid.payer.clone(), "authorization", paid.worth);
            return Ok((paid, vec![line]));
        }
        must!(payment.debited == Some(paid.worth), "it took {:?}, it is worth {}", payment.debited, paid.worth);
        (paid.status, paid.captured, paid.moved) = ("CAPTURED", amount.minor, paid.worth.minor);
        let mut lines = vec![(paid.payer.clone(), "debit", paid.worth)];
        for part in &mut paid.parts {
            (part.captured, part.moved) = (part.amount, part.worth.minor);
            lines.push(part.line("credit", part.moved));
        }
        lines.retain(|line| !line.0.is_system());
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
            Request::UpdatePayment(update) => {
                must!(update.payment == id, "another payment was updated");
                paid.version += 1;
                vec![]
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
        let shares = paid.divided(request);
        let given: i128 = shares.iter().sum();
        must!(given <= left && given > 0, "{given} was given back of {left}");
        let within = |(share, part): (&i128, &Part)| (0..=part.left_to_refund()).contains(share);
        must!(shares.iter().zip(&paid.parts).all(within), "{shares:?} was given back of {:?}", paid.parts);
        must!(refund.amount == Money::new(given, paid.amount.currency), "{} is said to be given back", refund.amount);
        let (mut into, mut lines) = paid.refund(&shares, request.refund_fees);
        if request.rate == RefundRate::Current {
            self.books.check_legs(&refund.fx, after)?;
            (into, lines) = at_the_rate_of_now(refund, paid, (&shares, &lines))?;
        }
        if refund.destination != paid.payer {
            let closed = self.since(&paid.payer, after).any(|state| state.status == AccountStatus::Closed);
            must!(closed, "{} got what {} paid, which is open", refund.destination, paid.payer);
            let owner = |id| self.state(id, self.head()).map(|(_, state)| state.owner.clone());
            must!(owner(&refund.destination) == owner(&paid.payer), "{} is another's", refund.destination);
            let gives = lines.iter().any(|line| line.0 == refund.destination);
            must!(!gives, "{} got back what it gives back", refund.destination);
        }
        lines.push((refund.destination.clone(), "credit", Money::new(into, paid.worth.currency)));
        lines.retain(|line| !line.0.is_system());
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
            FailureCode::AmountExceedsRefundable => match &entry.request {
                Request::RefundPayment(refund) if !refund.splits.is_empty() => paid.has_less_than(refund),
                _ => more_than(refundable),
            },
            FailureCode::CurrencyMismatch => asked.is_some_and(|amount| amount.currency != paid.amount.currency),
            _ => true,
        };
        must!(holds, "{code:?}, and the payment is {paid:?}");
        Ok(())
    }

    pub(super) fn paid(&self, id: OpId) -> Result<&Paid, Wrong> {
        self.payments.get(&id).ok_or(format!("there is no payment {id}"))
    }

    /// How many open payments, reservations and transfers name an account, on either side.
    pub(super) fn names(&self, id: &AccountId) -> usize {
        let payments = self.payments.values().filter(|paid| paid.is_open() && paid.names().contains(id)).count();
        let held = self
            .reservations
            .values()
            .filter(|held| held.is_active && [Some(&held.account), held.destination.as_ref()].contains(&Some(id)));
        let moved = self.transfers.values().filter(|moved| moved.is_held() && moved.names().contains(id));
        payments + held.count() + moved.count()
    }

    /// All payments by the entry that made them, oldest first.
    pub fn payments(&self) -> Vec<OpId> {
        let made = |committed: &&Committed| matches!(committed.entry.request, Request::CreatePayment(_));
        let payments = self.entries.iter().filter(made).filter_map(|committed| committed.entry.payment());
        payments.filter(|payment| payment.status != PaymentStatus::Failed).map(|payment| payment.id).collect()
    }
}

/// A refund at the rate of now: each part gives its own by a conversion, and one more makes up what the payer gets.
fn at_the_rate_of_now(
    refund: &Refund,
    paid: &Paid,
    (shares, original): (&[i128], &[Line]),
) -> Result<(i128, Vec<Line>), Wrong> {
    let mut legs = refund.fx.iter();
    let mut worth = |amount: Money, currency: Currency| {
        if amount.minor == 0 || amount.currency == currency {
            return Ok(amount.minor);
        }
        let leg = legs.next().ok_or(format!("there is no conversion to {currency}"))?;
        must!(leg.from == amount, "{} was converted and not {amount}", leg.from);
        must!(leg.to.currency == currency, "it was converted to {}", leg.to);
        Ok(leg.to.minor)
    };
    if paid.parts.len() == 1 && paid.parts[0].worth.currency == paid.worth.currency {
        // One conversion prices both sides.
        let both = worth(refund.amount, paid.worth.currency)?;
        return Ok((both, vec![paid.parts[0].line("return", both)]));
    }
    let mut lines = Vec::new();
    for (share, (account, kind, money)) in shares.iter().zip(original).filter(|(share, _)| **share > 0) {
        let amount = Money::new(*share, refund.amount.currency);
        lines.push((account.clone(), *kind, Money::new(worth(amount, money.currency)?, money.currency)));
    }
    Ok((worth(refund.amount, paid.worth.currency)?, lines))
}
