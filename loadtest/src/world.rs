//! The accounts of a run: opened, funded, and read again in the end.

use anyhow::Context;
use arus_proto::{
    fx::v1::{PublishRatesRequest, PublishedRate, RateSource, fx_service_client::FxServiceClient},
    wallet::v1::{DepositRequest, GetAccountRequest, OpenAccountRequest, wallet_service_client::WalletServiceClient},
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
/// Calls in flight while accounts are made and read.
const SETUP_CONCURRENCY: usize = 64;

/// A client of WalletService.
pub(crate) type Wallets = WalletServiceClient<Channel>;

/// Opens and funds the accounts of a plan, and two more between which a sample payment is made.
pub(crate) async fn make(options: &Options, plan: &Plan) -> anyhow::Result<Wallets> {
    let wallets = Wallets::new(endpoint(&options.wallet)?.connect().await.context("WalletService does not answer")?);
    if options.workload == Workload::CrossCurrency {
        publish_rate(options, plan).await?;
    }
    let bar = Bar::new("accounts", options.accounts + 2);
    for_each(options.accounts + 2, |n| {
        let (mut wallets, plan, bar) = (wallets.clone(), plan.clone(), bar.clone());
        async move {
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
    Ok(wallets)
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
