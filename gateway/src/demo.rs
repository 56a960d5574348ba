//! `arus demo`: a small world, a few payments that show what a payment can become, and a running server.

use std::{
    io::{self, Write},
    time::Duration,
};

use anyhow::Context;
use arus_engine::Engine;
use clap::Args;

use crate::{feed, ports::Addresses, world};

mod samples;

/// What the demo does beside its small world.
#[derive(Args, Debug, Clone)]
pub struct Choices {
    /// Open so many more customers, RANDOM-1-000001 and so on (1 is the seed), each with one account: a random currency
    /// and balance.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=world::RANDOM_MAX))]
    pub random_accounts: u32,
    /// How often every rate moves at random: 100ms to 30s.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = period)]
    pub random_rates_every: Duration,
    /// The same seed makes the same random accounts and moves rates the same way.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// A time such as `500ms`, `5s`, that rates may move at.
fn period(text: &str) -> anyhow::Result<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let count = number.parse().ok();
    let period = match unit {
        "ms" => count.map(Duration::from_millis),
        "s" => count.map(Duration::from_secs),
        _ => None,
    };
    period.filter(|period| feed::PERIODS.contains(period)).context("allowed: 100ms to 30s, such as 500ms or 5s")
}

/// Seeds, starts the feed and makes the sample payments: all that must be there before anybody is let in.
pub async fn prepare(engine: &Engine, choices: &Choices) -> anyhow::Result<()> {
    let made = world::seed(engine).await?;
    world::seed_random(engine, choices.random_accounts, choices.seed).await?;
    let base = world::sample_rates()?;
    world::refill(engine).await?;
    world::publish(engine, base.clone()).await?;
    let every = choices.random_rates_every;
    tokio::spawn(feed::run(engine.clone(), base, every, choices.seed));
    let world = if made { "seeded: " } else { "found: " };
    say(&format!("world    {world}customers CUST-1 and CUST-0001..CUST-1000, merchants MERCH-001..MERCH-020"));
    say(&format!(
        "refill   acct-CUST-1-IDR got {} IDR, as with every start: the samples below spend it",
        world::REFILL
    ));
    if choices.random_accounts > 0 {
        let [first, last] = [1, choices.random_accounts].map(|n| world::random_owner(choices.seed, n));
        say(&format!("random   customers {first}..{last}, one account each"));
    }
    say(&format!("rates    ECB sample as source demo, moving every {every:?}"));
    say("");
    samples::make(engine).await
}

/// Says where everything is and how to go on.
pub fn welcome(addresses: &Addresses) {
    say("");
    say(&format!(
        "payments.v1.PaymentsService  {}   metrics http://{}/metrics",
        addresses.payments, addresses.metrics[0]
    ));
    say(&format!("fx.v1.FxService              {}   metrics http://{}/metrics", addresses.fx, addresses.metrics[1]));
    say(&format!(
        "wallet.v1.WalletService      {}   metrics http://{}/metrics",
        addresses.wallet, addresses.metrics[2]
    ));
    say(&format!("risk.v1.RiskService          {}   metrics http://{}/metrics", addresses.risk, addresses.metrics[3]));
    if let Some(rest) = addresses.rest {
        say(&format!("REST                         {rest}   metrics http://{rest}/metrics   API http://{rest}/docs"));
        say(&format!("the console                  http://{rest}/"));
    }
    say("");
    say("Pay 250 USD out of CUST-1's IDR wallet (paste it again: the same answer, replayed):");
    say("");
    say(&format!(
        "  npx -y @bufbuild/buf curl --protocol grpc --http2-prior-knowledge -d '{}' \\\n    http://{}/payments.v1.PaymentsService/CreatePayment",
        r#"{"tx_id":"my-first-payment","customer_id":"CUST-1","amount":{"currency":"USD","amount":"250.00"}}"#,
        addresses.payments
    ));
    say("");
    if let Some(rest) = addresses.rest {
        say("The same with curl (201 the first time, 200 again):");
        say("");
        say(&format!(
            "  curl -i -H 'Idempotency-Key: my-first-payment' -H 'Content-Type: application/json' -d '{}' \\\n    http://{rest}/v1/payments",
            r#"{"customer_id":"CUST-1","amount":{"currency":"USD","amount":"250.00"}}"#,
        ));
        say("");
    }
    say("Serving. Ctrl-C drains and stops; the data stays.");
}

/// Talks to a person, if one still listens.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_move_as_often_as_is_allowed() {
        assert_eq!(period("500ms").ok(), Some(Duration::from_millis(500)));
        assert_eq!(period("5s").ok(), Some(Duration::from_secs(5)));
        for wrong in ["", "5", "s", "5 s", "-5s", "0s", "99ms", "31s", "1m", "1.5s"] {
            assert!(period(wrong).unwrap_err().to_string().contains("such as 500ms"), "{wrong}");
        }
    }
}
