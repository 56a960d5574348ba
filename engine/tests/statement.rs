//! What accounts were (P13): every balance as of every position and time, and statements that add up, against plain arithmetic.
#![allow(clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use arus_engine::{
    AsOf, BalanceAsOf, Position, Refusal, Statement, Window,
    index::HistoryRow,
    ledger::{
        commands::{CreatePayment, CreateTransfer, Request, create_payment::Manual},
        entry::Committed,
        time::Timestamp,
        transfer::Leg,
    },
    money::{AccountId, Lsn, OwnerId, PostingKind},
};
use support::{Acknowledged, Reference, TENANT, World, account, client, command, money};

const ACCOUNTS: [&str; 8] = ["A-USD", "A-EUR", "B-USD", "B-EUR", "C-USD", "C-EUR", "sys/fx/USD", "sys/world/EUR"];

fn leg(from: &str, to: &str, minor: i128) -> Leg {
    let id = |id: &str| AccountId::parse(id).expect("an id");
    Leg { from: id(from), to: id(to), amount: money(minor, "USD"), reference: String::new() }
}

/// A world with some hundred random commands, and all its entries by position.
async fn lived(seed: u64) -> (World, BTreeMap<Lsn, Committed>) {
    let mut world = World::new(seed);
    world.seed().await;
    let told: Acknowledged = Arc::new(Mutex::default());
    for name in 0..30 {
        let (engine, clock) = (world.engine.engine().clone(), world.clock.clone());
        world.run(client(engine, clock, name, 5, Arc::clone(&told))).await;
        world.clock.advance(Duration::from_millis(700));
        if name % 7 == 0 {
            world.settle().await;
        }
    }
    let passed_on = [("A-USD", "B-USD"), ("B-USD", "C-USD")].map(|(from, to)| leg(from, to, 5_000));
    let transfer = CreateTransfer { legs: passed_on.to_vec(), hold: None };
    world.submit("on", Request::CreateTransfer(transfer)).await.expect("decided");
    world.settle().await;
    let entries: BTreeMap<_, _> = (1..).map(Lsn).map_while(|lsn| Some((lsn, world.engine.committed(lsn)?))).collect();
    assert!(entries.len() > 150, "{}", entries.len());
    (world, entries)
}

async fn as_of(world: &mut World, id: &str, at: AsOf) -> Result<BalanceAsOf, Refusal> {
    let (engine, id) = (world.engine.engine().clone(), AccountId::parse_any(id).expect("an id"));
    world.run(async move { engine.balance_as_of(TENANT, &id, at).await }).await
}

fn wrong(told: Result<BalanceAsOf, Refusal>) -> String {
    let Err(Refusal::Invalid(fields)) = told else { panic!("it is refused by field: {told:?}") };
    format!("{fields:?}")
}

#[actix::test]
async fn every_balance_ever_is_what_the_entries_add_up_to() {
    let (mut world, entries) = lived(3).await;
    let mut reference = Reference::default();
    let times: Vec<Timestamp> = entries.values().map(|committed| committed.at).collect();
    for (lsn, committed) in &entries {
        reference.apply(committed);
        let is_last_of_its_time = entries.get(&Lsn(lsn.0 + 1)).is_none_or(|next| next.at > committed.at);
        let opened = |id: &str| id.starts_with("sys/") || lsn.0 > 13;
        for id in ACCOUNTS.into_iter().filter(|id| opened(id)) {
            let (balance, authorized) = reference.accounts.get(id).copied().unwrap_or_default();
            let then = as_of(&mut world, id, AsOf::Lsn(*lsn)).await.unwrap_or_else(|told| panic!("{id}: {told}"));
            let read = (then.balance.minor, then.authorized.minor, then.lsn);
            assert_eq!(read, (balance, authorized, *lsn), "{id} after {lsn:?}");
            if is_last_of_its_time {
                assert_eq!(as_of(&mut world, id, AsOf::Time(committed.at)).await, Ok(then), "{id} at {lsn:?}");
                let between = committed.at.plus(Duration::from_micros(1));
                if entries.get(&Lsn(lsn.0 + 1)).is_some_and(|next| next.at > between) {
                    assert_eq!(as_of(&mut world, id, AsOf::Time(between)).await, Ok(then), "{id} after {lsn:?}");
                }
            }
        }
    }
    assert!(times.windows(2).any(|pair| pair[0] == pair[1]), "some entries are of one time");
    let last = *entries.keys().next_back().expect("entries");
    let beyond = wrong(as_of(&mut world, "A-USD", AsOf::Lsn(Lsn(last.0 + 1))).await);
    assert!(beyond.contains("as_of_lsn") && beyond.contains(&last.0.to_string()), "{beyond}");
    let ahead = world.clock.now().plus(Duration::from_secs(1));
    assert!(wrong(as_of(&mut world, "A-USD", AsOf::Time(ahead)).await).contains("lies ahead"));
}

type Line = (Lsn, u16, PostingKind, i128);

async fn statement(
    world: &mut World,
    id: &str,
    [from, to]: [Timestamp; 2],
    below: Position,
    rows_max: usize,
) -> Statement<Line> {
    let (engine, id) = (world.engine.engine().clone(), AccountId::parse_any(id).expect("an id"));
    let window = Window { below, rows_max, bytes_max: 1 << 20 };
    let show = |row: &HistoryRow, _: &Committed| {
        let moved = row.moved?;
        Some(((row.lsn, row.line, moved.kind, moved.amount_minor), 1))
    };
    world.run(async move { engine.statement(TENANT, &id, from..to, window, show).await }).await.expect("a statement")
}

#[actix::test]
async fn statements_of_neighbouring_periods_share_no_line_and_miss_none() {
    let (mut world, entries) = lived(4).await;
    let lines_of = |id: &str| -> usize {
        entries.values().flat_map(|of| of.entry.postings()).filter(|posting| posting.account.to_string() == id).count()
    };
    let first = entries.values().next().expect("entries").at;
    for id in ACCOUNTS {
        let (mut from, mut closing, mut seen) = (first, 0, Vec::new());
        while from < world.clock.now() {
            let to = from.plus(Duration::from_millis(2_345)).min(world.clock.now());
            let whole = statement(&mut world, id, [from, to], Position::NEWEST, 1_000).await;
            let totals = whole.totals.expect("on the first page");
            assert_eq!(whole.opening.minor, closing, "{id}: one goes on where the other ended");
            closing = whole.closing.minor;
            assert_eq!(whole.opening.minor + totals.credits.minor - totals.debits.minor, closing, "{id}");
            // The same in small pages.
            let (mut below, mut lines) = (Position::NEWEST, Vec::new());
            loop {
                let page = statement(&mut world, id, [from, to], below, 3).await;
                assert_eq!(page.totals.is_some(), below == Position::NEWEST, "totals come once");
                assert_eq!((page.opening, page.closing), (whole.opening, whole.closing));
                lines.extend(page.page.items);
                let Some(next) = page.page.next_below else { break };
                below = next;
            }
            assert_eq!(lines, whole.page.items, "{id}");
            for (lsn, ..) in &lines {
                let at = entries[lsn].at;
                assert!(from <= at && at < to, "{id}: {lsn:?} at {at:?} is not of {from:?}..{to:?}");
            }
            seen.extend(lines.into_iter().map(|(lsn, line, ..)| (lsn, line)));
            from = to;
        }
        assert_eq!(seen.len(), lines_of(id), "{id}");
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), lines_of(id), "{id}: each once");
    }
}

/// Rows on which nothing moves do not hide the balance behind them.
#[actix::test]
async fn a_balance_is_found_behind_many_payments_that_moved_nothing() {
    let mut world = World::new(5);
    world.seed().await;
    let authorise = |n| {
        let manual = Some(Manual { expires_in: None });
        let (customer, destination) = (OwnerId::parse("A").expect("an id"), Some(account("B", "USD")));
        let create =
            CreatePayment { customer, amount: money(1, "USD"), source: None, destination, manual, sharing: None };
        command(&format!("p{n}"), Request::CreatePayment(create))
    };
    for n in 0..2_100 {
        let (engine, next) = (world.engine.engine().clone(), authorise(n));
        world.run(async move { engine.submit(next).await }).await.expect("decided");
    }
    world.settle().await;
    let last = (1..).map(Lsn).take_while(|lsn| world.engine.committed(*lsn).is_some()).last().expect("entries");
    let then = as_of(&mut world, "B-USD", AsOf::Lsn(last)).await.expect("a balance");
    assert_eq!((then.balance.minor, then.authorized.minor), (100_000, 0));
    let payer = as_of(&mut world, "A-USD", AsOf::Lsn(last)).await.expect("a balance");
    assert_eq!((payer.balance.minor, payer.authorized.minor), (100_000, 2_100));
    world.clock.advance(Duration::from_secs(1));
    let period = [Timestamp(0), world.clock.now()];
    let whole = statement(&mut world, "B-USD", period, Position::NEWEST, 1_000).await;
    let totals = whole.totals.expect("on the first page");
    assert_eq!((whole.opening.minor, whole.closing.minor, totals.credits.minor), (0, 100_000, 100_000));
}
