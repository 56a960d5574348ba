//! Dummy transactions: shaped like real life, the same for one seed. Two layouts; the header tells which.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use rand::{Rng, SeedableRng, rngs::SmallRng, seq::IndexedRandom};
use rand_distr::{Distribution, LogNormal};

use crate::{console::say, progress::Bar};

/// The most rows of one file.
const ROWS_MAX: u64 = 100_000_000;
/// Payers and payees in a file.
const CUSTOMERS: u32 = 2_000;
const MERCHANTS: u32 = 100;
/// 2026-01-01T00:00:00Z: the first day of a file.
const START_S: u64 = 1_767_225_600;
const DAY_S: u64 = 86_400;
/// How many payments of a day fall into each hour (UTC+7: a quiet night, lunch, a long evening), in thousandths.
const HOURS: [u32; 24] = [12, 9, 7, 6, 7, 12, 25, 38, 45, 48, 52, 63, 68, 55, 48, 46, 50, 58, 68, 75, 73, 62, 45, 28];
/// Currency, its decimal places, its share in percent, and the median amount in whole units.
const CURRENCIES: [(&str, u32, u32, f64); 5] =
    [("IDR", 2, 55, 85_000.0), ("SGD", 2, 18, 22.0), ("USD", 2, 15, 35.0), ("EUR", 2, 8, 30.0), ("JPY", 0, 4, 2_400.0)];
/// One transaction in so many goes to an account in another currency.
const CROSS_ONE_IN: u32 = 12;
const DESCRIPTIONS: [&str; 8] =
    ["groceries", "lunch", "ride", "phone top-up", "rent", "marketplace order", "remittance", "subscription"];

/// What to write.
#[derive(Args, Debug)]
pub(crate) struct GenArgs {
    /// How many transactions.
    #[arg(long, default_value_t = 1_000)]
    rows: u64,
    /// The file.
    #[arg(long)]
    out: PathBuf,
    /// Which columns.
    #[arg(long, value_enum, default_value_t = Layout::Full)]
    layout: Layout,
    /// The same seed makes the same file.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Which columns a file has.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `id,currency,amount,source_account,destination_account`: one currency, amount as a decimal in whole units.
    Simple,
    /// `id,source_account,destination_account,amount_minor,currency_src,currency_dst,timestamp,description`: amount in
    /// minor units of `currency_src`, time in RFC 3339 or nearly so.
    Full,
}

impl Layout {
    /// The header.
    pub(crate) fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Simple => &["id", "currency", "amount", "source_account", "destination_account"],
            Self::Full => &[
                "id",
                "source_account",
                "destination_account",
                "amount_minor",
                "currency_src",
                "currency_dst",
                "timestamp",
                "description",
            ],
        }
    }
}

/// Minor units as a decimal.
pub(crate) fn decimal(minor: u64, decimals: u32) -> String {
    let unit = 10_u64.pow(decimals);
    match decimals {
        0 => minor.to_string(),
        _ => format!("{}.{:0width$}", minor / unit, minor % unit, width = decimals as usize),
    }
}

/// Writes the file.
pub(crate) fn generate(args: &GenArgs) -> anyhow::Result<()> {
    ensure!((1..=ROWS_MAX).contains(&args.rows), "--rows is {}; allowed: 1 to {ROWS_MAX}", args.rows);
    let open = || csv::Writer::from_path(&args.out);
    let mut file = open().with_context(|| format!("{} cannot be written", args.out.display()))?;
    file.write_record(args.layout.columns())?;
    let mut random = SmallRng::seed_from_u64(args.seed);
    let bar = Bar::new("rows", args.rows);
    for n in 0..args.rows {
        file.write_record(row(&mut random, args, n)?)?;
        bar.add(1);
    }
    file.flush()?;
    bar.done();
    say(&format!("{} transactions in {}", args.rows, args.out.display()));
    Ok(())
}

fn row(random: &mut SmallRng, args: &GenArgs, n: u64) -> anyhow::Result<Vec<String>> {
    let pick = |random: &mut SmallRng| CURRENCIES.choose_weighted(random, |(_, _, share, _)| *share).copied();
    let (currency, places, _, median) = pick(random)?;
    let to = match args.layout {
        Layout::Full if random.random_ratio(1, CROSS_ONE_IN) => pick(random)?.0,
        Layout::Simple | Layout::Full => currency,
    };
    let minor = amount_minor(random, places, median)?;
    // One account id in several currencies, as real files have it; replay makes a wallet for each.
    let source = format!("dummy-cust-{:04}", random.random_range(0..CUSTOMERS));
    // A few merchants take most of it.
    let popular = random.random_range(0.0..1.0_f64).powi(3) * f64::from(MERCHANTS);
    let destination = format!("dummy-merch-{:03}", popular as u32);
    // Both layouts of one seed may be replayed on one server: a key is bound to its payment.
    let layout = match args.layout {
        Layout::Simple => "simple",
        Layout::Full => "full",
    };
    let id = format!("dummy-{layout}-{}-{n:09}", args.seed);
    Ok(match args.layout {
        Layout::Simple => vec![id, currency.into(), decimal(minor, places), source, destination],
        Layout::Full => {
            let text = DESCRIPTIONS.choose(random).copied().unwrap_or_default().to_owned();
            let at = timestamp(random, args.rows, n)?;
            vec![id, source, destination, minor.to_string(), currency.into(), to.into(), at, text]
        }
    })
}

/// Log-normal around the median; most people pay round amounts.
fn amount_minor(random: &mut SmallRng, places: u32, median: f64) -> anyhow::Result<u64> {
    let unit = 10_f64.powi(i32::try_from(places)?);
    let spread = LogNormal::new(median.ln(), 1.0)?.sample(random).clamp(median / 50.0, median * 50.0);
    let is_round = random.random_ratio(2, 3);
    let whole = if is_round { (spread / median * 20.0).ceil() * median / 20.0 } else { spread };
    Ok(((whole * unit).round() as u64).max(1))
}

/// Hour by hour over days of 20,000 payments, each hour with its share.
fn timestamp(random: &mut SmallRng, rows: u64, n: u64) -> anyhow::Result<String> {
    let per_day = rows.clamp(1, 20_000);
    let (day, place) = (n / per_day, (n % per_day) * 1_000 / per_day);
    let mut hour = 0;
    let mut share = 0;
    for (at, thousandths) in (0_u64..).zip(HOURS) {
        hour = at;
        share += u64::from(thousandths);
        if share > place {
            break;
        }
    }
    let second = START_S + day * DAY_S + hour * 3_600 + random.random_range(0..3_600);
    let at = prost_types::Timestamp { seconds: i64::try_from(second)?, nanos: 0 };
    Ok(at.to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn text(layout: Layout, seed: u64) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("dummy.csv");
        generate(&GenArgs { rows: 500, out: out.clone(), layout, seed }).expect("it writes");
        std::fs::read_to_string(out).expect("it is there")
    }

    #[test]
    fn a_seed_makes_one_file_and_the_header_tells_the_layout() {
        for layout in [Layout::Simple, Layout::Full] {
            let one = text(layout, 7);
            assert_eq!(one, text(layout, 7));
            assert_ne!(one, text(layout, 8));
            assert_eq!(one.lines().next().expect("a header"), layout.columns().join(","));
            assert_eq!(one.lines().count(), 501);
        }
        let full = text(Layout::Full, 7);
        let ids =
            |text: &str| text.lines().skip(1).map(|row| row[..row.find(',').expect("an id")].to_owned()).collect();
        let (full_ids, simple_ids): (HashSet<String>, HashSet<String>) = (ids(&full), ids(&text(Layout::Simple, 7)));
        assert!(full_ids.len() == 500 && full_ids.is_disjoint(&simple_ids), "both can be replayed on one server");
        assert!(full.lines().nth(1).expect("a row").contains("2026-01-01T"), "{full}");
    }

    #[test]
    fn hours_are_whole_and_amounts_print_as_they_are() {
        assert_eq!(HOURS.iter().sum::<u32>(), 1_000);
        assert_eq!(CURRENCIES.iter().map(|(_, _, share, _)| share).sum::<u32>(), 100);
        assert_eq!((decimal(12_345, 2), decimal(5, 2), decimal(7, 0)), ("123.45".into(), "0.05".into(), "7".into()));
    }
}
