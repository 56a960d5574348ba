//! Replays a CSV of transactions: opens and funds the accounts it names, makes the payments, holds every answer against
//! its row and every balance, desks too, against the answers.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, bail, ensure};
use arus_proto::{
    fx::v1::{PublishRatesRequest, PublishedRate, RateSource, fx_service_client::FxServiceClient},
    payments::v1::Payment,
};
use clap::Args;
use tonic::Status;
use tonic_types::StatusExt;

use crate::{
    clients::{self, Wallets},
    console::say,
    ends::{self, CAPTURED, WRONG},
    opening,
    progress::Bar,
    record::Recorder,
    report::Report,
    rows::{self, Transaction},
    tally::Tally,
    wallets::{Opened, Wallet},
    workload::PLACES_MAX,
    world::{self, Held},
};

/// Begins the keys of the accounts that a replay opens.
const BY: &str = "replay";
/// What every source account is given at first, in whole units: more than a file spends.
const FUNDS: &str = "100000000000";
/// Mid rates that a file across currencies is replayed with: so much for one dollar.
const PER_DOLLAR: [(&str, &str); 30] = [
    ("AED", "3.6725"),
    ("AUD", "1.52"),
    ("BRL", "5.4"),
    ("CAD", "1.38"),
    ("CHF", "0.8"),
    ("CNY", "7.12"),
    ("CZK", "20.7"),
    ("DKK", "6.36"),
    ("GBP", "0.735"),
    ("HKD", "7.78"),
    ("HUF", "331"),
    ("IDR", "16250.5"),
    ("ILS", "3.35"),
    ("INR", "88.1"),
    ("JPY", "151.25"),
    ("KRW", "1385"),
    ("KWD", "0.305"),
    ("MXN", "18.4"),
    ("MYR", "4.2"),
    ("NOK", "9.85"),
    ("NZD", "1.68"),
    ("PHP", "57.1"),
    ("PLN", "3.62"),
    ("SAR", "3.75"),
    ("SEK", "9.3"),
    ("SGD", "1.3"),
    ("THB", "31.8"),
    ("TRY", "41.3"),
    ("VND", "26380"),
    ("ZAR", "17.4"),
];
/// The euro is quoted the other way round.
const DOLLARS_PER_EURO: &str = "1.085";
const SPREAD_BPS: u32 = 25;
/// Connections that the payments share.
const CONNECTIONS: usize = 4;

/// What to replay, and where.
#[derive(Args, Debug)]
pub(crate) struct ReplayArgs {
    /// The file: one of the two layouts of `gen`, told by its header. An account id in a currency is a wallet of its own,
    /// such as ACC-1-USD, which the customer ACC-1 owns.
    #[arg(long)]
    file: PathBuf,
    /// Open the accounts of this JSON file first, as `accounts` does; what it opens has only the money it gives.
    #[arg(long)]
    accounts: Option<PathBuf>,
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
    /// Answers that are not as their row has it.
    wrong: Tally,
    /// Rows that were refused, or whose answer did not come.
    errors: Tally,
}

impl Books {
    /// Adds what an answer says moved; a replay moved before. Gives back how it ended.
    fn note(&mut self, transaction: &Transaction, payment: &Payment) -> Cow<'static, str> {
        let moved = match transaction.moved(payment) {
            Ok(moved) => moved,
            Err(wrong) => {
                self.wrong.add(format_args!("{transaction}: {wrong}"));
                return WRONG.into();
            }
        };
        let Some(moved) = moved else {
            let code = payment.failure.as_ref().map_or("", |failure| failure.code().as_str_name());
            return ends::failed(code).into();
        };
        if payment.replayed {
            return format!("{CAPTURED} before").into();
        }
        let mut add = |id: String, change| *self.moved.entry(id).or_default() += change;
        add(transaction.source.id(), -moved.debited);
        add(transaction.destination.id(), moved.credited);
        if transaction.is_converting() {
            add(world::desk_id(&transaction.source.currency), moved.debited);
            add(world::desk_id(&transaction.destination.currency), -moved.credited);
        }
        CAPTURED.into()
    }

    /// A payment that was refused; says why. Gives back how it ended.
    fn refused(&mut self, transaction: &Transaction, status: &Status) -> Cow<'static, str> {
        let end = ends::error(status);
        let fields = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
        // Of one bad field the message says all.
        let fields = fields.iter().filter(|_| fields.len() > 1);
        let fields: String = fields.map(|field| format!("; {}: {}", field.field, field.description)).collect();
        self.errors.add(format_args!("{transaction}: {end}: {}{fields}", status.message()));
        end.into()
    }

    /// An error, if not every row was decided as it says.
    fn are_right(&self) -> anyhow::Result<()> {
        let (wrong, errors) = (self.wrong.count(), self.errors.count());
        match (wrong, errors) {
            (0, 0) => Ok(()),
            (0, _) => bail!(
                "{errors} payments were refused or not answered; once that is mended, replay it again: what happened is answered again; {}",
                self.errors
            ),
            (_, 0) => bail!("{wrong} answers are wrong: {}", self.wrong),
            _ => bail!("{wrong} answers are wrong: {}; {errors} payments were refused: {}", self.wrong, self.errors),
        }
    }
}

/// Replays a file.
pub(crate) async fn replay(args: &ReplayArgs) -> anyhow::Result<()> {
    ensure!(args.concurrency >= 1, "--concurrency is 0; allowed: 1 and more");
    let transactions = Arc::new(rows::read(&args.file)?);
    let wallets = Wallets::new(clients::channel("WalletService", &args.wallet).await?);
    if let Some(accounts) = &args.accounts {
        opening::load(accounts, &wallets).await?;
    }
    let accounts = open_accounts(rows::wallets(&transactions), &wallets).await?;
    let currencies = currencies(&transactions);
    if !currencies.is_empty() {
        publish_rates(args).await?;
    }
    let before = balances(&wallets, &accounts, &currencies).await?;
    let (report, books) = drive(args, &transactions).await?;
    report.print();
    books.are_right()?;
    let after = balances(&wallets, &accounts, &currencies).await?;
    let mut differing = Tally::default();
    for (id, after) in &after {
        let mut expected = before.get(id).copied().unwrap_or(Held { balance: 0, pending: 0 });
        expected.balance += books.moved.get(id).copied().unwrap_or_default();
        if *after != expected {
            differing.add(format_args!("{id} has {after:?}, acknowledged were {expected:?}"));
        }
    }
    ensure!(differing.count() == 0, "{} accounts differ (in ten-thousandths): {differing}", differing.count());
    ensure!(report.captured() > 0, "no payment moved money");
    say(&format!("oracle   all {} balances, with {} desks, are as acknowledged", after.len(), currencies.len()));
    Ok(())
}

/// The currencies that the file converts, each of which has a desk.
fn currencies(transactions: &[Transaction]) -> BTreeSet<String> {
    let converting = transactions.iter().filter(|transaction| transaction.is_converting());
    converting.flat_map(|of| [of.source.currency.clone(), of.destination.currency.clone()]).collect()
}

/// Makes the payments.
async fn drive(args: &ReplayArgs, transactions: &Arc<Vec<Transaction>>) -> anyhow::Result<(Report, Books)> {
    let clients = clients::payments(&args.payments, CONNECTIONS).await?;
    let (recorder, books) = (Arc::new(Recorder::start()), Arc::new(Mutex::new(Books::default())));
    let bar = Bar::new("payments", transactions.len() as u64);
    let mut callers = tokio::task::JoinSet::new();
    for (caller, client) in (0..args.concurrency).zip(clients.iter().cycle()) {
        let (transactions, mut client, bar) = (Arc::clone(transactions), client.clone(), bar.clone());
        let (recorder, books, step) = (Arc::clone(&recorder), Arc::clone(&books), args.concurrency);
        callers.spawn(async move {
            for transaction in transactions.iter().skip(caller).step_by(step) {
                if recorder.is_silent() {
                    let unsent = format_args!("{transaction}: was not sent: the server answers nothing any more");
                    lock(&books).errors.add(unsent);
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

/// Opens the wallets of a file and funds those that pay; gives back the ids. Doing it twice changes nothing, and what
/// something else opened keeps the money it has.
async fn open_accounts(all: BTreeMap<Wallet, bool>, wallets: &Wallets) -> anyhow::Result<Arc<Vec<String>>> {
    let ids = all.keys().map(Wallet::id).collect();
    let all = Arc::new(all.into_iter().collect::<Vec<_>>());
    let bar = Bar::new("accounts", all.len() as u64);
    world::for_each(all.len() as u64, |n| {
        let (mut wallets, all, bar) = (wallets.clone(), Arc::clone(&all), bar.clone());
        async move {
            let (wallet, pays) = all.get(usize::try_from(n)?).context("an account")?;
            let named = || format!("account {}", wallet.id());
            let opened = wallet.open(&mut wallets, BY, None).await.with_context(named)?;
            if *pays && opened != Opened::Elsewhere {
                wallet.fund(&mut wallets, BY, FUNDS).await.with_context(named)?;
            }
            bar.add(1);
            Ok(())
        }
    })
    .await?;
    bar.done();
    Ok(Arc::new(ids))
}

/// Publishes the rates that a file across currencies is replayed with.
async fn publish_rates(args: &ReplayArgs) -> anyhow::Result<()> {
    let mut fx = FxServiceClient::new(clients::channel("FxService", &args.fx).await?);
    let rate = |base: &str, quote: &str, mid: &str| PublishedRate {
        base: base.into(),
        quote: quote.into(),
        mid: mid.into(),
        spread_bps: Some(SPREAD_BPS),
    };
    let mut rates: Vec<_> = PER_DOLLAR.iter().map(|(quote, mid)| rate("USD", quote, mid)).collect();
    rates.push(rate("EUR", "USD", DOLLARS_PER_EURO));
    let tx_id = format!("replay-rates-{:x}", SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis());
    fx.publish_rates(PublishRatesRequest { tx_id, source: RateSource::Ecb.into(), rates, as_of: None }).await?;
    Ok(())
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

#[cfg(test)]
mod tests {
    use arus_proto::payments::v1::PaymentStatus;

    use super::*;

    #[test]
    fn wrong_answers_and_refused_rows_are_counted_and_named_apart() {
        let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/payments-simple.csv");
        let rows = rows::read(sample.as_ref()).expect("the sample is read");
        let mut books = Books::default();
        assert!(books.are_right().is_ok());
        let wrong = Payment { tx_id: "another".into(), status: PaymentStatus::Captured.into(), ..Default::default() };
        assert_eq!(books.note(&rows[0], &wrong), WRONG);
        let said = books.are_right().unwrap_err().to_string();
        assert!(said.starts_with("1 answers are wrong: row 1 (simple-1): was answered with the tx_id"), "{said}");
        assert!(!said.contains("refused"), "an answer is no error of transport: {said}");
        assert!(books.refused(&rows[1], &Status::unavailable("gone")).starts_with("Unavailable"));
        let said = books.are_right().unwrap_err().to_string();
        assert!(said.contains("1 payments were refused: row 2 (simple-2): Unavailable"), "{said}");
    }
}
