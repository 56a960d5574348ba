//! How fast the engine is alone: real records, real rules, all indexes, every commit synced.
//!
//! `cargo bench -p arus-engine [-- PAYMENTS [SCENARIO]]` drives `Engine::submit` from one thread, in a directory under
//! `target`, and prints one row per scenario. The clock runs from the first submit until the index has reached the
//! last entry. Clients share the machine's cores with the engine.
#![allow(clippy::expect_used, clippy::print_stdout, reason = "a benchmark reports to a person and stops on any error")]

use std::{
    cell::RefCell,
    path::PathBuf,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arus_engine::{
    Command, Engine,
    config::EngineConfig,
    gate::caller::Answering,
    ledger::{
        commands::{
            CreatePayment, Deposit, OpenAccount, PublishRates, Request, funds::Funds, publish_rates::PublishedRate,
        },
        fx::RateSource,
        notes::Notes,
    },
    money::{AccountId, Currency, Money, OwnerId, Rate, TenantId, TxId},
    runtime::threads::Running,
};
use hdrhistogram::Histogram;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ACCOUNTS: u64 = 10_000;
const PAYMENTS: u64 = 400_000;
/// Accounts made at a time.
const SEEDING: u64 = 100;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Load {
    Uniform,
    HotPayee,
    HotPayer,
    Cross,
}

struct Scenario {
    name: &'static str,
    load: Load,
    in_flight: u64,
    payments: u64,
}

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let payments = args.next().and_then(|n| n.parse().ok()).unwrap_or(PAYMENTS);
    let only = args.next();
    let scenario = |name, load, in_flight, payments| Scenario { name, load, in_flight, payments };
    let scenarios = [
        scenario("one-in-flight", Load::Uniform, 1, payments / 80),
        scenario("uniform-256", Load::Uniform, 256, payments),
        scenario("uniform-4096", Load::Uniform, 4_096, payments),
        scenario("hot-payee-256", Load::HotPayee, 256, payments),
        scenario("hot-payer-256", Load::HotPayer, 256, payments),
        scenario("cross-256", Load::Cross, 256, payments),
    ];
    println!(
        "{:<16} {:>9} {:>11} {:>9} {:>9} {:>9} {:>7} {:>8} {:>9}",
        "scenario", "payments", "payments/s", "p50 us", "p99 us", "max us", "B/entry", "batch", "syncs/s"
    );
    for scenario in scenarios.iter().filter(|scenario| only.as_ref().is_none_or(|only| scenario.name == only)) {
        run(scenario);
    }
}

fn run(scenario: &Scenario) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bench").join(scenario.name);
    std::fs::remove_dir_all(&folder).ok();
    let mut config = EngineConfig::default();
    config.risk.velocity_per_minute_max = u32::MAX;
    let stop = Arc::new(|why: &str| {
        println!("fatal: {why}");
        std::process::exit(1);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let answering = Answering::On(runtime.handle().clone());
    let (running, _) = Running::start(&folder, config, answering, stop).expect("the engine starts");
    let engine = running.engine().clone();
    runtime.block_on(async {
        seed(&engine, scenario.load).await;
        caught_up(&engine).await;
        measure(&engine, scenario).await;
    });
    running.shut_down(Duration::from_secs(10));
    std::fs::remove_dir_all(&folder).ok();
}

async fn measure(engine: &Engine, scenario: &Scenario) {
    let cells = engine.cells();
    let count = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
    let before = (count(&cells.entries), count(&cells.bytes), count(&cells.blocks));
    let started = Instant::now();
    let next = Arc::new(AtomicU64::new(0));
    let mut clients = Vec::new();
    let times = Rc::new(RefCell::new(Histogram::<u64>::new(3).expect("a histogram")));
    for _ in 0..scenario.in_flight {
        let (engine, next, times) = (engine.clone(), Arc::clone(&next), Rc::clone(&times));
        let (load, payments) = (scenario.load, scenario.payments);
        let client = async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= payments {
                    return;
                }
                let begun = Instant::now();
                let reply = engine.submit(payment(load, n)).await.expect("a payment is decided");
                assert!(reply.committed.entry.failure().is_none(), "{:?}", reply.committed.entry.failure());
                times.borrow_mut().record(begun.elapsed().as_micros() as u64).expect("the histogram grows");
            }
        };
        clients.push(client);
    }
    let set = tokio::task::LocalSet::new();
    let handles: Vec<_> = clients.into_iter().map(|client| set.spawn_local(client)).collect();
    set.run_until(async {
        for handle in handles {
            handle.await.expect("a client ends");
        }
    })
    .await;
    caught_up(engine).await;
    let times = times.borrow();
    let took = started.elapsed().as_secs_f64();
    let entries = count(&cells.entries) - before.0;
    let blocks = (count(&cells.blocks) - before.2).max(1);
    println!(
        "{:<16} {:>9} {:>11.0} {:>9} {:>9} {:>9} {:>7} {:>8} {:>9.0}",
        scenario.name,
        scenario.payments,
        scenario.payments as f64 / took,
        times.value_at_quantile(0.5),
        times.value_at_quantile(0.99),
        times.max(),
        (count(&cells.bytes) - before.1) / entries.max(1),
        entries / blocks,
        blocks as f64 / took,
    );
}

async fn caught_up(engine: &Engine) {
    while engine.progress().0 != engine.progress().1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn seed(engine: &Engine, load: Load) {
    let rates = [("EUR", "USD", "1.0825"), ("EUR", "IDR", "17540.25")].map(|(base, quote, mid)| PublishedRate {
        base: currency(base),
        quote: currency(quote),
        mid: Rate::parse(mid).expect("a rate"),
        spread_bps: Some(20),
    });
    let rates = PublishRates { source: RateSource::Ecb, as_of: None, rates: rates.to_vec() };
    submit(engine, "rates".into(), Request::PublishRates(rates)).await;
    // As many at a time as queues hold for sure.
    for chunk in 0..ACCOUNTS / SEEDING {
        let accounts = chunk * SEEDING..(chunk + 1) * SEEDING;
        let seeding = accounts.map(|n| async move {
            // Cross-currency: even accounts pay in IDR what odd ones take in USD.
            let code = if load == Load::Cross && n % 2 == 0 { "IDR" } else { "USD" };
            let open = OpenAccount {
                account: Some(account(n)),
                owner: owner(n),
                currency: currency(code),
                overdraft_limit: 0,
                minimum_balance: None,
                daily_debit_limit: None,
            };
            submit(engine, format!("open-{n}"), Request::OpenAccount(open)).await;
            let amount = Money::new(1_000_000_000_000, currency(code));
            let deposit = Funds { account: account(n), amount };
            submit(engine, format!("fund-{n}"), Request::Deposit(Deposit(deposit))).await;
        });
        all(seeding).await;
    }
}

/// Runs futures side by side on this thread.
async fn all(futures: impl Iterator<Item = impl Future<Output = ()>>) {
    let mut futures: Vec<_> = futures.map(Box::pin).collect();
    std::future::poll_fn(|context| {
        futures.retain_mut(|future| future.as_mut().poll(context).is_pending());
        if futures.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

async fn submit(engine: &Engine, tx_id: String, request: Request) {
    let reply = engine.submit(command(tx_id, request)).await.expect("seeding works");
    assert!(reply.committed.entry.failure().is_none());
}

fn command(tx_id: String, request: Request) -> Command {
    let tx_id = TxId::parse(&tx_id).expect("a key");
    let timeout = Some(Duration::from_secs(60));
    Command { timeout, ..Command::new(TenantId(0), tx_id, request, Notes::default()) }
}

fn payment(load: Load, n: u64) -> Command {
    let spread = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
    let payer = match load {
        Load::HotPayer => 1,
        Load::Uniform | Load::HotPayee => spread(n) % ACCOUNTS,
        Load::Cross => spread(n) % (ACCOUNTS / 2) * 2,
    };
    let payee = match load {
        Load::HotPayee => (payer == 0).into(),
        Load::Cross => spread(n + 7) % (ACCOUNTS / 2) * 2 + 1,
        Load::Uniform | Load::HotPayer => (payer + 1 + spread(n + 7) % (ACCOUNTS - 1)) % ACCOUNTS,
    };
    let request = CreatePayment {
        customer: owner(payer),
        amount: Money::new(100 + i128::from(n % 900), currency("USD")),
        source: None,
        destination: Some(account(payee)),
        manual: None,
        sharing: None,
    };
    command(format!("bench-payment-{n:012}"), Request::CreatePayment(request))
}

fn account(n: u64) -> AccountId {
    AccountId::parse(&format!("acct-bench-{n:06}")).expect("an id")
}

fn owner(n: u64) -> OwnerId {
    OwnerId::parse(&format!("CUST-{n:06}")).expect("an id")
}

fn currency(code: &str) -> Currency {
    Currency::from_code(code).expect("a currency")
}
