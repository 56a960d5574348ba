//! The accounts of a run: opened, funded, and read again in the end.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use arus_proto::{
    fx::v1::{PublishRatesRequest, PublishedRate, RateSource, fx_service_client::FxServiceClient},
    wallet::v1::{
        DepositRequest, GetAccountRequest, ListEntriesRequest, OpenAccountRequest,
        wallet_service_client::WalletServiceClient,
    },
};
use tonic::transport::Channel;

use crate::{
    drive::endpoint,
    options::{Options, Workload},
    progress::Bar,
    workload::{Plan, minor, money},
};

/// What every account holds at first, in minor units of its currency.
pub(crate) const FUNDS: i128 = 10_000_000_000_000;
/// How many statements are read whole: the hottest account's and some others'.
pub(crate) const STATEMENTS: u64 = 20;
/// The longest page of a statement.
const PAGE: i32 = 1_000;
/// Calls in flight while accounts are made and read.
const SETUP_CONCURRENCY: usize = 64;

/// A client of WalletService.
pub(crate) type Wallets = WalletServiceClient<Channel>;

/// The accounts of a run, with what each held before it.
pub(crate) struct World {
    /// A connection.
    pub(crate) wallets: Wallets,
    /// By number.
    pub(crate) start: Vec<Start>,
}

/// What an account held before a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start {
    /// Minor units.
    pub(crate) balance: i128,
    /// Lines of its statement; not counted of accounts whose statements are not checked.
    pub(crate) lines: u64,
}

/// Opens and funds the accounts of a plan that are not given, and two more between which a sample payment is made.
pub(crate) async fn make(options: &Options, plan: &Plan) -> anyhow::Result<World> {
    let wallets = Wallets::new(endpoint(&options.wallet)?.connect().await.context("WalletService does not answer")?);
    if options.workload == Workload::CrossCurrency {
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
                owner_id: plan.owner(n),
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
        None => vec![Start { balance: FUNDS, lines: 1 }; usize::try_from(plan.accounts)?],
        Some(_) => read_start(&wallets, plan).await?,
    };
    Ok(World { wallets, start })
}

/// What given accounts hold, and how long the statements are that the oracle will read again.
async fn read_start(wallets: &Wallets, plan: &Plan) -> anyhow::Result<Vec<Start>> {
    let balances = balances(wallets, plan).await?;
    let mut start: Vec<_> = balances.into_iter().map(|balance| Start { balance, lines: 0 }).collect();
    for (n, start) in (0..STATEMENTS).zip(&mut start) {
        start.lines = statement_lines(wallets, plan.account(n)).await?;
    }
    Ok(start)
}

/// The posted balances of all accounts of a plan, in minor units.
pub(crate) async fn balances(wallets: &Wallets, plan: &Plan) -> anyhow::Result<Vec<i128>> {
    let found = Arc::new(Mutex::new(vec![0; usize::try_from(plan.accounts)?]));
    for_each(plan.accounts, |n| {
        let (mut wallets, id, found) = (wallets.clone(), plan.account(n), Arc::clone(&found));
        async move {
            let balance = balance(&mut wallets, id).await?;
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            found.get_mut(usize::try_from(n)?).map(|place| *place = balance).context("a known account")
        }
    })
    .await?;
    Ok(std::mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner)))
}

/// How many lines a whole statement has.
pub(crate) async fn statement_lines(wallets: &Wallets, account_id: String) -> anyhow::Result<u64> {
    let (mut wallets, mut lines, mut page_token) = (wallets.clone(), 0, String::new());
    loop {
        let ask = ListEntriesRequest { account_id: account_id.clone(), page_size: PAGE, page_token };
        let page = wallets.list_entries(ask).await?.into_inner();
        lines += page.entries.len() as u64;
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(lines);
        }
    }
}

async fn publish_rate(options: &Options, plan: &Plan) -> anyhow::Result<()> {
    let mut fx = FxServiceClient::new(endpoint(&options.fx)?.connect().await.context("FxService does not answer")?);
    let rate = PublishedRate { base: "USD".into(), quote: "IDR".into(), mid: "16250.5".into(), spread_bps: Some(25) };
    let request = PublishRatesRequest {
        tx_id: format!("rates-{}", plan.run),
        source: RateSource::Ecb.into(),
        rates: vec![rate],
        as_of: None,
    };
    fx.publish_rates(request).await?;
    Ok(())
}

/// A posted balance, in minor units.
pub(crate) async fn balance(wallets: &mut Wallets, id: String) -> anyhow::Result<i128> {
    let answer = wallets.get_account(GetAccountRequest { account_id: id.clone() }).await?.into_inner();
    let account = answer.account.with_context(|| format!("{id} was not answered"))?;
    minor(account.balance.as_ref()).with_context(|| format!("{id} has no balance that can be read"))
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
