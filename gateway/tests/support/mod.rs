//! A real server on free ports with real gRPC clients, in the test's own process.
#![allow(dead_code, unreachable_pub, clippy::panic, reason = "each test file uses its part, and fails by panicking")]

pub mod h2;
pub mod http;

use std::{path::Path, sync::Arc, time::Duration};

use arus::{
    config::{Listen, Settings},
    ports::Addresses,
    ports::Ports,
    server::Servers,
};
use arus_engine::{gate::caller::Answering, runtime::threads::Running};
use arus_proto::{
    common::v1::Money,
    fx::v1::{PublishRatesRequest, PublishedRate, RateSource, fx_service_client::FxServiceClient},
    payments::v1::{CreatePaymentRequest, Payment, payments_service_client::PaymentsServiceClient},
    risk::v1::risk_service_client::RiskServiceClient,
    wallet::v1::{
        Account, DepositRequest, GetAccountRequest, OpenAccountRequest, wallet_service_client::WalletServiceClient,
    },
};
use tempfile::TempDir;
use tonic::{Status, transport::Channel};

/// No await in a test takes longer.
pub const LIMIT: Duration = Duration::from_secs(120);

/// A running server.
pub struct Server {
    pub running: Option<Running>,
    pub servers: Option<Servers>,
    pub addresses: Addresses,
    pub dir: TempDir,
}

/// Clients of all services.
#[derive(Clone)]
pub struct Clients {
    pub payments: PaymentsServiceClient<Channel>,
    pub wallet: WalletServiceClient<Channel>,
    pub fx: FxServiceClient<Channel>,
    pub risk: RiskServiceClient<Channel>,
}

pub fn settings() -> Settings {
    let mut settings = Settings { listen: Listen::any_port(), ..Settings::default() };
    // Two, so that messages cross threads on any machine.
    settings.engine.arbiters = 2;
    settings.engine.segment_bytes = 8 << 20;
    settings.engine.index_run_interval_ms = 5;
    settings
}

impl Server {
    pub async fn start() -> (Self, Clients) {
        Self::with(settings()).await
    }

    pub async fn with(settings: Settings) -> (Self, Clients) {
        Self::on(TempDir::new().expect("a temp dir"), settings).await
    }

    pub async fn on(dir: TempDir, settings: Settings) -> (Self, Clients) {
        let ports = Ports::take(&settings).expect("ports are free");
        let running = start_engine(dir.path(), &settings);
        let servers = Servers::start(running.engine().clone(), &settings, ports).await.expect("they open");
        let addresses = servers.addresses.clone();
        let clients = Clients::connect(&addresses).await;
        (Self { running: Some(running), servers: Some(servers), addresses, dir }, clients)
    }

    pub fn rest(&self) -> std::net::SocketAddr {
        self.addresses.rest.expect("REST is served")
    }

    /// Drains as the binary does and gives the data directory back.
    pub async fn stop(mut self) -> TempDir {
        if let Some(servers) = self.servers.take() {
            servers.drain(tokio::time::Instant::now() + LIMIT).await;
        }
        let running = self.running.take().expect("it runs");
        let drained = tokio::task::spawn_blocking(move || running.shut_down(LIMIT)).await.expect("no panic");
        assert_eq!(drained, arus_engine::runtime::threads::Drained::Clean);
        self.dir
    }
}

/// A panic on one of the engine's own threads kills an actor and later sends vanish: it fails the whole test run at
/// once instead (P11). A panic of the test itself stays an ordinary failure.
fn abort_if_the_engine_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            default(info);
            let thread = std::thread::current();
            let name = thread.name().unwrap_or_default();
            if name.starts_with("actix-rt") || name.starts_with("arus-") {
                std::process::abort();
            }
        }));
    });
}

pub fn start_engine(path: &Path, settings: &Settings) -> Running {
    abort_if_the_engine_panics();
    let on_fatal = Arc::new(|why: &str| {
        eprintln!("fatal: {why}");
        std::process::abort();
    });
    let answering = Answering::On(tokio::runtime::Handle::current());
    Running::start(path, settings.engine.clone(), answering, on_fatal).expect("the engine starts").0
}

impl Clients {
    pub async fn connect(addresses: &Addresses) -> Self {
        let channel = |address| async move {
            let endpoint = Channel::from_shared(format!("http://{address}")).expect("an address");
            endpoint.timeout(LIMIT).connect().await.expect("the server listens")
        };
        Self {
            payments: PaymentsServiceClient::new(channel(addresses.payments).await),
            wallet: WalletServiceClient::new(channel(addresses.wallet).await),
            fx: FxServiceClient::new(channel(addresses.fx).await),
            risk: RiskServiceClient::new(channel(addresses.risk).await),
        }
    }

    pub async fn open(&mut self, owner: &str, account: &str, currency: &str) {
        let request = OpenAccountRequest {
            tx_id: format!("open-{account}"),
            account_id: account.into(),
            owner_id: owner.into(),
            currency: currency.into(),
            ..Default::default()
        };
        let opened = self.wallet.open_account(request).await.expect("it opens").into_inner();
        assert!(opened.operation.expect("decided").failure.is_none());
    }

    pub async fn fund(&mut self, account: &str, currency: &str, amount: &str) {
        let request = DepositRequest {
            tx_id: format!("fund-{account}-{amount}"),
            account_id: account.into(),
            amount: Some(money(currency, amount)),
            ..Default::default()
        };
        let deposited = self.wallet.deposit(request).await.expect("it is decided").into_inner();
        assert!(deposited.operation.expect("decided").failure.is_none());
    }

    /// Opens and funds.
    pub async fn account_with(&mut self, owner: &str, account: &str, currency: &str, amount: &str) {
        self.open(owner, account, currency).await;
        self.fund(account, currency, amount).await;
    }

    pub async fn account(&mut self, account: &str) -> Account {
        let request = GetAccountRequest { account_id: account.into(), as_of: None };
        self.wallet.get_account(request).await.expect("it exists").into_inner().account.expect("an account")
    }

    pub async fn balance(&mut self, account: &str) -> String {
        self.account(account).await.balance.expect("a balance").amount
    }

    pub async fn pay(&mut self, request: CreatePaymentRequest) -> Result<Payment, Status> {
        let answer = self.payments.create_payment(request).await?;
        Ok(answer.into_inner().payment.expect("a payment"))
    }

    /// Repeats a key as a client does: who joins a caller that is just giving up is told to ask again (P2).
    pub async fn pay_until_decided(&mut self, request: CreatePaymentRequest) -> Payment {
        let until = std::time::Instant::now() + LIMIT;
        loop {
            match self.pay(request.clone()).await {
                Ok(payment) => return payment,
                Err(status) => assert_eq!(status.code(), tonic::Code::Unavailable, "{status}"),
            }
            assert!(std::time::Instant::now() < until, "interrupted for ever");
        }
    }

    pub async fn rates(&mut self, tx_id: &str, source: RateSource, rates: &[(&str, &str, &str)]) {
        let rates = rates.iter().map(|(base, quote, mid)| PublishedRate {
            base: (*base).into(),
            quote: (*quote).into(),
            mid: (*mid).into(),
            spread_bps: Some(50),
        });
        let request =
            PublishRatesRequest { tx_id: tx_id.into(), source: source.into(), rates: rates.collect(), as_of: None };
        self.fx.publish_rates(request).await.expect("they are published");
    }
}

pub fn money(currency: &str, amount: &str) -> Money {
    Money { currency: currency.into(), amount: amount.into() }
}

pub fn payment(tx_id: &str, customer: &str, currency: &str, amount: &str, destination: &str) -> CreatePaymentRequest {
    CreatePaymentRequest {
        tx_id: tx_id.into(),
        customer_id: customer.into(),
        amount: Some(money(currency, amount)),
        destination_account: destination.into(),
        ..Default::default()
    }
}

/// `arus verify` finds nothing wrong, and did look.
pub fn assert_verified(data: &Path) {
    let checks = arus::verify::run(data).expect("it runs");
    assert!(checks.iter().any(|check| check.name == "index: keys") && checks.len() == 15, "{checks:?}");
    for check in checks {
        assert!(check.outcome.is_ok(), "{}: {:?}", check.name, check.outcome);
    }
}
