//! Replays a CSV of transactions: opens and funds the accounts it names, makes the payments, holds every answer against
//! its row and every balance, desks too, against the answers.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, ensure};
use arus_proto::{
    common::v1::Money,
    fx::v1::{PublishRatesRequest, PublishedRate, RateSource, fx_service_client::FxServiceClient},
    payments::v1::Payment,
    wallet::v1::{DepositRequest, OpenAccountRequest, wallet_service_client::WalletServiceClient},
};
use clap::Args;
use tonic::Status;
use tonic_types::StatusExt;

use crate::{
    drive::{connect, endpoint},
    oracle::{NAMED, Oracle},
    progress::Bar,
    record::Recorder,
    report::{CAPTURED, FAILED, Report},
    rows::{self, Transaction},
    say,
    workload::PLACES_MAX,
    world::{self, Held, Wallets},
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

/// What answers said.
#[derive(Default)]
struct Books {
    /// What accounts and desks gained, in units of [`PLACES_MAX`] decimal places.
    moved: HashMap<String, i128>,
    /// How many payments were not decided as the file says, and the first of them.
    odd: usize,
    named: Vec<String>,
}

impl Books {
    fn odd(&mut self, transaction: &Transaction, what: &str) {
        self.odd += 1;
        if self.named.len() < NAMED {
            self.named.push(format!("row {} ({}): {what}", transaction.row, transaction.id));
        }
    }

    /// Adds what an answer says moved; a replay moved before. Gives back how it ended.
    fn note(&mut self, transaction: &Transaction, payment: &Payment) -> Cow<'static, str> {
        let moved = match transaction.moved(payment) {
            Ok(moved) => moved,
            Err(wrong) => {
                self.odd(transaction, &wrong);
                return "WRONG ANSWER".into();
            }
        };
        let Some(moved) = moved else {
            let code = payment.failure.as_ref().map_or("", |failure| failure.code().as_str_name());
            return format!("{FAILED} {}", code.trim_start_matches("FAILURE_CODE_")).into();
        };
        if payment.replayed {
            return format!("{CAPTURED} before").into();
        }
        let mut add = |id: &str, change| *self.moved.entry(id.to_owned()).or_default() += change;
        add(&transaction.source, -moved.debited);
        add(&transaction.destination, moved.credited);
        if transaction.is_converting() {
            add(&world::desk_id(&transaction.amount.currency), moved.debited);
            add(&world::desk_id(&transaction.currency_to), -moved.credited);
        }
        CAPTURED.into()
    }

    /// A payment that was refused; says why. Gives back how it ended.
    fn refused(&mut self, transaction: &Transaction, status: &Status) -> Cow<'static, str> {
        let end = Oracle::error(status);
        let fields = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
        // Of one bad field the message says all.
        let fields = fields.iter().filter(|_| fields.len() > 1);
        let fields = fields.map(|field| format!("; {}: {}", field.field, field.description));
        self.odd(transaction, &format!("{end}: {}{}", status.message(), fields.collect::<String>()));
        end.into()
    }
}

/// Replays a file.
pub(crate) async fn replay(args: &ReplayArgs) -> anyhow::Result<()> {
    let transactions = Arc::new(rows::read(&args.file)?);
    ensure!(!transactions.is_empty(), "{} has no transactions", args.file.display());
    ensure!(args.concurrency >= 1, "--concurrency is 0; allowed: 1 and more");
    let wallets = WalletServiceClient::new(endpoint(&args.wallet)?.connect().await.context("WalletService")?);
    let accounts = open_accounts(args, &transactions, &wallets).await?;
    let currencies = currencies(&transactions);
    let before = balances(&wallets, &accounts, &currencies).await?;
    let (report, books) = drive(args, &transactions).await?;
    report.print();
    ensure!(
        books.odd == 0,
        "{} payments were not decided as the file says; once that is mended, replay it again: what happened is answered again; {}",
        books.odd,
        books.named.join("; ")
    );
    let after = balances(&wallets, &accounts, &currencies).await?;
    let mut differing = Vec::new();
    for (id, after) in &after {
        let mut expected = before.get(id).copied().unwrap_or(Held { balance: 0, pending: 0 });
        expected.balance += books.moved.get(id).copied().unwrap_or_default();
        if *after != expected {
            differing.push(format!("{id} has {after:?}, acknowledged were {expected:?}"));
        }
    }
    differing.sort();
    let some = differing.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
    ensure!(differing.is_empty(), "{} accounts differ (in ten-thousandths): {some}", differing.len());
    ensure!(report.captured() > 0, "no payment moved money");
    say(&format!("oracle   all {} balances, with {} desks, are as acknowledged", after.len(), currencies.len()));
    Ok(())
}

/// The currencies that the file converts, each of which has a desk.
fn currencies(transactions: &[Transaction]) -> BTreeSet<String> {
    let converting = transactions.iter().filter(|transaction| transaction.is_converting());
    converting.flat_map(|of| [of.amount.currency.clone(), of.currency_to.clone()]).collect()
}

/// Makes the payments.
async fn drive(args: &ReplayArgs, transactions: &Arc<Vec<Transaction>>) -> anyhow::Result<(Report, Books)> {
    let clients = connect(&args.payments, 4).await.context("PaymentsService")?;
    let (recorder, books) = (Arc::new(Recorder::start()), Arc::new(Mutex::new(Books::default())));
    let bar = Bar::new("payments", transactions.len() as u64);
    let mut callers = tokio::task::JoinSet::new();
    for (caller, client) in (0..args.concurrency).zip(clients.iter().cycle()) {
        let (transactions, mut client, bar) = (Arc::clone(transactions), client.clone(), bar.clone());
        let (recorder, books, step) = (Arc::clone(&recorder), Arc::clone(&books), args.concurrency);
        callers.spawn(async move {
            for transaction in transactions.iter().skip(caller).step_by(step) {
                if recorder.is_silent() {
                    lock(&books).odd(transaction, "was not sent: the server answers nothing any more");
                    return;
                }
                let begun = Instant::now();
                let answer = client.create_payment(transaction.request()).await;
                let latency = begun.elapsed();
                let end = match answer {
                    Ok(answer) => lock(&books).note(transaction, &answer.into_inner().payment.unwrap_or_default()),
                    Err(status) => lock(&books).refused(transaction, &status),
                };
                recorder.note(&end, latency, 1);
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
    let books = std::mem::take(&mut *lock(&books));
    Ok((report, books))
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
        is_converting |= transaction.is_converting();
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
                owner_id: rows::owner(id),
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

/// What the accounts of a file and the desks hold, by id; in units of [`PLACES_MAX`] decimal places.
async fn balances(
    wallets: &Wallets,
    accounts: &Arc<Vec<String>>,
    currencies: &BTreeSet<String>,
) -> anyhow::Result<HashMap<String, Held>> {
    let found = Arc::new(Mutex::new(HashMap::new()));
    world::for_each(accounts.len() as u64, |n| {
        let (mut wallets, accounts, found) = (wallets.clone(), Arc::clone(accounts), Arc::clone(&found));
        async move {
            let id = accounts.get(usize::try_from(n)?).context("an account")?;
            let held = world::held(&mut wallets, id.clone(), PLACES_MAX).await?;
            lock(&found).insert(id.clone(), held);
            Ok(())
        }
    })
    .await?;
    let mut found = std::mem::take(&mut *lock(&found));
    for currency in currencies {
        let balance = world::desk(wallets, currency, PLACES_MAX).await?;
        found.insert(world::desk_id(currency), Held { balance, pending: 0 });
    }
    Ok(found)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
