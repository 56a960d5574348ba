//! The rate book: one row for two currencies, the newer wins, and nobody gains by going round (P8).
#![allow(clippy::panic, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arus_engine::{
    ledger::{
        apply::to_rates,
        body::Body,
        commands::{PublishRates, RemoveRates, Request, publish_rates::PublishedRate},
        decision::{Change, Decision},
        entry::Entry,
        failure::FailureCode,
        flow::{Effect, Event},
        fx::{FxPolicy, LegSide, Pair, PairPrice, RateSource},
        needs::{Found, Terms},
        notes::Notes,
        rates::{BOOK_PAIRS_MAX, RateBook},
        time::Timestamp,
    },
    money::{Currency, Money, OpId, Rate, TenantId, TxId},
};
use proptest::prelude::*;

const CODES: [&str; 5] = ["USD", "EUR", "JPY", "NOK", "SEK"];
const NOW: Timestamp = Timestamp(1_800_000_000_000_000);

fn currency(code: &str) -> Currency {
    Currency::from_code(code).expect("a currency")
}

fn pair(base: &str, quote: &str) -> Pair {
    Pair { base: currency(base), quote: currency(quote) }
}

fn policy() -> FxPolicy {
    FxPolicy {
        ecb_age_max: Duration::from_secs(4 * 86_400),
        live_age_max: Duration::from_secs(60),
        demo_age_max: Duration::from_secs(60),
        spread_bps_default: 25,
    }
}

fn rate(base: &str, quote: &str, mid: &str, spread_bps: Option<u16>) -> PublishedRate {
    let mid = Rate::parse(mid).expect("a rate");
    PublishedRate { base: currency(base), quote: currency(quote), mid, spread_bps }
}

fn entry(request: Request, accepted: Timestamp) -> Entry {
    Entry {
        tenant: TenantId(0),
        // An id made at that moment.
        op: OpId(u128::from(accepted.millis()) << 80),
        tx_id: TxId::parse("rates").expect("a key"),
        request,
        notes: Notes::default(),
        decision: Box::new(Decision::of(Change::Rates, Vec::new())),
    }
}

fn publish(book: &mut RateBook, source: RateSource, as_of: Option<Timestamp>, rates: Vec<PublishedRate>) {
    to_rates(book, &entry(Request::PublishRates(PublishRates { source, as_of, rates }), NOW), NOW);
}

fn remove(book: &mut RateBook, pairs: Vec<Pair>, accepted: Timestamp) {
    to_rates(book, &entry(Request::RemoveRates(RemoveRates { pairs }), accepted), NOW);
}

/// Why a command about rates is declined against a book, if it is.
fn declined(book: &RateBook, command: &dyn Body) -> Option<FailureCode> {
    let found = Found { rates: Some(Arc::new(book.clone())), ..Found::default() };
    let house = arus_engine::config::EngineConfig::default().house().expect("valid");
    let terms = Terms { op: OpId(1), house: &house };
    let mut flow = command.begin(&terms, &found).expect("all is found");
    match flow.on(Event::Start) {
        Ok(Effect::Decide(decision)) => decision.failure.map(|failure| failure.code),
        other => panic!("{other:?} is no decision"),
    }
}

fn ago(seconds: u64) -> Option<Timestamp> {
    Some(NOW.minus(Duration::from_secs(seconds)))
}

fn mid(book: &RateBook, base: &str, quote: &str) -> String {
    match book.price(pair(base, quote), NOW, &policy()) {
        Ok(price) => price.mid.to_string(),
        Err(failure) => failure.code.name().to_owned(),
    }
}

#[test]
fn direct_inverse_and_through_a_pivot() {
    let mut book = RateBook::default();
    publish(
        &mut book,
        RateSource::Ecb,
        None,
        vec![rate("EUR", "USD", "1.25", None), rate("EUR", "IDR", "20000", None)],
    );
    assert_eq!(mid(&book, "EUR", "USD"), "1.25");
    assert_eq!(mid(&book, "USD", "EUR"), "0.8");
    let cross = book.price(pair("USD", "IDR"), NOW, &policy()).expect("a price");
    assert_eq!((cross.mid.to_string().as_str(), cross.via), ("16000", Some(currency("EUR"))));
    assert_eq!(cross.spread_bps, 50);
    assert_eq!((cross.ask.to_string().as_str(), cross.bid.to_string().as_str()), ("16080", "15920"));
}

#[test]
fn what_is_stale_missing_or_not_true_yet_is_refused() {
    let mut book = RateBook::default();
    publish(&mut book, RateSource::Live, ago(60), vec![rate("EUR", "USD", "1.25", None)]);
    assert_eq!(mid(&book, "EUR", "USD"), "1.25");
    publish(&mut book, RateSource::Live, ago(61), vec![rate("EUR", "NOK", "11", None)]);
    assert_eq!(mid(&book, "EUR", "NOK"), "FX_RATE_STALE");
    assert_eq!(mid(&book, "EUR", "JPY"), "FX_RATE_UNAVAILABLE");
    let ahead = NOW.plus(Duration::from_secs(86_400));
    publish(&mut book, RateSource::Ecb, Some(ahead), vec![rate("EUR", "SEK", "11", None)]);
    let failure = book.price(pair("EUR", "SEK"), NOW, &policy()).expect_err("it is of tomorrow");
    assert_eq!(failure.code, FailureCode::FxRateStale);
    assert!(failure.message.contains("a clock was ahead"), "{}", failure.message);
    assert!(book.price_at_any_age(pair("EUR", "SEK"), &policy()).is_ok(), "but it is shown");
}

/// A block's time may lie ahead of the clock for as long as the clock once was: a rate's own time never does.
#[test]
fn a_rate_is_as_old_as_its_acceptance_not_as_its_block() {
    let mut book = RateBook::default();
    let set = PublishRates { source: RateSource::Live, as_of: None, rates: vec![rate("EUR", "USD", "1.25", None)] };
    let block_at = NOW.plus(Duration::from_secs(86_400));
    to_rates(&mut book, &entry(Request::PublishRates(set), NOW), block_at);
    assert_eq!(mid(&book, "EUR", "USD"), "1.25");
    let later = NOW.plus(Duration::from_secs(61));
    let failure = book.price(pair("EUR", "USD"), later, &policy()).expect_err("it is 61 s old");
    assert_eq!(failure.code, FailureCode::FxRateStale);
}

#[test]
fn a_publication_keeps_the_other_pairs_and_makes_one_set() {
    let mut book = RateBook::default();
    publish(&mut book, RateSource::Ecb, None, vec![rate("EUR", "USD", "1.25", None), rate("EUR", "JPY", "160", None)]);
    publish(&mut book, RateSource::Live, None, vec![rate("EUR", "USD", "1.5", Some(0))]);
    let price = |quote| book.price(pair("EUR", quote), NOW, &policy()).expect("a price");
    let (jpy, usd) = (price("JPY"), price("USD"));
    assert_eq!((usd.ask, usd.book_version, book.rows().count()), (usd.mid, jpy.book_version, 2));
}

#[test]
fn the_other_way_round_is_the_same_pair_and_the_newer_wins() {
    let mut book = RateBook::default();
    publish(&mut book, RateSource::Ecb, ago(86_400), vec![rate("SEK", "NOK", "1.00", None)]);
    publish(&mut book, RateSource::Live, None, vec![rate("NOK", "SEK", "1.25", None)]);
    assert_eq!((mid(&book, "NOK", "SEK").as_str(), mid(&book, "SEK", "NOK").as_str()), ("1.25", "0.8"));
    assert_eq!(book.rows().count(), 1);
    // What was true earlier and arrives later replaces nothing, whoever says it and whichever way round.
    for source in [RateSource::Ecb, RateSource::Live, RateSource::Demo] {
        publish(&mut book, source, ago(55), vec![rate("NOK", "SEK", "1.5", None), rate("EUR", "USD", "1.1", None)]);
        publish(&mut book, source, ago(1), vec![rate("SEK", "NOK", "2", None)]);
        assert_eq!((mid(&book, "NOK", "SEK").as_str(), mid(&book, "SEK", "NOK").as_str()), ("1.25", "0.8"));
    }
    assert_eq!(mid(&book, "EUR", "USD"), "1.1", "the rest of the set took effect");
    publish(&mut book, RateSource::Ecb, None, vec![rate("SEK", "NOK", "0.5", None)]);
    assert_eq!(mid(&book, "NOK", "SEK"), "2", "of one moment the later publication is the correction");
}

#[test]
fn a_removed_pair_is_gone_and_what_is_older_does_not_bring_it_back() {
    let mut book = RateBook::default();
    publish(&mut book, RateSource::Ecb, ago(10), vec![rate("SEK", "NOK", "1", None), rate("EUR", "USD", "1.1", None)]);
    let nothing = RemoveRates { pairs: vec![pair("SEK", "NOK"), pair("EUR", "JPY")] };
    assert_eq!(declined(&book, &nothing), Some(FailureCode::FxRateUnavailable));
    assert_eq!(declined(&book, &RemoveRates { pairs: vec![pair("NOK", "SEK")] }), None);
    remove(&mut book, vec![pair("NOK", "SEK")], NOW.minus(Duration::from_secs(5)));
    assert_eq!(mid(&book, "SEK", "NOK"), "FX_RATE_UNAVAILABLE");
    assert_eq!((mid(&book, "EUR", "USD").as_str(), book.rows().count()), ("1.1", 1));
    publish(&mut book, RateSource::Live, ago(6), vec![rate("SEK", "NOK", "1", None)]);
    assert_eq!(mid(&book, "SEK", "NOK"), "FX_RATE_UNAVAILABLE");
    publish(&mut book, RateSource::Live, ago(4), vec![rate("SEK", "NOK", "1", None)]);
    assert_eq!(mid(&book, "SEK", "NOK"), "1");
}

/// A rate that a wrong clock dated tomorrow does not keep its pair without a price until then.
#[test]
fn a_rate_from_the_future_gives_way() {
    let mut book = RateBook::default();
    let ahead = NOW.plus(Duration::from_secs(86_400));
    publish(&mut book, RateSource::Live, Some(ahead), vec![rate("EUR", "USD", "9", None)]);
    publish(&mut book, RateSource::Live, ago(1), vec![rate("EUR", "USD", "1.1", None)]);
    assert_eq!(mid(&book, "EUR", "USD"), "1.1");
}

#[test]
fn the_book_is_bounded_and_removals_make_room() {
    let codes: Vec<_> = (1..1_000).filter_map(|n| Currency::from_numeric(n).ok()).take(60).collect();
    let pairs = codes.iter().flat_map(|base| codes.iter().map(move |quote| Pair { base: *base, quote: *quote }));
    let pairs: Vec<Pair> = pairs.filter(|pair| pair.base < pair.quote).take(BOOK_PAIRS_MAX + 1).collect();
    let published =
        |pair: &Pair| PublishedRate { base: pair.base, quote: pair.quote, mid: Rate::ONE, spread_bps: None };
    let (last, others) = pairs.split_last().expect("many");
    let mut book = RateBook::default();
    publish(&mut book, RateSource::Ecb, None, others.iter().map(published).collect());
    let one_more = PublishRates { source: RateSource::Ecb, as_of: None, rates: vec![published(last)] };
    assert_eq!(declined(&book, &one_more), Some(FailureCode::TooManyPairs));
    let inverse = published(&Pair { base: others[0].quote, quote: others[0].base });
    let same = PublishRates { source: RateSource::Ecb, as_of: None, rates: vec![inverse] };
    assert_eq!(declined(&book, &same), None, "the other way round is no new pair");
    let mut beyond = book.clone();
    publish(&mut beyond, RateSource::Ecb, None, vec![published(last)]);
    assert_eq!(declined(&beyond, &same), None, "what stands is kept fresh, however much stands");
    remove(&mut book, vec![others[0]], NOW);
    assert_eq!(declined(&book, &one_more), None);
}

/// One entry of a random history: a set of rates, or a removal.
#[derive(Debug, Clone)]
enum Step {
    Publish { source: RateSource, age_s: Option<u64>, rates: Vec<(usize, usize, u64, u8, u16)> },
    Remove(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let code = 0..CODES.len();
    let mantissa = prop_oneof![1_u64..1_000, 1_u64..1_000_000_000_000_000_000];
    let published = (code.clone(), code.clone(), mantissa, 0_u8..=18, prop_oneof![Just(0_u16), 0_u16..100]);
    let source = prop_oneof![Just(RateSource::Ecb), Just(RateSource::Live), Just(RateSource::Demo)];
    let set = (source, prop::option::of(0_u64..100), prop::collection::vec(published, 1..4));
    prop_oneof![
        5 => set.prop_map(|(source, age_s, rates)| Step::Publish { source, age_s, rates }),
        1 => (code.clone(), code).prop_map(|(base, quote)| Step::Remove(base, quote)),
    ]
}

fn take(book: &mut RateBook, step: Step, accepted: Timestamp) {
    let request = match step {
        Step::Publish { source, age_s, rates } => {
            let rates = rates.into_iter().filter(|(base, quote, ..)| base != quote);
            let rates = rates.filter_map(|(base, quote, mantissa, scale, spread_bps)| {
                let digits = format!("{mantissa:0>width$}", width = usize::from(scale) + 1);
                let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
                let mid = Rate::parse(format!("{whole}.{fraction}").trim_end_matches('.')).ok()?;
                let spread_bps = Some(spread_bps);
                Some(PublishedRate { base: currency(CODES[base]), quote: currency(CODES[quote]), mid, spread_bps })
            });
            let as_of = age_s.map(|age| accepted.minus(Duration::from_secs(age)));
            Request::PublishRates(PublishRates { source, as_of, rates: rates.collect() })
        }
        Step::Remove(base, quote) => Request::RemoveRates(RemoveRates { pairs: vec![pair(CODES[base], CODES[quote])] }),
    };
    to_rates(book, &entry(request, accepted), accepted);
}

fn times(book: &RateBook) -> BTreeMap<Pair, Timestamp> {
    book.rows().map(|row| (Pair { base: row.base, quote: row.quote }.unordered(), row.at)).collect()
}

/// What is left of `minor` of the one currency after it was changed into the other and back.
fn there_and_back(there: &PairPrice, back: &PairPrice, minor: i128) -> Option<(i128, i128)> {
    let bought = there.convert(Money::new(minor, there.pair.base), LegSide::Payee).ok()?.to;
    Some((bought.minor, back.convert(bought, LegSide::Payee).ok()?.to.minor))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever is published and removed, in any order: two currencies have one row, its time never goes back, and
    /// who changes there and back at one set has no more than before, whichever side the amount is of.
    #[test]
    fn nobody_gains_by_going_round(
        steps in prop::collection::vec(step(), 1..12),
        minor in prop_oneof![1_i128..100_000, 1_i128..1_000_000_000_000_000_000],
    ) {
        let mut book = RateBook::default();
        for (n, step) in (0_u64..).zip(steps) {
            let (before, removed) = (times(&book), matches!(step, Step::Remove(..)));
            take(&mut book, step, NOW.plus(Duration::from_secs(n)));
            let after = times(&book);
            prop_assert_eq!(book.rows().count(), after.len(), "one row for two currencies");
            for (pair, at) in before {
                prop_assert!(after.get(&pair).map_or(removed, |later| *later >= at), "{:?} went back", pair);
            }
        }
        for base in CODES {
            for quote in CODES {
                let price = |base, quote| book.price_at_any_age(pair(base, quote), &policy());
                let (Ok(there), Ok(back)) = (price(base, quote), price(quote, base)) else { continue };
                let Some((bought, left)) = there_and_back(&there, &back, minor) else { continue };
                prop_assert!(left <= minor, "{minor} {base} became {bought} {quote} and {left} again");
                // To have more than before paid for out of what was bought costs more than that.
                let more = Money::new(minor + 1, there.pair.base);
                if let Ok(leg) = there.convert(more, LegSide::Payer) {
                    prop_assert!(leg.to.minor >= bought, "{} {quote} pay {more}", leg.to.minor);
                }
            }
        }
    }
}

/// What the desk earned by a conversion is its distance to the middle, with what the rounding added.
#[test]
fn the_desk_earns_the_distance_to_the_middle_on_either_side() {
    let mut book = RateBook::default();
    publish(&mut book, RateSource::Ecb, None, vec![rate("EUR", "USD", "1.25", None)]);
    let price = book.price(pair("EUR", "USD"), NOW, &policy()).expect("a price");
    let earned = |minor, side| {
        let amount = Money::new(minor, currency("EUR"));
        price.convert(amount, side).expect("it converts").earned_micro()
    };
    // 25 basis points of 125.00 USD are 0.3125 USD; what is posted is rounded in the desk's favour.
    assert_eq!(earned(10_000, LegSide::Payer), 32_000_000);
    assert_eq!(earned(10_000, LegSide::Payee), 32_000_000);
    assert_eq!(earned(1_000_000, LegSide::Payer), 3_125_000_000);
    assert_eq!(earned(1, LegSide::Payer), 750_000, "0.0125 USD at the middle, 0.02 paid");
    assert_eq!(earned(10_000, LegSide::Both), 0);
}
