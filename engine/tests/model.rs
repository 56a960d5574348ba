//! Random operations against a simple reference ledger: the engine may do nothing that plain arithmetic does not.
#![allow(clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;

use arus_engine::{
    Position, Window,
    index::HistoryRow,
    ledger::{
        commands::{CreatePayment, Request},
        entry::Committed,
        failure::FailureCode,
    },
    money::{Lsn, OwnerId},
};
use proptest::prelude::*;
use support::{Acknowledged, Reference, TENANT, World, client};

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Concurrent clients, any interleaving of messages, commits and index runs.
    #[test]
    fn balances_statements_and_sums_equal_the_reference(seed in any::<u64>()) {
        actix::System::new().block_on(async {
            let mut world = World::new(seed);
            world.seed().await;
            let told = Acknowledged::default();
            let clients: Vec<_> = (0..6).map(|name| {
                let (engine, clock) = (world.engine.engine().clone(), world.clock.clone());
                tokio::task::spawn_local(client(engine, clock, name, 10, told.clone()))
            }).collect();
            for client in clients {
                world.run(async move { client.await.expect("no panic") }).await;
            }
            let mut entries: BTreeMap<Lsn, _> = BTreeMap::new();
            let walked = arus_engine::journal::audit::walk(&world.disk, support::fingerprint(), |_, block| {
                entries.extend(block.committed().map(|committed| (committed.lsn, committed)));
                Ok(())
            });
            prop_assert!(walked.is_ok());
            let mut reference = Reference::default();
            entries.values().for_each(|committed| reference.apply(committed));
            reference.assert_zero_sums();
            reference.assert_equals(&mut world).await;
            statements_equal(&mut world, &entries).await;
            Ok(())
        })?;
    }
}

/// Every account's statement, page by page, is the reference's running balance.
async fn statements_equal(world: &mut World, entries: &BTreeMap<Lsn, Committed>) {
    for owner in ["A", "B", "C"] {
        for code in ["USD", "EUR"] {
            let id = support::account(owner, code);
            let (mut balance, mut expected) = (0, Vec::new());
            for committed in entries.values() {
                for posting in committed.entry.postings().iter().filter(|posting| posting.account == id) {
                    balance += posting.signed_minor();
                    expected.push((committed.lsn, balance));
                }
            }
            expected.reverse();
            // Two lines of five bytes fill a page, wherever in an entry that is.
            let mut window = Window { below: Position::NEWEST, rows_max: 3, bytes_max: 10 };
            let mut seen = Vec::new();
            loop {
                let (engine, id) = (world.engine.engine().clone(), id.clone());
                let show = |row: &HistoryRow, _: &Committed| Some(((row.lsn, row.moved?.balance_minor), 5));
                let page = world.run(async move { engine.entries(TENANT, &id, window, show).await }).await;
                let page = page.expect("a page");
                assert!(page.items.len() <= 2, "{} lines in one page", page.items.len());
                seen.extend(page.items);
                match page.next_below {
                    Some(next) => window.below = next,
                    None => break,
                }
            }
            assert_eq!(seen, expected, "{id}");
        }
    }
}

#[test]
fn a_hot_payer_is_never_overdrawn_and_funds_are_never_lost() {
    actix::System::new().block_on(async {
        let mut world = World::new(3);
        world.seed().await;
        // 100 payments of 20.00 out of 1,000.00: exactly 50 can succeed, in any interleaving.
        let tasks: Vec<_> = (0..100)
            .map(|n| {
                let engine = world.engine.engine().clone();
                let request = Request::CreatePayment(CreatePayment {
                    customer: OwnerId::parse("A").expect("an id"),
                    amount: support::money(2_000, "USD"),
                    source: Some(support::account("A", "USD")),
                    destination: Some(support::account("B", "USD")),
                    manual: None,
                    sharing: None,
                });
                let command = support::command(&format!("hot-{n}"), request);
                tokio::task::spawn_local(async move { engine.submit(command).await.expect("decided") })
            })
            .collect();
        let mut captured = 0;
        for task in tasks {
            let reply = world.run(async move { task.await.expect("no panic") }).await;
            assert!(reply.committed.entry.payment().is_some());
            match reply.committed.entry.failure() {
                None => captured += 1,
                Some(failure) => assert_eq!(failure.code, FailureCode::InsufficientFunds),
            }
        }
        assert_eq!(captured, 50);
    });
}
