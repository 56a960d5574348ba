//! What accounts cost: memory per resident account, and a data directory with many of them to start from.
//!
//! `cargo bench -p arus-engine --bench accounts [-- ACCOUNTS [DIR]]` opens and funds accounts, all of them resident, and
//! prints the memory each takes. With DIR the data is kept: start `arus serve --data-dir DIR` on it and look at
//! `took_ms` in its log and at its resident memory.
#![allow(clippy::expect_used, clippy::print_stdout, reason = "a benchmark reports to a person and stops on any error")]

use std::{path::PathBuf, sync::Arc, time::Duration};

use arus_engine::{
    Command, Engine,
    config::EngineConfig,
    gate::caller::Answering,
    ledger::{
        commands::{Deposit, OpenAccount, Request, funds::Funds},
        notes::Notes,
    },
    money::{AccountId, Currency, Money, OwnerId, TenantId, TxId},
    runtime::threads::Running,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Callers at a time.
const CALLERS: u64 = 256;

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let accounts: u64 = args.next().and_then(|n| n.parse().ok()).unwrap_or(100_000);
    let kept = args.next().map(PathBuf::from);
    let folder = kept.clone().unwrap_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bench-accounts"));
    std::fs::remove_dir_all(&folder).ok();
    // Caches that do not grow with the accounts are kept small, so that what is left is the accounts' own.
    let config = EngineConfig {
        resident_accounts_max: 1 << 24,
        index_accounts_cached_max: 1,
        index_cache_bytes: 1 << 20,
        ..EngineConfig::default()
    };
    let stop = Arc::new(|why: &str| {
        println!("fatal: {why}");
        std::process::exit(1);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let answering = Answering::On(runtime.handle().clone());
    let (running, _) = Running::start(&folder, config, answering, stop).expect("the engine starts");
    let engine = running.engine().clone();
    let before = resident_bytes();
    runtime.block_on(async {
        let set = tokio::task::LocalSet::new();
        for caller in 0..CALLERS {
            let engine = engine.clone();
            set.spawn_local(async move {
                for n in (caller..accounts).step_by(CALLERS as usize) {
                    open(&engine, n).await;
                }
            });
        }
        set.await;
        while engine.progress().0 != engine.progress().1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let taken = resident_bytes().saturating_sub(before);
    println!("accounts resident  {}", engine.resident_accounts());
    println!("memory, all parts  {} MB, {} B per account", taken >> 20, taken / accounts);
    running.shut_down(Duration::from_secs(60));
    if kept.is_none() {
        std::fs::remove_dir_all(&folder).ok();
    }
}

async fn open(engine: &Engine, n: u64) {
    let usd = Currency::from_code("USD").expect("USD");
    let id = AccountId::parse(&format!("acct-{n:08}")).expect("an id");
    let open = OpenAccount {
        account: Some(id.clone()),
        owner: OwnerId::parse(&format!("CUST-{n:08}")).expect("an id"),
        currency: usd,
        overdraft_limit: 0,
        minimum_balance: None,
        daily_debit_limit: None,
    };
    submit(engine, format!("open-{n}"), Request::OpenAccount(open)).await;
    let deposit = Funds { account: id, amount: Money::new(100_000, usd) };
    submit(engine, format!("fund-{n}"), Request::Deposit(Deposit(deposit))).await;
}

async fn submit(engine: &Engine, tx_id: String, request: Request) {
    let tx_id = TxId::parse(&tx_id).expect("a key");
    let command = Command::new(TenantId(0), tx_id, request, Notes::default());
    let reply = engine.submit(command).await.expect("it is decided");
    assert!(reply.committed.entry.failure().is_none());
}

/// Resident memory of this process (Linux), in bytes.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).expect("a number") * 1024
}
