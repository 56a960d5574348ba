//! What no state can make right is refused by the engine itself, however a command came in, and binds nothing (P9, P10).
#![allow(clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use arus_engine::{
    Refusal,
    config::EngineConfig,
    index::memory::MemoryIndex,
    journal::memory::MemoryDisk,
    ledger::{
        bounds::{PUBLISHED_MAX, SPREAD_BPS_MAX},
        commands::{
            Capture, CreatePayment, Deposit, OpenAccount, PublishRates, RemoveRates, Request, Reserve, UpdateAccount,
            Withdraw, funds::Funds, publish_rates::PublishedRate,
        },
        fx::{Pair, RateSource},
        reservation::Finality,
        settings::{DailyLimit, SettingsChange},
    },
    money::{Money, OpId, OwnerId, POSTING_MINOR_MAX, Rate},
};
use support::{World, account, currency, money};

const WEEK: Duration = Duration::from_secs(7 * 86_400);

fn reserve(amount: Money, expires_in: Duration) -> Request {
    Request::Reserve(Reserve {
        account: account("A", "USD"),
        amount,
        destination: Some(account("B", "USD")),
        expires_in: Some(expires_in),
    })
}

fn publish(spread_bps: u16, quote: &str, count: usize) -> Request {
    let rate = PublishedRate {
        base: currency("EUR"),
        quote: currency(quote),
        mid: Rate::parse("1.25").expect("a rate"),
        spread_bps: Some(spread_bps),
    };
    Request::PublishRates(PublishRates { source: RateSource::Ecb, as_of: None, rates: vec![rate; count] })
}

fn remove(quote: &str, count: usize) -> Request {
    let pair = Pair { base: currency("EUR"), quote: currency(quote) };
    Request::RemoveRates(RemoveRates { pairs: vec![pair; count] })
}

fn open(overdraft_limit: i128, daily_debit_limit: i128) -> Request {
    Request::OpenAccount(OpenAccount {
        account: Some(account("Z", "USD")),
        owner: OwnerId::parse("Z").expect("an id"),
        currency: currency("USD"),
        overdraft_limit,
        minimum_balance: None,
        daily_debit_limit: Some(daily_debit_limit),
    })
}

fn update(overdraft_limit: Option<Money>, daily_debit_limit: Option<Money>) -> Request {
    let daily_debit_limit = daily_debit_limit.map(DailyLimit::AtMost);
    let change = Box::new(SettingsChange { overdraft_limit, daily_debit_limit, ..SettingsChange::default() });
    Request::UpdateAccount(UpdateAccount { account: account("A", "USD"), change, make_default: false })
}

/// Every command with an amount in it.
fn moving(amount: Money) -> [Request; 5] {
    let transfer = Funds { account: account("A", "USD"), amount };
    [
        Request::CreatePayment(CreatePayment {
            customer: OwnerId::parse("A").expect("an id"),
            amount,
            source: Some(account("A", "USD")),
            destination: Some(account("B", "USD")),
            manual: None,
            sharing: None,
        }),
        Request::Deposit(Deposit(transfer.clone())),
        Request::Withdraw(Withdraw(transfer)),
        reserve(amount, WEEK),
        Request::Capture(Capture {
            reservation: OpId(1),
            amount: Some(amount),
            destination: Some(account("B", "USD")),
            finality: Finality::Final,
        }),
    ]
}

async fn field_refused(world: &mut World, request: Request) -> String {
    match world.submit("key", request.clone()).await {
        Err(Refusal::Invalid(errors)) => errors.iter().map(|error| error.field.clone()).collect::<Vec<_>>().join(","),
        other => panic!("{request:?}: {other:?}"),
    }
}

#[test]
fn what_no_state_can_make_right_is_refused_and_binds_no_key() {
    actix::System::new().block_on(async {
        let mut world = World::new(1);
        world.seed().await;
        let before = world.engine.engine().progress().0;
        for minor in [0, -1, POSTING_MINOR_MAX + 1] {
            for request in moving(money(minor, "USD")) {
                assert_eq!(field_refused(&mut world, request).await, "amount");
            }
        }
        let over = money(-1, "USD");
        let second = Duration::from_secs(1);
        for (request, field) in [
            (reserve(money(1, "USD"), Duration::ZERO), "expires_in"),
            (reserve(money(1, "USD"), WEEK + second), "expires_in"),
            (publish(SPREAD_BPS_MAX + 1, "USD", 1), "spread_bps"),
            (publish(0, "EUR", 1), "quote"),
            (publish(0, "USD", 0), "rates"),
            (publish(0, "USD", PUBLISHED_MAX + 1), "rates"),
            (remove("EUR", 1), "quote"),
            (remove("USD", 0), "pairs"),
            (remove("USD", PUBLISHED_MAX + 1), "pairs"),
            (open(-1, 0), "overdraft_limit"),
            (open(0, -1), "daily_debit_limit"),
            (update(Some(over), None), "overdraft_limit"),
            (update(None, Some(over)), "daily_debit_limit"),
        ] {
            assert_eq!(field_refused(&mut world, request).await, field);
        }
        assert_eq!(world.engine.engine().progress().0, before, "nothing was recorded");
        assert!(world.submit("key", reserve(money(1, "USD"), WEEK)).await.is_ok(), "and the key is free");
    });
}

#[test]
fn a_limit_that_changed_since_refuses_no_replay() {
    actix::System::new().block_on(async {
        let mut world = World::new(2);
        world.seed().await;
        let first = world.submit("week", reserve(money(1, "USD"), WEEK)).await.expect("decided");
        let config = EngineConfig { reservation_max_s: 3_600, ..support::config() };
        let disk: MemoryDisk = world.disk.crash(|_, _| false);
        let mut world = World::with(disk, MemoryIndex::new(), world.clock.clone(), config);
        // The next segment is made ready.
        world.settle().await;
        let again = world.submit("week", reserve(money(1, "USD"), WEEK)).await.expect("replayed");
        assert!(again.replayed && again.committed.lsn == first.committed.lsn);
        assert_eq!(field_refused(&mut world, reserve(money(1, "USD"), WEEK)).await, "expires_in");
    });
}
