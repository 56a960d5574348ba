//! What clients read, on the deterministic wiring: no two reads contradict each other, however they were served.
#![allow(clippy::panic, reason = "a test fails by panicking")]

mod support;

use arus_engine::{
    ALL_TIME, FieldError, PaymentsOf, Position, Refusal, Window,
    index::{HistoryRow, memory::MemoryIndex},
    ledger::{
        commands::{Capture, CreatePayment, Deposit, Request, Reserve, funds::Funds},
        entry::Committed,
        failure::FailureCode,
        reservation::Finality,
        wallet::AccountView,
    },
    money::{AccountId, Lsn, OwnerId, TxId},
};
use support::{TENANT, World, account, command, money};

fn pay(payer: &str, minor: i128, to: Option<AccountId>) -> Request {
    Request::CreatePayment(CreatePayment {
        customer: OwnerId::parse(payer).expect("an id"),
        amount: money(minor, "USD"),
        source: Some(account(payer, "USD")),
        destination: to,
        manual: None,
        sharing: None,
    })
}

async fn view(world: &mut World, id: AccountId) -> AccountView {
    let engine = world.engine.engine().clone();
    world.run(async move { engine.account(TENANT, &id).await }).await.expect("it exists")
}

async fn balance(world: &mut World, owner: &str) -> i128 {
    view(world, account(owner, "USD")).await.account.balance().minor
}

/// Runs until a payment's block is in the tail, and no further: its applies are on their way.
async fn until_committed(world: &mut World, tx_id: &str) {
    let (engine, before) = (world.engine.engine().clone(), world.engine.engine().progress().0);
    let command = command(tx_id, pay("A", 100, Some(account("B", "USD"))));
    tokio::task::spawn_local(async move { engine.submit(command).await });
    for _ in 0..10_000 {
        if world.engine.engine().progress().0 > before {
            return;
        }
        world.engine.step().await;
    }
    panic!("it does not commit");
}

/// P1: what a client reads sees an entry only once the applies of its block have been passed on.
#[test]
fn no_read_contradicts_one_before() {
    actix::System::new().block_on(async {
        for seed in 0..40 {
            let mut world = World::new(seed);
            world.seed().await;
            let window = Window { below: Position::NEWEST, rows_max: 1, bytes_max: usize::MAX };
            until_committed(&mut world, "by-key").await;
            let (engine, key) = (world.engine.engine().clone(), TxId::parse("by-key").expect("a key"));
            let paid = world.run(async move { engine.payment_by_key(TENANT, &key).await }).await.expect("it is there");
            assert!(paid.entry.failure().is_none());
            assert_eq!((balance(&mut world, "A").await, balance(&mut world, "B").await), (99_900, 100_100), "{seed}");

            until_committed(&mut world, "by-list").await;
            let (engine, of) = (world.engine.engine().clone(), PaymentsOf::Account(account("B", "USD")));
            let show = |committed: &Committed| Some((committed.lsn, 1));
            let list = world
                .run(async move { engine.payments(TENANT, of, ALL_TIME, window, show).await })
                .await
                .expect("a page");
            assert_eq!(list.items, [world.engine.engine().progress().0], "{seed}");
            assert_eq!((balance(&mut world, "A").await, balance(&mut world, "B").await), (99_800, 100_200), "{seed}");

            until_committed(&mut world, "by-account").await;
            let one = balance(&mut world, "A").await;
            assert_eq!((one, balance(&mut world, "B").await), (99_700, 100_300), "{seed}");

            until_committed(&mut world, "by-statement").await;
            let (engine, id) = (world.engine.engine().clone(), account("B", "USD"));
            let show = |row: &HistoryRow, _: &Committed| Some((row.moved?.balance_minor, 1));
            let page = world.run(async move { engine.entries(TENANT, &id, window, show).await }).await.expect("a page");
            assert_eq!((page.items, balance(&mut world, "A").await), (vec![100_400], 99_600), "{seed}");
        }
    });
}

/// P1: the lsn of an account is the last entry that changed it, whether it stayed in memory or was loaded again, from
/// the index or out of the tail.
#[test]
fn an_accounts_lsn_is_the_last_entry_that_changed_it() {
    actix::System::new().block_on(async {
        let mut world = World::new(5);
        world.seed().await;
        let deposit = Funds { account: account("A", "USD"), amount: money(1, "USD") };
        let deposited =
            world.submit("deposit", Request::Deposit(Deposit(deposit))).await.expect("decided").committed.lsn;
        let declined = world.submit("too-much", pay("A", 1_000_000, Some(account("B", "USD")))).await.expect("decided");
        assert_eq!(declined.committed.entry.failure().expect("declined").code, FailureCode::InsufficientFunds);
        assert!(declined.committed.lsn > deposited);
        let resident = view(&mut world, account("A", "USD")).await;
        assert_eq!(resident.account.applied_lsn, deposited);
        let disk = world.disk.crash(|_, _| false);
        let mut from_tail = World::on(disk, MemoryIndex::new(), world.clock.clone());
        assert_eq!(view(&mut from_tail, account("A", "USD")).await, resident);
        let mut indexed = World::on(from_tail.disk.crash(|_, _| false), MemoryIndex::new(), world.clock.clone());
        indexed.settle().await;
        assert_eq!(indexed.engine.engine().progress().1, declined.committed.lsn, "all is indexed");
        assert_eq!(view(&mut indexed, account("A", "USD")).await, resident);
        // What was declined stands in the list of payments all the same, before and after it is indexed.
        for world in [&mut from_tail, &mut indexed] {
            let (engine, of) = (world.engine.engine().clone(), PaymentsOf::Account(account("A", "USD")));
            let window = Window { below: Position::NEWEST, rows_max: 10, bytes_max: usize::MAX };
            let show = |committed: &Committed| Some((committed.lsn, 1));
            let list = world
                .run(async move { engine.payments(TENANT, of, ALL_TIME, window, show).await })
                .await
                .expect("a page");
            assert_eq!(list.items, [declined.committed.lsn]);
        }
    });
}

/// A page never holds more rows than were asked for, also where one entry has several lines.
#[test]
fn a_page_of_one_line_is_one_line() {
    actix::System::new().block_on(async {
        let mut world = World::new(8);
        world.seed().await;
        let reserve = Reserve {
            account: account("A", "USD"),
            amount: money(1_000, "USD"),
            destination: Some(account("B", "USD")),
            expires_in: None,
        };
        let reserved = world.submit("reserve", Request::Reserve(reserve)).await.expect("decided").committed;
        let reservation = reserved.entry.decision.reservation().expect("a reservation");
        let capture = Capture {
            reservation: reservation.id,
            amount: Some(money(400, "USD")),
            destination: None,
            finality: Finality::Final,
        };
        world.submit("capture", Request::Capture(capture)).await.expect("decided");
        for _ in 0..2 {
            let (mut below, mut lines) = (Position::NEWEST, Vec::new());
            loop {
                let (engine, id) = (world.engine.engine().clone(), account("A", "USD"));
                let window = Window { below, rows_max: 1, bytes_max: usize::MAX };
                let show = |row: &HistoryRow, _: &Committed| Some((row.moved?.amount_minor, 1));
                let page = world.run(async move { engine.entries(TENANT, &id, window, show).await }).await;
                let page = page.expect("a page");
                assert!(page.items.len() <= 1);
                lines.extend(page.items);
                match page.next_below {
                    Some(next) => below = next,
                    None => break,
                }
            }
            // Freed, taken, set aside, funded.
            assert_eq!(lines, [600, 400, 1_000, 100_000]);
            world.settle().await;
        }
    });
}

/// P2: a limit of today refuses new keys alone; absent is the default, also the payee's.
#[test]
fn a_known_key_is_replayed_whatever_limits_say_now() {
    actix::System::new().block_on(async {
        let mut world = World::new(9);
        world.seed().await;
        let objection = Refusal::Invalid(vec![FieldError::new("context.country", "is unknown by now")]);
        let tried = |tx_id: &str| {
            let mut command = command(tx_id, pay("B", 100, None));
            command.objection = Some(Box::new(objection.clone()));
            command
        };
        let (engine, command) = (world.engine.engine().clone(), tried("new"));
        assert_eq!(world.run(async move { engine.submit(command).await }).await.expect_err("new"), objection);
        let first = world.submit("known", pay("B", 100, None)).await.expect("decided").committed;
        let (engine, command) = (world.engine.engine().clone(), tried("known"));
        let again = world.run(async move { engine.submit(command).await }).await.expect("it is known");
        assert_eq!((again.replayed, again.committed.lsn), (true, first.lsn));
        // The house is A.
        let spelled = world.submit("known", pay("B", 100, Some(account("A", "USD")))).await.expect("the same body");
        assert!(spelled.replayed);
        let named = world.submit("named", pay("B", 100, Some(account("A", "USD")))).await.expect("decided");
        assert!(!named.replayed && named.committed.lsn > Lsn(0));
        assert!(world.submit("named", pay("B", 100, None)).await.expect("the same body").replayed);
        let other = world.submit("known", pay("B", 100, Some(account("C", "USD")))).await.expect_err("another payee");
        assert_eq!(other, Refusal::KeyReused { field: "destination_account" });
    });
}

/// A page of one kind among many rows of others ends early, and says where to go on.
#[actix::test]
async fn a_search_among_other_rows_is_bounded_and_comes_to_its_end() {
    let mut world = World::new(41);
    world.seed().await;
    let reserve =
        Reserve { account: account("A", "USD"), amount: money(5, "USD"), destination: None, expires_in: None };
    world.submit("r", Request::Reserve(reserve)).await.expect("decided");
    for n in 0..4_300 {
        let deposit = Deposit(Funds { account: account("A", "USD"), amount: money(1, "USD") });
        world.submit(&format!("d{n}"), Request::Deposit(deposit)).await.expect("decided");
    }
    world.settle().await;
    let (mut below, mut pages, mut found) = (Position::NEWEST, 0, 0);
    loop {
        let (engine, id) = (world.engine.engine().clone(), account("A", "USD"));
        let window = Window { below, rows_max: 10, bytes_max: 1 << 20 };
        let page = async move { engine.reservations(TENANT, &id, window, |_| Some(((), 1))).await };
        let page = world.run(page).await.expect("a page");
        (pages, found) = (pages + 1, found + page.items.len());
        match page.next_below {
            Some(next) if pages < 10 => below = next,
            _ => break,
        }
    }
    assert!(found == 1 && (2..5).contains(&pages), "{found} in {pages} pages");
}
