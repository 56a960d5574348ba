//! The rates that stand after each entry, and that a payment's conversions come from one of these books.

use std::collections::BTreeMap;

use arus_engine::{
    ledger::{
        commands::Request,
        entry::Committed,
        fx::{FxLeg, LegSide},
        time::Timestamp,
    },
    money::{Currency, Lsn, Money},
};

use crate::model::{Wrong, must};

/// By base and quote as published: the middle, if the pair was not removed, and when that was true.
type Book = BTreeMap<(String, String), (Option<f64>, Timestamp)>;

/// All books, oldest first.
#[derive(Default)]
pub struct Books(Vec<(Lsn, Book)>);

impl Books {
    /// Takes in what an entry says of rates.
    pub fn apply(&mut self, committed: &Committed) {
        let published = Timestamp::of_id(committed.entry.op);
        let mut book = self.0.last().map_or_else(Book::new, |(_, book)| book.clone());
        match &committed.entry.request {
            Request::PublishRates(request) => {
                for rate in &request.rates {
                    let mid = rate.mid.to_string().parse().expect("a number");
                    let at = published.min(committed.at);
                    take(&mut book, (rate.base, rate.quote), (Some(mid), at), published);
                }
            }
            Request::RemoveRates(request) => {
                for pair in &request.pairs {
                    take(&mut book, (pair.base, pair.quote), (None, published), published);
                }
            }
            _ => return,
        }
        self.0.push((committed.lsn, book));
    }

    /// What stands now: middles by pair.
    pub fn now(&self) -> BTreeMap<(String, String), f64> {
        let rows = self.0.last().into_iter().flat_map(|(_, book)| book);
        rows.filter_map(|(pair, (mid, _))| mid.map(|mid| (pair.clone(), mid))).collect()
    }

    /// Whether a pair was missing at some time since `after`.
    pub fn has_gap_since(&self, after: Lsn) -> bool {
        let from = self.0.iter().rposition(|(lsn, _)| *lsn <= after);
        let is_full = |book: &Book| book.len() == 2 && book.values().all(|(mid, _)| mid.is_some());
        from.is_none() || self.0[from.unwrap_or(0)..].iter().any(|(_, book)| !is_full(book))
    }

    /// All conversions of a payment are of one book that stood at some time since `after`, and worth what they say.
    pub fn check_legs(&self, legs: &[FxLeg], after: Lsn) -> Result<(), Wrong> {
        if legs.is_empty() {
            return Ok(());
        }
        let from = self.0.iter().rposition(|(lsn, _)| *lsn <= after).unwrap_or(0);
        let of_book = |book: &Book| legs.iter().all(|leg| is_priced_by(book, leg));
        must!(self.0[from..].iter().any(|(_, book)| of_book(book)), "no one book has the prices of {legs:?}");
        legs.iter().try_for_each(check_worth)
    }
}

/// Newer replaces older; what lies ahead of the moment it was accepted gives way.
fn take(book: &mut Book, (base, quote): (Currency, Currency), row: (Option<f64>, Timestamp), accepted: Timestamp) {
    let (base, quote) = (base.to_string(), quote.to_string());
    let unordered = if base < quote { (base, quote) } else { (quote, base) };
    let stands = book.get(&unordered).map(|(_, at)| *at);
    // Five minutes ahead and more is what a wrong clock wrote.
    let is_older = stands.is_some_and(|at| at.0 <= accepted.0 + 300_000_000 && row.1.0 / 1_000 < at.0 / 1_000);
    if !is_older {
        book.insert(unordered, row);
    }
}

/// Whether a book gives a conversion its middle, directly or by way of dollar or euro. Every pair here is published with
/// the letter that comes first as its base, but for the yen's.
fn is_priced_by(book: &Book, leg: &FxLeg) -> bool {
    let (from, to) = (leg.from.currency.to_string(), leg.to.currency.to_string());
    let hop = |a: &str, b: &str| {
        let of = |a: &str, b: &str| book.get(&(a.to_owned(), b.to_owned())).and_then(|(mid, _)| *mid);
        // JPY/USD is published as USD/JPY.
        match (a, b) {
            ("JPY", "USD") => of("JPY", "USD").map(|mid| 1.0 / mid),
            ("USD", "JPY") => of("JPY", "USD"),
            ("EUR", "USD") => of("EUR", "USD"),
            ("USD", "EUR") => of("EUR", "USD").map(|mid| 1.0 / mid),
            _ => None,
        }
    };
    let through = |pivot: &str| Some(hop(&from, pivot)? * hop(pivot, &to)?);
    let expected = hop(&from, &to).or_else(|| through("USD")).or_else(|| through("EUR"));
    let mid: f64 = leg.mid.to_string().parse().expect("a number");
    expected.is_some_and(|expected| (mid / expected - 1.0).abs() < 1e-9)
}

/// A payer never pays less than the worth at the middle, a payee never gets more, and neither is off by more than the
/// spread and a minor unit.
fn check_worth(leg: &FxLeg) -> Result<(), Wrong> {
    let mid: f64 = leg.mid.to_string().parse().expect("a number");
    let worth = units(leg.from) * mid * unit(leg.to);
    #[expect(clippy::cast_precision_loss, reason = "amounts here are small")]
    let posted = leg.to.minor as f64;
    let (least, most) = match leg.side {
        LegSide::Payer => (worth, worth * 1.021 + 1.0),
        LegSide::Payee => (worth * 0.979 - 1.0, worth),
        LegSide::Both => (worth, worth + 1.0),
    };
    must!(posted >= least - 1e-6 && posted <= most + 1e-6, "{leg:?} is worth {worth}");
    Ok(())
}

/// An amount in whole units of its currency.
fn units(amount: Money) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "amounts here are small")]
    let minor = amount.minor as f64;
    minor / unit(amount)
}

/// How many minor units a unit has.
fn unit(amount: Money) -> f64 {
    if amount.currency.to_string() == "JPY" { 1.0 } else { 100.0 }
}
