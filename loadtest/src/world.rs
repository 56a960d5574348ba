//! Accounts made for one run, the payments between them, and what their balances must be in the end.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use arus_proto::{
    common::v1::Money,
    payments::v1::CreatePaymentRequest,
    wallet::v1::{DepositRequest, GetAccountRequest, OpenAccountRequest, wallet_service_client::WalletServiceClient},
};

use crate::{Args, drive::Run};

/// What every account holds at first, in cents.
const FUNDS: u64 = 1_000_000_000;
/// Calls in flight while accounts are made and read.
const SETUP_CONCURRENCY: usize = 64;

/// See the module.
pub(crate) struct World {
    /// Makes names unique, so that runs on one server do not meet.
    pub(crate) run: String,
    accounts: u64,
    /// What each account must hold, in cents.
    balances: Vec<u64>,
}

fn usd(cents: u64) -> Option<Money> {
    Some(Money { currency: "USD".into(), amount: format!("{}.{:02}", cents / 100, cents % 100) })
}

impl World {
    /// Opens and funds `args.accounts` accounts, and one more for the sample.
    pub(crate) async fn make(args: &Args) -> anyhow::Result<Self> {
        ensure!(args.accounts >= 2, "--accounts is {}; allowed: 2 and more", args.accounts);
        let run = format!("{:x}", SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis());
        let wallet = WalletServiceClient::connect(args.wallet.clone()).await?;
        for_each(args.accounts + 1, |n| {
            let (mut wallet, run) = (wallet.clone(), run.clone());
            async move {
                let open = OpenAccountRequest {
                    tx_id: format!("open-{run}-{n}"),
                    account_id: account(&run, n),
                    owner_id: owner(&run, n),
                    currency: "USD".into(),
                    ..Default::default()
                };
                wallet.open_account(open).await?;
                let fund = DepositRequest {
                    tx_id: format!("fund-{run}-{n}"),
                    account_id: account(&run, n),
                    amount: usd(FUNDS),
                    ..Default::default()
                };
                wallet.deposit(fund).await?;
                Ok(())
            }
        })
        .await?;
        let balances = vec![FUNDS; usize::try_from(args.accounts)?];
        Ok(Self { run, accounts: args.accounts, balances })
    }

    /// The payment whose answer the echo repeats: between accounts outside the oracle, of no effect on it.
    pub(crate) fn sample_payment(&self) -> CreatePaymentRequest {
        let extra = self.accounts;
        CreatePaymentRequest {
            tx_id: format!("{}-sample-000000", self.run),
            customer_id: owner(&self.run, extra),
            amount: usd(1),
            destination_account: account(&self.run, 1),
            ..Default::default()
        }
    }

    /// The `n`th payment of a run.
    pub(crate) fn payments(&self, args: &Args, name: &str) -> impl Fn(u64) -> CreatePaymentRequest + Send + 'static {
        let (run, name, accounts, hot) = (self.run.clone(), name.to_owned(), self.accounts, args.hot_payee);
        move |n| {
            let (payer, payee) = parties(n, accounts, hot);
            CreatePaymentRequest {
                tx_id: format!("{name}-{n:010}"),
                customer_id: owner(&run, payer),
                amount: usd(cents(n)),
                destination_account: account(&run, payee),
                ..Default::default()
            }
        }
    }

    /// Notes that all payments of a run were acknowledged.
    pub(crate) fn note(&mut self, run: &Run, args: &Args) {
        for n in 0..run.calls {
            let (payer, payee) = parties(n, self.accounts, args.hot_payee);
            if let Some(balance) = usize::try_from(payer).ok().and_then(|payer| self.balances.get_mut(payer)) {
                *balance -= cents(n);
            }
            if let Some(balance) = usize::try_from(payee).ok().and_then(|payee| self.balances.get_mut(payee)) {
                *balance += cents(n);
            }
        }
    }

    /// Holds every balance against what was acknowledged; the sample's cent went to account 1.
    pub(crate) async fn check(&self, address: &str) -> anyhow::Result<usize> {
        let wallet = WalletServiceClient::connect(address.to_owned()).await?;
        for_each(self.accounts, |n| {
            let (mut wallet, id) = (wallet.clone(), account(&self.run, n));
            let held = usize::try_from(n).ok().and_then(|n| self.balances.get(n)).copied().unwrap_or_default();
            let expected = usd(held + u64::from(n == 1));
            async move {
                let answer = wallet.get_account(GetAccountRequest { account_id: id.clone() }).await?.into_inner();
                let account = answer.account.context("an account")?;
                ensure!(account.balance == expected, "{id} has {:?}, acknowledged were {expected:?}", account.balance);
                Ok(())
            }
        })
        .await?;
        Ok(self.balances.len())
    }
}

fn parties(n: u64, accounts: u64, hot_payee: bool) -> (u64, u64) {
    let spread = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
    if hot_payee {
        return (1 + spread(n) % (accounts - 1), 0);
    }
    let payer = spread(n) % accounts;
    (payer, (payer + 1 + spread(n + 7) % (accounts - 1)) % accounts)
}

fn cents(n: u64) -> u64 {
    1 + n % 99
}

fn account(run: &str, n: u64) -> String {
    format!("load-{run}-{n:06}")
}

fn owner(run: &str, n: u64) -> String {
    format!("CUST-{run}-{n:06}")
}

/// Runs a bounded number of calls at a time; the first error ends it.
async fn for_each<F>(count: u64, call: impl Fn(u64) -> F) -> anyhow::Result<()>
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
