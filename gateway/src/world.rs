//! The small world of the demo, made once: customers with accounts and money, merchants, and a first set of rates.
//!
//! Every command has a fixed tx_id, so seeding a data directory twice changes nothing.

use std::sync::Arc;

use anyhow::{Context, ensure};
use arus_engine::{
    Command, Engine,
    ledger::{
        commands::{Deposit, OpenAccount, PublishRates, Request, funds::Funds, publish_rates::PublishedRate},
        fx::RateSource,
        notes::Notes,
    },
    money::{AccountId, Currency, Money, OwnerId, Rate, TxId},
};
use rand::{Rng, SeedableRng, rngs::SmallRng, seq::IndexedRandom};
use tokio::{sync::Semaphore, task::JoinSet};

use crate::convert::{TENANT, command};

/// One day of European Central Bank reference rates, the newest first.
const ECB_SAMPLE: &str = include_str!("../data/ecb-sample.csv");
/// What the keys of all that the demo does by itself begin with.
const KEYS: &str = "demo-";
/// What `CUST-1` gets with every start, in IDR.
pub const REFILL: &str = "10000000.00";
/// Customers besides `CUST-1`.
const CUSTOMERS: u32 = 1_000;
/// Merchants; the first is the house.
const MERCHANTS: u32 = 20;
/// Currencies with what a new account holds, in major units.
const CURRENCIES: [(&str, &str); 5] =
    [("IDR", "150000000"), ("SGD", "12000"), ("USD", "9000"), ("EUR", "8500"), ("JPY", "1400000")];
/// The accounts of `CUST-1`, whose default is IDR.
const FIRST_CUSTOMER: [Funded; 2] = [("IDR", "150000000"), ("SGD", "12000")];
/// The currencies that the demo's feed keeps moving against the euro.
const FEED: [&str; 9] = ["USD", "JPY", "GBP", "CHF", "AUD", "IDR", "SGD", "INR", "MYR"];
/// The most random customers beside them.
pub const RANDOM_MAX: i64 = 100_000;
/// Owners at work at once while seeding.
const SEEDING: usize = 256;

/// Makes the world unless it is there; says whether it was made.
pub async fn seed(engine: &Engine) -> anyhow::Result<bool> {
    check_is_ours(engine).await?;
    let [.., (code, _)] = FIRST_CUSTOMER;
    let last = engine.account(TENANT, &account_id("CUST-1", code)?).await;
    if last.is_ok_and(|view| view.account.credits_posted > 0) {
        return Ok(false);
    }
    open_all(engine, owners()).await?;
    // Last, so that a world half made is made whole by the next start.
    for (code, amount) in FIRST_CUSTOMER {
        open_and_fund(engine, "CUST-1", code, amount).await?;
    }
    Ok(true)
}

/// A data directory that did not begin as a demo's is somebody's own: nothing is made in it.
async fn check_is_ours(engine: &Engine) -> anyhow::Result<()> {
    let Some(first) = engine.first_entry().await? else { return Ok(()) };
    ensure!(
        first.entry.tx_id.starts_with(KEYS),
        "the data directory holds entries that are not the demo's: its customers and money would be mixed up with them; \
         name another one (--data-dir), or start this one with arus serve"
    );
    Ok(())
}

/// Makes the random customers that are not there yet.
pub async fn seed_random(engine: &Engine, count: u32, seed: u64) -> anyhow::Result<()> {
    open_all(engine, (1..=count).map(|n| random(seed, n))).await
}

/// Who the `n`th random customer of a seed is.
pub fn random_owner(seed: u64, n: u32) -> String {
    format!("RANDOM-{seed}-{n:06}")
}

/// The `n`th random customer of a seed, with a currency and up to what a customer of the small world has in it.
fn random(seed: u64, n: u32) -> (String, Vec<(&'static str, String)>) {
    let mut random = SmallRng::seed_from_u64(seed.rotate_left(32) ^ u64::from(n));
    let (code, most) = CURRENCIES.choose(&mut random).copied().unwrap_or(("USD", "1"));
    let amount = random.random_range(1..=most.parse().unwrap_or(1_u64));
    (random_owner(seed, n), vec![(code, amount.to_string())])
}

type Funded = (&'static str, &'static str);

/// Opens and funds the accounts of many owners; those that are there stay as they are.
async fn open_all<Amount: AsRef<str> + Send + 'static>(
    engine: &Engine,
    owners: impl Iterator<Item = (String, Vec<(&'static str, Amount)>)>,
) -> anyhow::Result<()> {
    let mut tasks = JoinSet::new();
    let limit = Arc::new(Semaphore::new(SEEDING));
    for (owner, currencies) in owners {
        let (engine, permit) = (engine.clone(), Arc::clone(&limit).acquire_owned().await?);
        tasks.spawn(async move {
            for (code, amount) in currencies {
                open_and_fund(&engine, &owner, code, amount.as_ref()).await?;
            }
            drop(permit);
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// Everybody, with the currencies of their accounts; the first is the default.
fn owners() -> impl Iterator<Item = (String, Vec<Funded>)> {
    let [idr, sgd, usd, eur, jpy] = CURRENCIES;
    let customers = (1..=CUSTOMERS).map(move |n| {
        let mine = match n % 5 {
            0 => vec![idr, sgd, usd],
            1 => vec![idr, usd],
            2 => vec![usd, eur],
            3 => vec![sgd, jpy],
            _ => vec![jpy, idr, eur],
        };
        (format!("CUST-{n:04}"), mine)
    });
    let none = |(code, _): Funded| (code, "0");
    let merchants = (1..=MERCHANTS).map(move |n| {
        let mine = if n == 1 { vec![usd, idr, sgd, eur, jpy] } else { vec![usd, if n % 2 == 0 { idr } else { sgd }] };
        (format!("MERCH-{n:03}"), mine.into_iter().map(none).collect())
    });
    customers.chain(merchants)
}

/// The id of an owner's account in a currency: `acct-CUST-1-IDR`.
pub fn account_id(owner: &str, code: &str) -> anyhow::Result<AccountId> {
    Ok(AccountId::parse(&format!("acct-{owner}-{code}"))?)
}

async fn open_and_fund(engine: &Engine, owner: &str, code: &str, amount: &str) -> anyhow::Result<()> {
    let (id, currency) = (account_id(owner, code)?, Currency::from_code(code)?);
    let open = OpenAccount {
        account: Some(id.clone()),
        owner: OwnerId::parse(owner)?,
        currency,
        overdraft_limit: 0,
        minimum_balance: None,
        daily_debit_limit: None,
    };
    submit(engine, &format!("{KEYS}open-{owner}-{code}"), Request::OpenAccount(open)).await?;
    let amount = Money::parse(amount, currency)?;
    if amount.minor > 0 {
        let deposit = Request::Deposit(Deposit(Funds { account: id, amount }));
        submit(engine, &format!("{KEYS}fund-{owner}-{code}"), deposit).await?;
    }
    Ok(())
}

async fn submit(engine: &Engine, tx_id: &str, request: Request) -> anyhow::Result<()> {
    let command: Command = command(TxId::parse(tx_id)?, request, Notes::default());
    let reply = engine.submit(command).await.with_context(|| format!("seeding {tx_id}"))?;
    let failure = reply.committed.entry.failure();
    ensure!(failure.is_none(), "seeding {tx_id} was declined: {failure:?}");
    Ok(())
}

/// Gives `CUST-1` what one start of the demo spends, so that it never runs dry.
pub async fn refill(engine: &Engine) -> anyhow::Result<()> {
    let amount = Money::parse(REFILL, Currency::from_code("IDR")?)?;
    let refill = Request::Deposit(Deposit(Funds { account: account_id("CUST-1", "IDR")?, amount }));
    submit(engine, &format!("{KEYS}refill-{}", engine.clock().new_id()), refill).await
}

/// The sample's newest rates against the euro, of the currencies the feed moves.
pub fn sample_rates() -> anyhow::Result<Vec<PublishedRate>> {
    let mut reader = csv::ReaderBuilder::new().comment(Some(b'#')).flexible(true).from_reader(ECB_SAMPLE.as_bytes());
    let codes = reader.headers()?.clone();
    let newest = reader.records().next().context("the sample has no rates")??;
    let mut rates = Vec::with_capacity(FEED.len());
    for (code, mid) in codes.iter().zip(newest.iter()).filter(|(code, _)| FEED.contains(code)) {
        let mid = Rate::parse(mid).with_context(|| format!("sample rate of {code}"))?;
        rates.push(PublishedRate {
            base: Currency::from_code("EUR")?,
            quote: Currency::from_code(code)?,
            mid,
            spread_bps: None,
        });
    }
    Ok(rates)
}

/// Publishes rates as the demo's own.
pub async fn publish(engine: &Engine, rates: Vec<PublishedRate>) -> anyhow::Result<()> {
    let publish = PublishRates { source: RateSource::Demo, as_of: None, rates };
    let tx_id = format!("{KEYS}rates-{}", engine.clock().new_id());
    submit(engine, &tx_id, Request::PublishRates(publish)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_has_all_currencies_of_the_feed() {
        let rates = sample_rates().expect("the sample reads");
        assert_eq!(rates.len(), FEED.len());
        assert!(rates.iter().any(|rate| rate.quote.code() == "IDR" && rate.mid.to_string() == "20275.17"));
    }

    #[test]
    fn a_seed_makes_the_same_random_customers_with_money_in_every_currency() {
        let many = |seed| (1..=200).map(|n| random(seed, n)).collect::<Vec<_>>();
        assert_eq!(many(7), many(7));
        assert_ne!(many(7), many(8));
        assert_eq!(many(7)[0].0, "RANDOM-7-000001");
        for (code, most) in CURRENCIES {
            let amounts = many(7).into_iter().filter(|(_, accounts)| accounts[0].0 == code);
            let amounts: Vec<u64> = amounts.map(|(_, accounts)| accounts[0].1.parse().expect("a number")).collect();
            assert!(!amounts.is_empty() && amounts.iter().all(|amount| *amount >= 1), "{code}");
            assert!(*amounts.iter().max().expect("some") <= most.parse().expect("a number"), "{code}");
        }
    }
}
