//! What "same body" means for two requests under one key (P2): field by field, what is left out spelled out first.
//!
//! Whoever spells a default out asks for the same as whoever leaves it out. Rates are a set. Every field is taken
//! apart by name, so that one which nobody compares does not compile.

use std::time::Duration;

use super::{
    entry::{Entry, Outcome},
    request::{
        Capture, CreatePayment, OpenAccount, PublishRates, PublishedRate, Release, RemoveRates, Request, Reserve,
        Transfer, UpdateAccount,
    },
};
use crate::money::{AccountId, Money, PostingKind};

/// What the house puts where a request leaves a field out.
#[derive(Debug, Clone)]
pub struct Defaults {
    /// How long a reservation lasts.
    pub expires_in: Duration,
    /// The spread of a published rate, in basis points.
    pub spread_bps: u16,
    /// Whom a payment credits, if that is known.
    pub payee: Option<AccountId>,
}

/// The first field in which a request differs from the one that `entry` decided under the same key; `method` if they
/// are not even of one kind.
pub fn first_difference(entry: &Entry, request: &Request, defaults: &Defaults) -> Option<&'static str> {
    difference(&spelled_out(&entry.request, entry, defaults), &spelled_out(request, entry, defaults))
}

/// The request with its defaults: those that held when `entry` was decided, where it says so.
fn spelled_out(request: &Request, entry: &Entry, defaults: &Defaults) -> Request {
    let mut request = request.clone();
    match &mut request {
        Request::CreatePayment(payment) => {
            let destination = payment.destination.take();
            payment.destination = destination.or_else(|| default_payee(entry)).or_else(|| defaults.payee.clone());
        }
        Request::Reserve(reserve) => reserve.expires_in = reserve.expires_in.or(Some(defaults.expires_in)),
        Request::Capture(capture) => {
            if let Outcome::Reservation { reservation, .. } = &entry.outcome {
                let destination = capture.destination.take();
                capture.destination = destination.or_else(|| reservation.destination.clone());
                capture.amount = capture.amount.or_else(|| was_left(entry));
            }
        }
        Request::PublishRates(publication) => {
            publication.rates.sort_by_key(|rate| (rate.base.numeric(), rate.quote.numeric()));
            for rate in &mut publication.rates {
                rate.spread_bps = rate.spread_bps.or(Some(defaults.spread_bps));
            }
        }
        // A set, and either way round a pair is the same pair.
        Request::RemoveRates(removal) => {
            removal.pairs.iter_mut().for_each(|pair| *pair = pair.unordered());
            removal.pairs.sort_unstable();
        }
        Request::OpenAccount(_)
        | Request::UpdateAccount(_)
        | Request::Deposit(_)
        | Request::Withdraw(_)
        | Request::Release(_)
        | Request::Expire(_) => {}
    }
    request
}

/// Whom the house named, if the payment did not.
fn default_payee(entry: &Entry) -> Option<AccountId> {
    let Request::CreatePayment(CreatePayment { destination: None, .. }) = &entry.request else { return None };
    entry.payment().map(|payment| payment.payee.clone())
}

/// What was left of a reservation before the entry.
fn was_left(entry: &Entry) -> Option<Money> {
    let Outcome::Reservation { reservation, .. } = &entry.outcome else { return None };
    let taken = entry.postings.iter().filter(|posting| posting.account == reservation.account);
    let taken = taken.filter(|posting| matches!(posting.kind, PostingKind::Settle | PostingKind::Void { .. }));
    taken.map(|posting| posting.amount).try_fold(reservation.remaining, Money::checked_add)
}

fn difference(first: &Request, again: &Request) -> Option<&'static str> {
    match (first, again) {
        (Request::CreatePayment(first), Request::CreatePayment(again)) => {
            let CreatePayment { customer, amount, source, destination } = first;
            unlike(&[
                ("customer_id", *customer == again.customer),
                ("amount", *amount == again.amount),
                ("source_account", *source == again.source),
                ("destination_account", *destination == again.destination),
            ])
        }
        (Request::OpenAccount(first), Request::OpenAccount(again)) => {
            let OpenAccount { account, owner, currency, overdraft_limit, daily_debit_limit } = first;
            unlike(&[
                ("account_id", *account == again.account),
                ("owner_id", *owner == again.owner),
                ("currency", *currency == again.currency),
                ("overdraft_limit", *overdraft_limit == again.overdraft_limit),
                ("daily_debit_limit", *daily_debit_limit == again.daily_debit_limit),
            ])
        }
        (Request::UpdateAccount(first), Request::UpdateAccount(again)) => {
            let UpdateAccount { account, status, overdraft_limit, daily_debit_limit, make_default } = first;
            unlike(&[
                ("account_id", *account == again.account),
                ("status", *status == again.status),
                ("overdraft_limit", *overdraft_limit == again.overdraft_limit),
                ("daily_debit_limit", *daily_debit_limit == again.daily_debit_limit),
                ("make_default", *make_default == again.make_default),
            ])
        }
        (Request::Deposit(first), Request::Deposit(again)) | (Request::Withdraw(first), Request::Withdraw(again)) => {
            let Transfer { account, amount } = first;
            unlike(&[("account_id", *account == again.account), ("amount", *amount == again.amount)])
        }
        (Request::Reserve(first), Request::Reserve(again)) => {
            let Reserve { account, amount, destination, expires_in } = first;
            unlike(&[
                ("account_id", *account == again.account),
                ("amount", *amount == again.amount),
                ("destination_account", *destination == again.destination),
                ("expires_in", *expires_in == again.expires_in),
            ])
        }
        (Request::Capture(first), Request::Capture(again)) => {
            let Capture { reservation, amount, destination, finality } = first;
            unlike(&[
                ("reservation_id", *reservation == again.reservation),
                ("amount", *amount == again.amount),
                ("destination_account", *destination == again.destination),
                ("final", *finality == again.finality),
            ])
        }
        (Request::Release(first), Request::Release(again)) | (Request::Expire(first), Request::Expire(again)) => {
            let Release { reservation } = first;
            unlike(&[("reservation_id", *reservation == again.reservation)])
        }
        (Request::PublishRates(first), Request::PublishRates(again)) => {
            let PublishRates { source, as_of, rates } = first;
            unlike(&[
                ("source", *source == again.source),
                ("as_of", *as_of == again.as_of),
                ("rates", same_rates(rates, &again.rates)),
            ])
        }
        (Request::RemoveRates(first), Request::RemoveRates(again)) => {
            let RemoveRates { pairs } = first;
            unlike(&[("pairs", *pairs == again.pairs)])
        }
        (first, second) => unlike(&[("method", first.method() == second.method())]),
    }
}

fn unlike(fields: &[(&'static str, bool)]) -> Option<&'static str> {
    fields.iter().find(|(_, same)| !same).map(|(name, _)| *name)
}

fn same_rates(first: &[PublishedRate], again: &[PublishedRate]) -> bool {
    let same = |(first, again): (&PublishedRate, &PublishedRate)| {
        let PublishedRate { base, quote, mid, spread_bps } = first;
        (*base, *quote, *mid, *spread_bps) == (again.base, again.quote, again.mid, again.spread_bps)
    };
    first.len() == again.len() && first.iter().zip(again).all(same)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ledger::{
            fx::Pair,
            request::{Finality, Notes, RateSource},
            reservation::{Reservation, ReservationStatus},
            time::Timestamp,
        },
        money::{Currency, OpId, OwnerId, Posting, Rate, TenantId, TxId},
    };

    fn currency(code: &str) -> Currency {
        Currency::from_code(code).expect("a currency")
    }

    fn usd(minor: i128) -> Money {
        Money::new(minor, currency("USD"))
    }

    fn account(id: &str) -> AccountId {
        AccountId::parse(id).expect("an id")
    }

    fn decided(request: Request, outcome: Outcome, postings: Vec<Posting>) -> Entry {
        let tx_id = TxId::parse("key").expect("a key");
        Entry { tenant: TenantId(0), op: OpId(1), tx_id, request, notes: Notes::default(), outcome, postings }
    }

    fn compare(first: &Request, again: &Request) -> Option<&'static str> {
        let entry = decided(first.clone(), Outcome::Rates { failure: None }, Vec::new());
        first_difference(&entry, again, &defaults())
    }

    fn defaults() -> Defaults {
        Defaults { expires_in: Duration::from_secs(3_600), spread_bps: 50, payee: Some(account("house-usd")) }
    }

    fn payment(minor: i128, source: Option<&str>, destination: Option<&str>) -> Request {
        Request::CreatePayment(CreatePayment {
            customer: OwnerId::parse("CUST-1").expect("an id"),
            amount: usd(minor),
            source: source.map(account),
            destination: destination.map(account),
        })
    }

    #[test]
    fn one_body_is_compared_field_by_field() {
        let first = payment(25_000, None, None);
        assert_eq!(compare(&first, &first), None);
        assert_eq!(compare(&first, &payment(25_100, None, None)), Some("amount"));
        assert_eq!(compare(&first, &payment(25_000, Some("a"), None)), Some("source_account"));
        assert_eq!(compare(&first, &payment(25_000, None, Some("house-usd"))), None);
        assert_eq!(compare(&first, &payment(25_000, None, Some("shop-usd"))), Some("destination_account"));
        assert_eq!(compare(&first, &Request::Release(Release { reservation: OpId(1) })), Some("method"));
    }

    #[test]
    fn rates_are_a_set() {
        let rate = |quote: &str, mid: &str, spread_bps| PublishedRate {
            base: currency("EUR"),
            quote: currency(quote),
            mid: Rate::parse(mid).expect("a rate"),
            spread_bps,
        };
        let publish =
            |rates| Request::PublishRates(PublishRates { source: RateSource::Ecb, as_of: Some(Timestamp(1)), rates });
        let first = publish(vec![rate("USD", "1.1", None), rate("CZK", "25", Some(10))]);
        assert_eq!(compare(&first, &publish(vec![rate("CZK", "25", Some(10)), rate("USD", "1.10", Some(50))])), None);
        let other = publish(vec![rate("CZK", "25", Some(11)), rate("USD", "1.1", None)]);
        assert_eq!(compare(&first, &other), Some("rates"));
        assert_eq!(compare(&first, &publish(vec![rate("USD", "1.1", None)])), Some("rates"));
    }

    #[test]
    fn pairs_that_are_removed_are_a_set_either_way_round() {
        let remove = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(base, quote)| Pair { base: currency(base), quote: currency(quote) });
            Request::RemoveRates(RemoveRates { pairs: pairs.collect() })
        };
        let first = remove(&[("EUR", "USD"), ("EUR", "CZK")]);
        assert_eq!(compare(&first, &remove(&[("CZK", "EUR"), ("EUR", "USD")])), None);
        assert_eq!(compare(&first, &remove(&[("CZK", "EUR")])), Some("pairs"));
    }

    #[test]
    fn a_default_spelled_out_is_the_same_body() {
        let reserve = |expires_in| {
            let (account, destination) = (account("a"), Some(account("b")));
            Request::Reserve(Reserve { account, amount: usd(10), destination, expires_in })
        };
        let hour = Some(Duration::from_secs(3_600));
        assert_eq!(compare(&reserve(None), &reserve(hour)), None);
        assert_eq!(compare(&reserve(hour), &reserve(None)), None);
        assert_eq!(compare(&reserve(None), &reserve(Some(Duration::from_secs(60)))), Some("expires_in"));
        // A capture of all that is left, to whom the reservation names.
        let Request::Reserve(request) = reserve(None) else { return };
        let before = Reservation::new(OpId(7), &request, 0, Timestamp(9));
        let capture = |minor: Option<i128>, to: Option<&str>| {
            let (amount, destination) = (minor.map(usd), to.map(account));
            Request::Capture(Capture { reservation: OpId(7), amount, destination, finality: Finality::Partial })
        };
        let (after, postings) = before.capture(usd(10), account("b"), Finality::Partial).expect("it is active");
        assert_eq!(after.status, ReservationStatus::Captured);
        let outcome = Outcome::Reservation { reservation: after, failure: None };
        let entry = decided(capture(None, None), outcome, postings);
        let against = |request: &Request| first_difference(&entry, request, &defaults());
        assert_eq!(against(&capture(None, None)), None);
        assert_eq!(against(&capture(Some(10), Some("b"))), None);
        assert_eq!(against(&capture(Some(9), None)), Some("amount"));
        assert_eq!(against(&capture(None, Some("c"))), Some("destination_account"));
    }
}
