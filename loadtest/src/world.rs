//! The accounts of a run: opened, funded, and read again in the end.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use arus_proto::{
    fx::v1::{PublishRatesRequest, PublishedRate, RateSource, fx_service_client::FxServiceClient},
    wallet::v1::{DepositRequest, GetAccountRequest, ListEntriesRequest, OpenAccountRequest, StatementLine},
};
use tonic::{Code, Status};

use crate::{
    clients::{self, Wallets},
    options::Options,
    progress::Bar,
    workload::{MID_IDR, PLACES, Plan, SPREAD_BPS, money, units},
};

/// What every account holds at first, in minor units of its currency.
pub(crate) const FUNDS: i128 = 10_000_000_000_000;
/// The longest page of a statement.
const PAGE: i32 = 1_000;
/// Calls in flight while accounts are made and read.
const SETUP_CONCURRENCY: usize = 64;

/// The accounts of a run, with what each held before it.
pub(crate) struct World {
    /// A connection.
    pub(crate) wallets: Wallets,
    /// What each account held, by number.
    pub(crate) start: Vec<Held>,
    /// What the house's desks held, where the run converts: IDR, USD. Minor units.
    pub(crate) desks: Option<[i128; 2]>,
}

/// An account's money, in minor units unless somebody asked for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    /// Posted.
    pub(crate) balance: i128,
    /// Set aside or expected, both added up.
    pub(crate) pending: i128,
}

/// Opens and funds the accounts of a plan that are not given, and two more between which a sample payment is made.
pub(crate) async fn make(options: &Options, plan: &Plan) -> anyhow::Result<World> {
    let wallets = Wallets::new(clients::channel("WalletService", &options.wallet).await?);
    if plan.is_converting() {
        publish_rate(options, plan).await?;
    }
    let bar = Bar::new("accounts", plan.accounts + 2);
    for_each(plan.accounts + 2, |n| {
        let (mut wallets, plan, bar) = (wallets.clone(), plan.clone(), bar.clone());
        async move {
            if plan.given(n).is_some() {
                return Ok(());
            }
            let open = OpenAccountRequest {
                tx_id: format!("open-{}", plan.account(n)),
                account_id: plan.account(n),
                owner_id: plan.owner_id(n).to_string(),
                currency: plan.currency(n).into(),
                ..Default::default()
            };
            wallets.open_account(open).await?;
            let fund = DepositRequest {
                tx_id: format!("fund-{}", plan.account(n)),
                account_id: plan.account(n),
                amount: Some(money(plan.currency(n), FUNDS)),
                ..Default::default()
            };
            wallets.deposit(fund).await?;
            bar.add(1);
            Ok(())
        }
    })
    .await?;
    bar.done();
    let start = match plan.given(0) {
        None => vec![Held { balance: FUNDS, pending: 0 }; usize::try_from(plan.accounts)?],
        Some(_) => balances(&wallets, plan).await?,
    };
    Ok(World { wallets, start, desks: None })
}

/// What the house's desks in IDR and USD hold, in minor units.
pub(crate) async fn desks(wallets: &Wallets) -> anyhow::Result<[i128; 2]> {
    Ok([desk(wallets, "IDR", PLACES).await?, desk(wallets, "USD", PLACES).await?])
}

/// The house's desk in a currency.
pub(crate) fn desk_id(currency: &str) -> String {
    format!("sys/fx/{currency}")
}

/// What the house's desk in a currency holds; one that nobody traded with yet holds nothing.
pub(crate) async fn desk(wallets: &Wallets, currency: &str, places: u32) -> anyhow::Result<i128> {
    match held(&mut wallets.clone(), desk_id(currency), places).await {
        Ok(held) => Ok(held.balance),
        Err(error) if error.downcast_ref::<Status>().is_some_and(|s| s.code() == Code::NotFound) => Ok(0),
        Err(error) => Err(error),
    }
}

/// What all accounts of a plan hold.
pub(crate) async fn balances(wallets: &Wallets, plan: &Plan) -> anyhow::Result<Vec<Held>> {
    let nothing = Held { balance: 0, pending: 0 };
    let found = Arc::new(Mutex::new(vec![nothing; usize::try_from(plan.accounts)?]));
    for_each(plan.accounts, |n| {
        let (mut wallets, id, found) = (wallets.clone(), plan.account(n), Arc::clone(&found));
        async move {
            let held = held(&mut wallets, id, PLACES).await?;
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            found.get_mut(usize::try_from(n)?).map(|place| *place = held).context("a known account")
        }
    })
    .await?;
    Ok(std::mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner)))
}

/// Reads a whole statement, newest line first.
pub(crate) async fn statement(
    wallets: &Wallets,
    account_id: String,
    mut visit: impl FnMut(StatementLine),
) -> anyhow::Result<()> {
    let (mut wallets, mut page_token) = (wallets.clone(), String::new());
    loop {
        let ask = ListEntriesRequest { account_id: account_id.clone(), page_size: PAGE, page_token };
        let page = wallets.list_entries(ask).await?.into_inner();
        page.entries.into_iter().for_each(&mut visit);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(());
        }
    }
}

async fn publish_rate(options: &Options, plan: &Plan) -> anyhow::Result<()> {
    let mut fx = FxServiceClient::new(clients::channel("FxService", &options.fx).await?);
    let rate =
        PublishedRate { base: "USD".into(), quote: "IDR".into(), mid: MID_IDR.into(), spread_bps: Some(SPREAD_BPS) };
    let request = PublishRatesRequest {
        tx_id: format!("rates-{}", plan.run),
        source: RateSource::Ecb.into(),
        rates: vec![rate],
        as_of: None,
    };
    fx.publish_rates(request).await?;
    Ok(())
}

/// What an account holds, in units of so many decimal places.
pub(crate) async fn held(wallets: &mut Wallets, id: String, places: u32) -> anyhow::Result<Held> {
    let answer = wallets.get_account(GetAccountRequest { account_id: id.clone(), as_of: None }).await?.into_inner();
    let account = answer.account.with_context(|| format!("{id} was not answered"))?;
    let [balance, debits, credits] = [account.balance, account.pending_debits, account.pending_credits].map(|money| {
        money.and_then(|money| units(&money, places)).with_context(|| format!("{id} has an amount that cannot be read"))
    });
    Ok(Held { balance: balance?, pending: debits? + credits? })
}

/// Runs `count` calls, some at a time; the first error ends it.
pub(crate) async fn for_each<F>(count: u64, call: impl Fn(u64) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..count {
        if calls.len() >= SETUP_CONCURRENCY
            && let Some(done) = calls.join_next().await
        {
            done??;
        }
        calls.spawn(call(n));
    }
    while let Some(done) = calls.join_next().await {
        done??;
    }
    Ok(())
}
