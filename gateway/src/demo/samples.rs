//! The demo's sample payments: what a payment can become, each printed with its path.

use anyhow::Context;
use arus_engine::{
    Engine, Reply,
    ledger::{
        commands::{CapturePayment, CreatePayment, RefundPayment, Request, create_payment::Manual},
        notes::Notes,
        payment::Payment,
        refund::RefundRate,
        reservation::Finality,
        splits::{Fee, Portion, Sharing, Split},
    },
    money::{AccountId, Currency, Money, OwnerId, TxId},
};

use super::say;
use crate::{
    convert::{TENANT, command},
    world,
};

/// Makes and prints them.
pub(super) async fn make(engine: &Engine) -> anyhow::Result<()> {
    let run = engine.clock().new_id();
    let key = |name: &str| format!("demo-{name}-{run}");
    let sgd = Some(world::account_id("MERCH-003", "SGD")?);
    let sharing = Some(Box::new(shared()?));
    show(engine, "same currency", &key("a"), plain("CUST-1", "75000.00 IDR")?).await?;
    show(engine, "USD out of IDR", &key("b"), plain("CUST-1", "250.00 USD")?).await?;
    let converted = CreatePayment { destination: sgd, ..plain("CUST-1", "40.00 EUR")? };
    show(engine, "three currencies", &key("c"), converted).await?;
    show(engine, "two sellers, fee", &key("f"), CreatePayment { sharing, ..plain("CUST-1", "100.00 USD")? }).await?;
    life(engine, &key("g")).await?;
    show(engine, "too much money", &key("d"), plain("CUST-0002", "30000.00 USD")?).await?;
    show(engine, "too risky", &key("e"), plain("CUST-0002", "60000.00 USD")?).await?;
    show(engine, "the second again", &key("b"), plain("CUST-1", "250.00 USD")?).await
}

fn money(text: &str) -> anyhow::Result<Money> {
    let (number, code) = text.split_once(' ').context("an amount is a number and a currency")?;
    Ok(Money::parse_positive(number, Currency::from_code(code)?)?)
}

fn plain(customer: &str, amount: &str) -> anyhow::Result<CreatePayment> {
    Ok(CreatePayment {
        customer: OwnerId::parse(customer)?,
        amount: money(amount)?,
        source: None,
        destination: None,
        manual: None,
        sharing: None,
    })
}

/// A fifth to one seller, in another currency, the rest to another; 2.9 % for the house.
fn shared() -> anyhow::Result<Sharing> {
    let split = |destination, portion, reference: &str| Split { destination, portion, reference: reference.to_owned() };
    let courier = split(world::account_id("MERCH-001", "EUR")?, Portion::BasisPoints(2_000), "courier");
    let seller = split(world::account_id("MERCH-002", "USD")?, Portion::Remainder, "seller");
    Ok(Sharing { splits: vec![courier, seller], fee: Some(Fee::BasisPoints(290)) })
}

async fn decide(engine: &Engine, tx_id: &str, request: Request) -> anyhow::Result<Reply> {
    Ok(engine.submit(command(TxId::parse(tx_id)?, request, Notes::default())).await?)
}

/// Makes one payment and prints its path on one line, its conversions below.
async fn show(engine: &Engine, title: &str, tx_id: &str, create: CreatePayment) -> anyhow::Result<()> {
    let amount = create.amount;
    let reply = decide(engine, tx_id, Request::CreatePayment(create)).await?;
    let entry = &reply.committed.entry;
    let Some(payment) = entry.payment() else { return Ok(()) };
    let (lsn, replayed) = (reply.committed.lsn, if reply.replayed { ", replayed" } else { "" });
    match (entry.failure(), payment.debited) {
        (None, Some(debited)) => {
            say(&format!("{title:<17} {amount} -> CAPTURED (lsn {lsn}{replayed})"));
            say(&format!("    {} -{debited}, {}", payment.payer, credits(payment).join(", ")));
        }
        (Some(failure), _) => say(&format!("{title:<17} {amount} -> FAILED (lsn {lsn}{replayed}) {failure}")),
        (None, None) => {}
    }
    for leg in &payment.fx {
        let via = leg.via.map_or_else(String::new, |via| format!(" through {via}"));
        say(&format!("    {} = {} at {} (mid {}, {} bps{via})", leg.from, leg.to, leg.rate, leg.mid, leg.spread_bps));
    }
    if entry.failure().is_none() {
        left(engine, &payment.payer).await?;
    }
    Ok(())
}

/// Who got how much.
fn credits(payment: &Payment) -> Vec<String> {
    match &payment.shared {
        None => payment.credited.iter().map(|credited| format!("{} +{credited}", payment.payee)).collect(),
        Some(shared) => {
            let fee = shared.fee.iter().map(|fee| &fee.part);
            shared.splits.iter().chain(fee).map(|part| format!("{} +{}", part.account, part.credited)).collect()
        }
    }
}

async fn left(engine: &Engine, account: &AccountId) -> anyhow::Result<()> {
    let view = engine.account(TENANT, account).await?;
    say(&format!("    {account} now has {}", view.available));
    Ok(())
}

/// Sets money aside, takes most of it, and gives some back.
async fn life(engine: &Engine, tx_id: &str) -> anyhow::Result<()> {
    let manual = Some(Manual { expires_in: None });
    let create = Request::CreatePayment(CreatePayment { manual, ..plain("CUST-1", "60.00 USD")? });
    let made = decide(engine, tx_id, create).await?;
    let Some(payment) = made.committed.entry.payment().map(|payment| payment.id) else { return Ok(()) };
    let (capture, refund) = (money("45.00 USD")?, money("5.00 USD")?);
    let step = CapturePayment { payment, amount: Some(capture), finality: Finality::Final };
    let captured = decide(engine, &format!("{tx_id}-capture"), Request::CapturePayment(step)).await?;
    let (rate, splits) = (RefundRate::Original, Vec::new());
    let step = RefundPayment { payment, amount: Some(refund), rate, refund_fees: false, splits };
    let refunded = decide(engine, &format!("{tx_id}-refund"), Request::RefundPayment(step)).await?;
    let [made_at, captured_at, refunded_at] = [&made, &captured, &refunded].map(|reply| reply.committed.lsn);
    say(&format!("{:<17} 60.00 USD -> AUTHORIZED (lsn {made_at})", "step by step"));
    say(&format!("    {capture} captured, the rest freed (lsn {captured_at}); {refund} refunded (lsn {refunded_at})"));
    match refunded.committed.entry.payment() {
        Some(payment) => left(engine, &payment.payer).await,
        None => Ok(()),
    }
}
