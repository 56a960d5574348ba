//! A whole engine on a real data directory, for tests of what starts and what is refused.
#![allow(dead_code, unreachable_pub, clippy::panic, reason = "each test file uses its part, and fails by panicking")]

use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
    sync::Arc,
    time::Duration,
};

use arus_engine::{
    Command, Refusal, Reply,
    config::EngineConfig,
    gate::caller::Answering,
    ledger::{
        commands::{
            CreatePayment, Deposit, OpenAccount, PublishRates, Request, Reserve, funds::Funds,
            publish_rates::PublishedRate,
        },
        fx::RateSource,
        notes::Notes,
    },
    money::{AccountId, Currency, Lsn, Money, OwnerId, Rate, TenantId, TxId},
    runtime::threads::{Drained, Running},
};

/// No wait in a test is longer.
pub const WAIT: Duration = Duration::from_secs(120);

/// Small segments, so that there are several, and a run every moment.
pub fn config() -> EngineConfig {
    let mut config = EngineConfig {
        arbiters: 1,
        commit_bytes_max: 1 << 16,
        segment_bytes: 1 << 20,
        index_run_interval_ms: 20,
        ..EngineConfig::default()
    };
    config.risk.velocity_per_minute_max = u32::MAX;
    config
}

/// A running engine.
pub struct Server {
    pub running: Running,
    pub rebuilt: Option<String>,
    pub runtime: tokio::runtime::Runtime,
}

impl Server {
    pub fn start(data: &Path) -> Result<Self, String> {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let on_fatal = Arc::new(|why: &str| panic!("{why}"));
        let answering = Answering::On(runtime.handle().clone());
        let started = Running::start(data, config(), answering, on_fatal);
        let (running, started) = started.map_err(|error| error.to_string())?;
        Ok(Self { running, rebuilt: started.rebuilt, runtime })
    }

    pub fn submit(&self, tx_id: &str, request: Request) -> Reply {
        loop {
            match self.try_submit(tx_id, request.clone()) {
                // The next segment of a small journal is not written yet, on a machine with much else to do.
                Err(Refusal::Overloaded { .. }) => std::thread::sleep(Duration::from_millis(5)),
                decided => return decided.expect("it is decided"),
            }
        }
    }

    pub fn try_submit(&self, tx_id: &str, request: Request) -> Result<Reply, Refusal> {
        let tx_id = TxId::parse(tx_id).expect("a key");
        let (notes, timeout) = (Notes::default(), Some(WAIT));
        let command = Command { timeout, ..Command::new(TenantId(0), tx_id, request, notes) };
        let engine = self.running.engine().clone();
        let decided = self.runtime.block_on(async { tokio::time::timeout(WAIT, engine.submit(command)).await });
        decided.expect("in time")
    }

    pub fn balance(&self, account: &str) -> (Money, Lsn) {
        let (engine, id) = (self.running.engine().clone(), AccountId::parse(account).expect("an id"));
        let read = async { tokio::time::timeout(WAIT, engine.account(TenantId(0), &id)).await };
        let view = self.runtime.block_on(read).expect("in time").expect("it is there");
        (view.account.balance(), view.account.applied_lsn)
    }

    /// The index holds everything when this is back.
    pub fn stop(self) {
        let engine = self.running.engine().clone();
        assert_eq!(self.running.shut_down(WAIT), Drained::Clean);
        let (committed, indexed) = engine.progress();
        assert_eq!(indexed, committed, "the index is behind after a clean stop");
    }
}

pub fn owner(id: &str) -> OwnerId {
    OwnerId::parse(id).expect("an id")
}

pub fn account(id: &str) -> AccountId {
    AccountId::parse(id).expect("an id")
}

pub fn usd(minor: i128) -> Money {
    Money::new(minor, Currency::from_code("USD").expect("USD"))
}

pub fn payment() -> Request {
    Request::CreatePayment(CreatePayment {
        customer: owner("A"),
        amount: usd(100),
        source: None,
        destination: Some(account("b")),
        manual: None,
        sharing: None,
    })
}

/// Everything that puts rows into some table.
pub fn seed(server: &Server) {
    for (id, of) in [("a", "A"), ("b", "B")] {
        let request = Request::OpenAccount(OpenAccount {
            account: Some(account(id)),
            owner: owner(of),
            currency: usd(0).currency,
            overdraft_limit: 0,
            minimum_balance: None,
            daily_debit_limit: None,
        });
        server.submit(&format!("open-{id}"), request);
    }
    server.submit("deposit", Request::Deposit(Deposit(Funds { account: account("a"), amount: usd(10_000_000) })));
    let rate = PublishedRate {
        base: Currency::from_code("EUR").expect("EUR"),
        quote: usd(0).currency,
        mid: Rate::parse("1.1").expect("a rate"),
        spread_bps: None,
    };
    let rates = PublishRates { source: RateSource::Ecb, as_of: None, rates: vec![rate] };
    server.submit("rates", Request::PublishRates(rates));
    let reserve = Reserve { account: account("a"), amount: usd(500), destination: None, expires_in: None };
    server.submit("reserve", Request::Reserve(reserve));
}

/// Copies a folder; zeros stay holes.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("it reads") {
        let entry = entry.expect("it reads");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("it reads").is_dir() {
            copy(&entry.path(), &target);
        } else {
            copy_file(&entry.path(), &target);
        }
    }
}

pub fn copy_file(from: &Path, to: &Path) {
    let mut source = File::open(from).expect("it opens");
    let mut target = File::create(to).expect("it is made");
    let mut chunk = vec![0; 1 << 16];
    loop {
        let read = source.read(&mut chunk).expect("it reads");
        if read == 0 {
            break;
        }
        if chunk[..read].iter().all(|byte| *byte == 0) {
            target.seek(SeekFrom::Current(read as i64)).expect("it seeks");
        } else {
            target.write_all(&chunk[..read]).expect("it writes");
        }
    }
    target.set_len(source.metadata().expect("it reads").len()).expect("it is as long");
}
