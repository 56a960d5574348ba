//! `arus demo`: a small world, a few payments that show what a payment can become, and a running server.

use arus_engine::{
    Engine, Reply,
    ledger::{
        entry::Outcome,
        request::{CreatePayment, Notes, Request},
    },
    money::{AccountId, Currency, Money, OwnerId, TxId},
};

use crate::{
    convert::{TENANT, command},
    feed,
    server::Addresses,
    world,
};

/// Seeds, starts the feed, makes the sample payments, and says how to go on.
pub async fn run(engine: &Engine, addresses: &Addresses) -> anyhow::Result<()> {
    let made = world::seed(engine).await?;
    let base = world::sample_rates()?;
    world::refill(engine).await?;
    world::publish(engine, base.clone()).await?;
    tokio::spawn(feed::run(engine.clone(), base));
    let world = if made { "seeded: " } else { "found: " };
    say(&format!("world    {world}customers CUST-1 and CUST-0001..CUST-1000, merchants MERCH-001..MERCH-020"));
    say(&format!("rates    ECB sample as source demo, moving every {} s", feed::PERIOD.as_secs()));
    say("");
    samples(engine).await?;
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
    Ok(())
}

async fn samples(engine: &Engine) -> anyhow::Result<()> {
    let run = engine.clock().new_id();
    let key = |name: &str| format!("demo-{name}-{run}");
    let eur_to = Some(world::account_id("MERCH-003", "SGD")?);
    pay(engine, "same currency", &key("a"), "CUST-1", "75000.00 IDR", None).await?;
    pay(engine, "USD out of IDR", &key("b"), "CUST-1", "250.00 USD", None).await?;
    pay(engine, "three currencies", &key("c"), "CUST-1", "40.00 EUR", eur_to).await?;
    pay(engine, "too much money", &key("d"), "CUST-0002", "30000.00 USD", None).await?;
    pay(engine, "too risky", &key("e"), "CUST-0002", "60000.00 USD", None).await?;
    pay(engine, "the second again", &key("b"), "CUST-1", "250.00 USD", None).await
}

/// Makes one payment and prints its path on one line, its conversions below.
async fn pay(
    engine: &Engine,
    title: &str,
    tx_id: &str,
    customer: &str,
    amount: &str,
    destination: Option<AccountId>,
) -> anyhow::Result<()> {
    let (number, code) = amount.split_once(' ').unwrap_or((amount, ""));
    let amount = Money::parse_positive(number, Currency::from_code(code)?)?;
    let request = CreatePayment { customer: OwnerId::parse(customer)?, amount, source: None, destination };
    let request = Request::CreatePayment(request);
    let reply = engine.submit(command(TxId::parse(tx_id)?, request, Notes::default())).await?;
    print_payment(engine, title, amount, &reply).await
}

async fn print_payment(engine: &Engine, title: &str, amount: Money, reply: &Reply) -> anyhow::Result<()> {
    let Outcome::Payment(payment) = &reply.committed.entry.outcome else { return Ok(()) };
    let lsn = reply.committed.lsn;
    let replayed = if reply.replayed { ", replayed" } else { "" };
    match (&payment.failure, payment.debited, payment.credited) {
        (None, Some(debited), Some(credited)) => {
            say(&format!("{title:<17} {amount} -> CAPTURED (lsn {lsn}{replayed})"));
            say(&format!("    {} -{debited}, {} +{credited}", payment.payer, payment.payee));
        }
        (Some(failure), ..) => say(&format!("{title:<17} {amount} -> FAILED (lsn {lsn}{replayed}) {failure}")),
        _ => {}
    }
    for leg in &payment.fx {
        let via = leg.via.map_or_else(String::new, |via| format!(" through {via}"));
        say(&format!("    {} = {} at {} (mid {}, {} bps{via})", leg.from, leg.to, leg.rate, leg.mid, leg.spread_bps));
    }
    if payment.failure.is_none() {
        let view = engine.account(TENANT, &payment.payer).await?;
        say(&format!("    {} now has {}", payment.payer, view.available));
    }
    Ok(())
}

#[allow(clippy::print_stdout, reason = "the demo talks to a person")]
fn say(line: &str) {
    println!("{line}");
}
