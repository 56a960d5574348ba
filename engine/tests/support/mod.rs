//! What the deterministic tests share: an engine on a disk in memory, driven by seed, and a simple reference ledger.
#![allow(dead_code, unreachable_pub, clippy::panic, reason = "each test file uses its part, and fails by panicking")]

use std::{
    cell::RefCell,
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc, Mutex, Once,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arus_engine::{
    Command, Engine, Refusal, Reply,
    clock::Clock,
    config::EngineConfig,
    index::memory::MemoryIndex,
    journal::memory::MemoryDisk,
    keys::Fingerprint,
    ledger::{
        commands::{
            Capture, CreatePayment, Deposit, OpenAccount, PublishRates, Release, Request, Reserve, Withdraw,
            funds::Funds, publish_rates::PublishedRate,
        },
        decision::{Change, Decision},
        entry::{Committed, Entry},
        fx::RateSource,
        notes::Notes,
        reservation::Finality,
        time::Timestamp,
    },
    money::{AccountId, Currency, Money, OpId, OwnerId, PostingKind, Rate, TenantId, TxId},
    runtime::deterministic::{Deterministic, HASHER},
    runtime::recovery::StartError,
};

pub const TENANT: TenantId = TenantId(0);
pub const START: Timestamp = Timestamp(1_800_000_000_000_000);

thread_local! {
    static PANICKED: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Notes what panics on a thread from now on: a panic in an actor's task ends that task and goes nowhere else (P11).
pub fn catch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICKED.with_borrow_mut(|panicked| *panicked = Some(panic.to_string()));
            before(panic);
        }));
    });
    PANICKED.set(None);
}

/// What panicked on this thread.
pub fn panicked() -> Option<String> {
    PANICKED.with_borrow(Clone::clone)
}

/// Of the data directories here.
pub fn fingerprint() -> Fingerprint {
    HASHER.fingerprint()
}

pub fn config() -> EngineConfig {
    let mut config =
        EngineConfig { arbiters: 2, segment_bytes: 1 << 16, commit_entries_max: 8, ..EngineConfig::default() };
    config.commit_bytes_max = 1 << 14;
    // Real time must not split a block: one seed, one run.
    config.commit_collect_us_max = 10_000_000;
    config.risk.velocity_per_minute_max = u32::MAX;
    config.risk.recent_declines_max = u32::MAX;
    config.house_owner = "A".into();
    config
}

/// A world of one seed: disk, index, clock and a running engine.
pub struct World {
    pub engine: Deterministic,
    pub disk: MemoryDisk,
    pub clock: Clock,
    pub failed: Arc<AtomicBool>,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let clock = Clock::manual(START, seed);
        Self::on(MemoryDisk::new(), MemoryIndex::new(), clock)
    }

    pub fn on(disk: MemoryDisk, index: MemoryIndex, clock: Clock) -> Self {
        Self::with(disk, index, clock, config())
    }

    pub fn with(disk: MemoryDisk, index: MemoryIndex, clock: Clock, config: EngineConfig) -> Self {
        Self::try_with(disk, index, clock, config).expect("it recovers")
    }

    pub fn try_on(disk: MemoryDisk, index: MemoryIndex, clock: Clock) -> Result<Self, StartError> {
        Self::try_with(disk, index, clock, config())
    }

    fn try_with(disk: MemoryDisk, index: MemoryIndex, clock: Clock, config: EngineConfig) -> Result<Self, StartError> {
        catch_panics();
        let failed = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&failed);
        let on_fatal = Arc::new(move |_: &str| flag.store(true, Ordering::SeqCst));
        let engine = Deterministic::start(&disk, index, config, clock.clone(), on_fatal)?;
        Ok(Self { engine, disk, clock, failed })
    }

    /// Steps the engine until a future is done; a bound stands in for a timeout.
    pub async fn run<T: 'static>(&mut self, future: impl Future<Output = T> + 'static) -> T {
        let task = tokio::task::spawn_local(future);
        for _ in 0..200_000 {
            if task.is_finished() {
                return task.await.expect("no panic");
            }
            self.engine.step().await;
            assert_eq!(panicked(), None, "an actor panicked");
        }
        panic!("the engine did not answer within 200,000 steps");
    }

    pub async fn submit(&mut self, tx_id: &str, request: Request) -> Result<Reply, Refusal> {
        let (engine, command) = (self.engine.engine().clone(), command(tx_id, request));
        self.run(async move { engine.submit(command).await }).await
    }

    /// Commits and indexes all there is.
    pub async fn settle(&mut self) {
        for _ in 0..50 {
            while self.engine.step().await {}
        }
    }

    /// Three customers with USD and EUR accounts, rates, and money.
    pub async fn seed(&mut self) {
        let rates = vec![PublishedRate {
            base: currency("EUR"),
            quote: currency("USD"),
            mid: Rate::parse("1.25").expect("a rate"),
            spread_bps: Some(100),
        }];
        let rates = PublishRates { source: RateSource::Ecb, as_of: None, rates };
        self.submit("rates", Request::PublishRates(rates)).await.expect("published");
        for owner in ["A", "B", "C"] {
            for code in ["USD", "EUR"] {
                let id = account(owner, code);
                let open = OpenAccount {
                    account: Some(id.clone()),
                    owner: OwnerId::parse(owner).expect("an id"),
                    currency: currency(code),
                    overdraft_limit: 0,
                    minimum_balance: None,
                    daily_debit_limit: None,
                };
                self.submit(&format!("open-{id}"), Request::OpenAccount(open)).await.expect("opened");
                let deposit = Funds { account: id.clone(), amount: money(100_000, code) };
                self.submit(&format!("fund-{id}"), Request::Deposit(Deposit(deposit))).await.expect("funded");
            }
        }
    }
}

pub fn command(tx_id: &str, request: Request) -> Command {
    let tx_id = TxId::parse(tx_id).expect("a key");
    let timeout = Some(Duration::from_secs(3_600));
    Command { timeout, ..Command::new(TENANT, tx_id, request, Notes::default()) }
}

pub fn currency(code: &str) -> Currency {
    Currency::from_code(code).expect("a currency")
}

pub fn money(minor: i128, code: &str) -> Money {
    Money::new(minor, currency(code))
}

pub fn account(owner: &str, code: &str) -> AccountId {
    AccountId::parse(&format!("{owner}-{code}")).expect("an id")
}

/// What a publication leaves in the journal, accepted at the beginning of time.
pub fn rates_entry(rates: PublishRates) -> Entry {
    Entry {
        tenant: TENANT,
        op: OpId(1),
        tx_id: TxId::parse("rates").expect("a key"),
        request: Request::PublishRates(rates),
        notes: Notes::default(),
        decision: Box::new(Decision::of(Change::Rates, Vec::new())),
    }
}

/// The `n`th random request of a seed.
pub fn request(clock: &Clock, n: u64, reservations: &[OpId]) -> Request {
    let roll = |salt: u64, sides: u64| clock.random(n.wrapping_mul(31) ^ (salt << 40)) % sides;
    let owner = |salt| ["A", "B", "C"][roll(salt, 3) as usize];
    let code = |salt| ["USD", "EUR"][roll(salt, 2) as usize];
    let amount = |code: &str| money(1 + i128::from(roll(9, 60_000)), code);
    let (payer, payee) = (owner(1), owner(2));
    match roll(0, 12) {
        0 => {
            let code = code(3);
            Request::Deposit(Deposit(Funds { account: account(payer, code), amount: amount(code) }))
        }
        1 => {
            let code = code(3);
            Request::Withdraw(Withdraw(Funds { account: account(payer, code), amount: amount(code) }))
        }
        2 => {
            let code = code(3);
            Request::Reserve(Reserve {
                account: account(payer, code),
                amount: amount(code),
                destination: Some(account(payee, code)).filter(|to| *to != account(payer, code)),
                expires_in: Some(Duration::from_secs(3_600)),
            })
        }
        3 if !reservations.is_empty() => Request::Capture(Capture {
            reservation: reservations[roll(4, reservations.len() as u64) as usize],
            amount: None,
            destination: Some(account("C", code(3))),
            finality: Finality::Partial,
        }),
        4 if !reservations.is_empty() => {
            Request::Release(Release { reservation: reservations[roll(4, reservations.len() as u64) as usize] })
        }
        _ => Request::CreatePayment(CreatePayment {
            customer: OwnerId::parse(payer).expect("an id"),
            amount: amount(code(3)),
            source: None,
            destination: Some(account(payee, code(5))),
            manual: None,
            sharing: None,
        }),
    }
}

/// Balances by a few lines of plain arithmetic: what every entry's postings say, nothing else.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reference {
    /// Posted balance and what is set aside, per account, in minor units.
    pub accounts: BTreeMap<String, (i128, i128)>,
}

impl Reference {
    pub fn apply(&mut self, committed: &Committed) {
        if committed.entry.failure().is_some() {
            assert!(committed.entry.postings().is_empty());
        }
        for posting in committed.entry.postings() {
            let (balance, aside) = self.accounts.entry(posting.account.to_string()).or_default();
            let minor = posting.amount.minor;
            match posting.kind {
                PostingKind::Debit { .. } | PostingKind::Return => *balance -= minor,
                PostingKind::Credit => *balance += minor,
                PostingKind::Authorize { .. } => *aside += minor,
                PostingKind::Settle => {
                    *balance -= minor;
                    *aside -= minor;
                }
                PostingKind::Void { .. } => *aside -= minor,
            }
        }
        for posting in committed.entry.postings().iter().filter(|posting| !posting.account.is_system()) {
            let (balance, aside) = self.accounts[&posting.account.to_string()];
            assert!(balance - aside >= 0, "{} is overdrawn", posting.account);
        }
    }

    /// Per currency everything sums to zero; the currency is the id's last part.
    pub fn assert_zero_sums(&self) {
        for code in ["USD", "EUR"] {
            let of = |id: &str| id.ends_with(code);
            let sum: i128 = self.accounts.iter().filter(|(id, _)| of(id)).map(|(_, (balance, _))| balance).sum();
            assert_eq!(sum, 0, "{code}");
        }
    }

    pub async fn assert_equals(&self, world: &mut World) {
        for (id, (balance, aside)) in &self.accounts {
            let (engine, key) = (world.engine.engine().clone(), AccountId::parse_any(id).expect("an id"));
            let view = world.run(async move { engine.account(TENANT, &key).await }).await.expect("it exists");
            assert_eq!((view.account.balance().minor, view.account.authorized), (*balance, *aside), "{id}");
            let pending = (view.pending_debits.minor, view.pending_credits.minor);
            assert_eq!(pending, (*aside, 0), "{id} has nothing in flight");
        }
    }
}

/// What clients were told: by key, the request and the entry.
pub type Acknowledged = Arc<Mutex<BTreeMap<String, (Request, Committed)>>>;

/// A client that sends `count` random requests one after another until the engine fails under it.
pub async fn client(engine: Engine, clock: Clock, name: u64, count: u64, told: Acknowledged) {
    let mut reservations = Vec::new();
    for n in 0..count {
        let (tx_id, request) = (format!("c{name}-{n}"), request(&clock, name * 1_000 + n, &reservations));
        match engine.submit(command(&tx_id, request.clone())).await {
            Ok(reply) => {
                if let Some(reservation) = reply.committed.entry.decision.reservation() {
                    reservations.push(reservation.id);
                }
                told.lock().expect("no panic").insert(tx_id, (request, reply.committed));
            }
            Err(Refusal::Unavailable { .. }) => return,
            Err(other) => panic!("{tx_id}: {other}"),
        }
    }
}
