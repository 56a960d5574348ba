//! "Same body" (P2): a default spelled out is the same body, rates are a set, and the first other field is named.

use std::time::Duration;

use arus_engine::{
    config::EngineConfig,
    ledger::{
        body::Defaults,
        commands::{
            Capture, CreatePayment, Deposit, PublishRates, Release, RemoveRates, Request, Reserve, Withdraw,
            funds::Funds, publish_rates::PublishedRate,
        },
        decision::{Change, Decision},
        fx::{Pair, RateSource},
        needs::House,
        reservation::{Finality, Reservation, ReservationStatus},
        time::Timestamp,
    },
    money::{AccountId, Currency, Money, OpId, OwnerId, Rate},
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

fn house() -> House {
    EngineConfig::default().house().expect("valid")
}

fn compare_with(first: &Request, again: &Request, decision: &Decision) -> Option<&'static str> {
    let payee = account("house-usd");
    let house = House { reservation_default: Duration::from_secs(3_600), spread_bps_default: 50, ..house() };
    first.first_difference(again, &Defaults { first: decision, house: &house, payee: Some(&payee) })
}

fn compare(first: &Request, again: &Request) -> Option<&'static str> {
    compare_with(first, again, &Decision::default())
}

fn payment(minor: i128, source: Option<&str>, destination: Option<&str>) -> Request {
    Request::CreatePayment(CreatePayment {
        customer: OwnerId::parse("CUST-1").expect("an id"),
        amount: usd(minor),
        source: source.map(account),
        destination: destination.map(account),
        manual: None,
        sharing: None,
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
    let transfer = |minor| Funds { account: account("a"), amount: usd(minor) };
    let deposit = Request::Deposit(Deposit(transfer(1)));
    assert_eq!(compare(&deposit, &Request::Deposit(Deposit(transfer(2)))), Some("amount"));
    assert_eq!(compare(&deposit, &Request::Withdraw(Withdraw(transfer(1)))), Some("method"));
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
}

/// A capture of all that is left, to whom the reservation names.
#[test]
fn what_a_capture_leaves_to_its_reservation_is_spelled_out() {
    let before = Reservation {
        id: OpId(7),
        account: account("a"),
        destination: Some(account("b")),
        amount: usd(10),
        captured: usd(0),
        remaining: usd(10),
        status: ReservationStatus::Active,
        expires_at: Timestamp(9),
        held_on: 0,
        changed: None,
    };
    let capture = |minor: Option<i128>, to: Option<&str>| {
        let (amount, destination) = (minor.map(usd), to.map(account));
        Request::Capture(Capture { reservation: OpId(7), amount, destination, finality: Finality::Partial })
    };
    let (after, postings) = before.capture(usd(10), account("b"), Finality::Partial).expect("it is active");
    assert_eq!(after.status, ReservationStatus::Captured);
    let decision = Decision::of(Change::Reservation(after), postings);
    let against = |request: &Request| compare_with(&capture(None, None), request, &decision);
    assert_eq!(against(&capture(None, None)), None);
    assert_eq!(against(&capture(Some(10), Some("b"))), None);
    assert_eq!(against(&capture(Some(9), None)), Some("amount"));
    assert_eq!(against(&capture(None, Some("c"))), Some("destination_account"));
}
