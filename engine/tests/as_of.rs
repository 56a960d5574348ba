//! What was is told the same for ever: balances as of now, read while blocks are on their way to the disk (P13).
#![allow(clippy::panic, reason = "a test fails by panicking")]

#[path = "support/server.rs"]
mod server;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use arus_engine::{
    ALL_TIME, AsOf, Position, Window,
    ledger::commands::{Deposit, Request, funds::Funds},
    money::TenantId,
};
use server::{Server, account, seed, usd};

#[test]
fn a_time_that_is_over_does_not_change() {
    let folder = tempfile::tempdir().expect("a directory");
    let server = Server::start(folder.path()).expect("it starts");
    seed(&server);
    let (engine, stop) = (server.running.engine().clone(), AtomicBool::new(false));
    let paid = account("a");
    let read = |at| server.runtime.block_on(engine.balance_as_of(TenantId(0), &paid, at)).expect("a balance");
    let mut told = Vec::new();
    thread::scope(|scope| {
        for name in 0..6 {
            let (server, stop, paid) = (&server, &stop, &paid);
            scope.spawn(move || {
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let deposit = Deposit(Funds { account: paid.clone(), amount: usd(1) });
                    server.submit(&format!("d{name}-{n}"), Request::Deposit(deposit));
                }
            });
        }
        for _ in 0..300 {
            let now = engine.clock().latest();
            told.push((now, read(AsOf::Time(now)).balance));
            let window = Window { below: Position::NEWEST, rows_max: 1, bytes_max: 1 << 20 };
            let statement =
                engine.statement(TenantId(0), &paid, ALL_TIME.start..now, window, |_, _| None::<((), usize)>);
            let closing = server.runtime.block_on(statement).expect("a statement").closing;
            assert!(closing.minor <= told.last().expect("it was just told").1.minor, "the end is not within");
        }
        stop.store(true, Ordering::Relaxed);
    });
    let moved = told.windows(2).filter(|pair| pair[0].1 != pair[1].1).count();
    assert!(moved > 50, "deposits went on between {moved} reads");
    for (at, balance) in told {
        assert_eq!(read(AsOf::Time(at)).balance, balance, "as of {}", at.0);
    }
    server.stop();
}
