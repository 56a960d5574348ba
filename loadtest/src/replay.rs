//! Replays a CSV of transactions: opens and funds the accounts it names, makes the payments, checks the balances.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail, ensure};
use arus_proto::{
    common::v1::Money,
    fx::v1::{PublishRatesRequest, PublishedRate, RateSource, fx_service_client::FxServiceClient},
    payments::v1::{CreatePaymentRequest, Payment, PaymentStatus},
    wallet::v1::{DepositRequest, OpenAccountRequest, wallet_service_client::WalletServiceClient},
};
use clap::Args;

use crate::{
    drive::{connect, endpoint},
    dummy::{Layout, decimal, decimals},
    oracle::Oracle,
    progress::Bar,
    record::Recorder,
    report::{CAPTURED, FAILED, Report},
    say,
    workload::minor,
    world::{self, Wallets},
};

/// What every source account is given at first, in whole units: more than a file spends.
const FUNDS: &str = "100000000000";
/// Mid rates that a file across currencies is replayed with.
const RATES: [(&str, &str, &str); 4] =
    [("USD", "IDR", "16250.5"), ("USD", "SGD", "1.3"), ("EUR", "USD", "1.085"), ("USD", "JPY", "151.25")];

/// What to replay, and where.
#[derive(Args, Debug)]
pub(crate) struct ReplayArgs {
    /// The file: one of the two layouts of `gen`, told by its header.
    #[arg(long)]
    file: PathBuf,
    /// PaymentsService.
    #[arg(long, default_value = "http://127.0.0.1:9091")]
    payments: String,
    /// FxService.
    #[arg(long, default_value = "http://127.0.0.1:9092")]
    fx: String,
    /// WalletService.
    #[arg(long, default_value = "http://127.0.0.1:9093")]
    wallet: String,
    /// Payments in flight.
    #[arg(long, default_value_t = 256)]
    concurrency: usize,
}

/// One transaction of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Transaction {
    id: String,
    source: String,
    destination: String,
    amount: Money,
    currency_to: String,
    description: String,
}

fn read(path: &PathBuf) -> anyhow::Result<Vec<Transaction>> {
    let mut file = csv::Reader::from_path(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let header: Vec<String> = file.headers()?.iter().map(str::to_owned).collect();
    let layout = [Layout::Simple, Layout::Full].into_iter().find(|layout| layout.columns() == header);
    let layout = layout.with_context(|| {
        let known = [Layout::Simple, Layout::Full].map(|layout| layout.columns().join(","));
        format!("the header of {} is {}; allowed: {}", path.display(), header.join(","), known.join(" or "))
    })?;
    let rows = file.records().enumerate().map(|(n, record)| {
        let record = record?;
        parse(layout, &record).with_context(|| format!("row {} of {}", n + 1, path.display()))
    });
    rows.collect()
}

fn parse(layout: Layout, record: &csv::StringRecord) -> anyhow::Result<Transaction> {
    let field = |name: &str| {
        let place = layout.columns().iter().position(|column| *column == name);
        let value = place.and_then(|place| record.get(place)).filter(|value| !value.is_empty());
        value.map(str::to_owned).with_context(|| format!("{name} is missing"))
    };
    let (id, source, destination) = (field("id")?, field("source_account")?, field("destination_account")?);
    Ok(match layout {
        Layout::Simple => {
            let currency = field("currency")?;
            let amount = Money { currency: currency.clone(), amount: field("amount")? };
            Transaction { id, source, destination, amount, currency_to: currency, description: String::new() }
        }
        Layout::Full => {
            let (from, to, text) = (field("currency_src")?, field("currency_dst")?, field("amount_minor")?);
            let minor =
                text.parse().with_context(|| format!("amount_minor \"{text}\" is not a count of minor units"))?;
            let places = decimals(&from).with_context(|| format!("currency_src \"{from}\" is not known here"))?;
            let amount = Money { currency: from, amount: decimal(minor, places) };
            let description = field("description").unwrap_or_default();
            Transaction { id, source, destination, amount, currency_to: to, description }
        }
    })
}

/// Replays a file.
pub(crate) async fn replay(args: &ReplayArgs) -> anyhow::Result<()> {
    let transactions = Arc::new(read(&args.file)?);
    ensure!(!transactions.is_empty(), "{} has no transactions", args.file.display());
    ensure!(args.concurrency >= 1, "--concurrency is 0; allowed: 1 and more");
    let wallets = WalletServiceClient::new(endpoint(&args.wallet)?.connect().await.context("WalletService")?);
    let accounts = open_accounts(args, &transactions, &wallets).await?;
    let before = balances(&wallets, &accounts).await?;
    let clients = connect(&args.payments, 4).await.context("PaymentsService")?;
    let (recorder, moved) = (Arc::new(Recorder::start()), Arc::new(Mutex::new(HashMap::new())));
    let bar = Bar::new("payments", transactions.len() as u64);
    let mut callers = tokio::task::JoinSet::new();
    for (caller, client) in (0..args.concurrency).zip(clients.iter().cycle()) {
        let (transactions, mut client, bar) = (Arc::clone(&transactions), client.clone(), bar.clone());
        let (recorder, moved, step) = (Arc::clone(&recorder), Arc::clone(&moved), args.concurrency);
        callers.spawn(async move {
            for transaction in transactions.iter().skip(caller).step_by(step) {
                let begun = Instant::now();
                let end = match client.create_payment(request(transaction)).await {
                    Ok(answer) => note(&moved, transaction, &answer.into_inner().payment.unwrap_or_default()),
                    Err(status) => Oracle::error(&status),
                };
                recorder.note(&end, begun.elapsed(), 1);
                bar.add(1);
            }
        });
    }
    while let Some(caller) = callers.join_next().await {
        caller?;
    }
    bar.done();
    let took = recorder.elapsed();
    let report = Report::new(format!("replay of {}", args.file.display()), took, &recorder.finish());
    report.print();
    let odd = report.answers - report.decided();
    ensure!(
        odd == 0,
        "{odd} payments were not decided as the file says; replay it again: what happened is answered again"
    );
    let after = balances(&wallets, &accounts).await?;
    let moved = moved.lock().unwrap_or_else(PoisonError::into_inner);
    for (id, after) in &after {
        let expected = before.get(id).copied().unwrap_or_default() + moved.get(id).copied().unwrap_or_default();
        if *after != expected {
            bail!("{id} has {after}, acknowledged were {expected} (hundredths)");
        }
    }
    say(&format!("oracle   all {} balances are as acknowledged", after.len()));
    Ok(())
}

fn request(transaction: &Transaction) -> CreatePaymentRequest {
    CreatePaymentRequest {
        tx_id: transaction.id.clone(),
        customer_id: owner(&transaction.source),
        amount: Some(transaction.amount.clone()),
        source_account: transaction.source.clone(),
        destination_account: transaction.destination.clone(),
        description: transaction.description.clone(),
        ..Default::default()
    }
}

fn owner(account: &str) -> String {
    format!("of-{account}")
}

/// Adds what an answer says moved; a replay moved before.
fn note(moved: &Mutex<HashMap<String, i128>>, transaction: &Transaction, payment: &Payment) -> String {
    if payment.replayed {
        return format!("{CAPTURED} or {FAILED} before");
    }
    if payment.status() != PaymentStatus::Captured {
        let code = payment.failure.as_ref().map_or("", |failure| failure.code().as_str_name());
        return format!("{FAILED} {}", code.trim_start_matches("FAILURE_CODE_"));
    }
    if minor(payment.debited.as_ref()) != minor(Some(&transaction.amount)) {
        return "WRONG AMOUNT".to_owned();
    }
    let mut moved = moved.lock().unwrap_or_else(PoisonError::into_inner);
    let (debited, credited) = (minor(payment.debited.as_ref()), minor(payment.credited.as_ref()));
    *moved.entry(payment.source_account.clone()).or_default() -= debited.unwrap_or_default();
    *moved.entry(payment.destination_account.clone()).or_default() += credited.unwrap_or_default();
    CAPTURED.to_owned()
}

/// All accounts of a file: opened, sources funded, with rates where currencies differ. Doing it twice changes nothing.
async fn open_accounts(
    args: &ReplayArgs,
    transactions: &[Transaction],
    wallets: &Wallets,
) -> anyhow::Result<Arc<Vec<String>>> {
    let mut currencies = BTreeMap::new();
    let mut is_converting = false;
    for transaction in transactions {
        currencies.insert(transaction.source.clone(), (transaction.amount.currency.clone(), true));
        currencies.entry(transaction.destination.clone()).or_insert((transaction.currency_to.clone(), false));
        is_converting |= transaction.amount.currency != transaction.currency_to;
    }
    if is_converting {
        let mut fx = FxServiceClient::new(endpoint(&args.fx)?.connect().await.context("FxService")?);
        let rates = RATES.map(|(base, quote, mid)| PublishedRate {
            base: base.into(),
            quote: quote.into(),
            mid: mid.into(),
            spread_bps: Some(25),
        });
        let tx_id = format!("replay-rates-{:x}", SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis());
        let source = RateSource::Ecb.into();
        fx.publish_rates(PublishRatesRequest { tx_id, source, rates: rates.to_vec(), as_of: None }).await?;
    }
    let all = Arc::new(currencies.into_iter().collect::<Vec<_>>());
    let bar = Bar::new("accounts", all.len() as u64);
    world::for_each(all.len() as u64, |n| {
        let (mut wallets, all, bar) = (wallets.clone(), Arc::clone(&all), bar.clone());
        async move {
            let (id, (currency, is_source)) = all.get(usize::try_from(n)?).context("an account")?;
            let open = OpenAccountRequest {
                tx_id: format!("open-{id}"),
                account_id: id.clone(),
                owner_id: owner(id),
                currency: currency.clone(),
                ..Default::default()
            };
            wallets.open_account(open).await.with_context(|| format!("account {id}"))?;
            if *is_source {
                let fund = DepositRequest {
                    tx_id: format!("fund-{id}"),
                    account_id: id.clone(),
                    amount: Some(Money { currency: currency.clone(), amount: FUNDS.into() }),
                    ..Default::default()
                };
                wallets.deposit(fund).await.with_context(|| format!("account {id}"))?;
            }
            bar.add(1);
            Ok(())
        }
    })
    .await?;
    bar.done();
    Ok(Arc::new(all.iter().map(|(id, _)| id.clone()).collect()))
}

async fn balances(wallets: &Wallets, accounts: &Arc<Vec<String>>) -> anyhow::Result<HashMap<String, i128>> {
    let found = Arc::new(Mutex::new(HashMap::new()));
    world::for_each(accounts.len() as u64, |n| {
        let (mut wallets, accounts, found) = (wallets.clone(), Arc::clone(accounts), Arc::clone(&found));
        async move {
            let id = accounts.get(usize::try_from(n)?).context("an account")?;
            let held = world::held(&mut wallets, id.clone()).await?;
            found.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), held.balance);
            Ok(())
        }
    })
    .await?;
    Ok(std::mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner)))
}
