//! Rules of the protocol that need a clock, a fault or a certain order, on the deterministic wiring.
#![allow(clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use arus_engine::{
    Command, OverloadReason, Refusal,
    clock::Clock,
    config::EngineConfig,
    gate::claims::{Claimed, Claims, Heard, TURNS_MAX, WAITERS_MAX},
    index::memory::MemoryIndex,
    journal::memory::MemoryDisk,
    ledger::{
        account::Account,
        apply::to_rates,
        body::Body,
        commands::{
            CreatePayment, Deposit, PublishRates, Request, Reserve, funds::Funds, publish_rates::PublishedRate,
        },
        failure::FailureCode,
        flow::{Effect, Event},
        fx::{Pair, RateSource},
        needs::{Found, Party, Terms},
        owner::Owner,
        rates::RateBook,
        risk::Verdict,
        settings::{AccountStatus, DefaultMark, SettingsChange},
        time::Timestamp,
        wallet::Wallet,
    },
    metrics::payments::Ended,
    money::{ACCOUNT_MINOR_MAX, Lsn, OpId, OwnerId, Posting, PostingKind, Rate},
};
use support::{World, account, currency, money};

fn pay(minor: i128, code: &str, to: &str) -> Request {
    Request::CreatePayment(CreatePayment {
        customer: OwnerId::parse("A").expect("an id"),
        amount: money(minor, code),
        source: Some(account("A", "USD")),
        destination: Some(account("B", to)),
        manual: None,
        sharing: None,
    })
}

fn publish(source: RateSource) -> Request {
    let rate = PublishedRate {
        base: currency("EUR"),
        quote: currency("USD"),
        mid: Rate::parse("1.25").expect("a rate"),
        spread_bps: None,
    };
    Request::PublishRates(PublishRates { source, as_of: None, rates: vec![rate] })
}

/// P8: the demo's feed publishes with the current time, so it never goes stale, even a year from now.
#[test]
fn a_year_ahead_old_rates_are_stale_and_the_demos_new_ones_are_not() {
    actix::System::new().block_on(async {
        let mut world = World::new(1);
        world.seed().await;
        world.clock.advance(Duration::from_secs(366 * 86_400));
        let stale = world.submit("stale", pay(100, "EUR", "EUR")).await.expect("decided");
        let failure = stale.committed.entry.failure().expect("declined").clone();
        assert_eq!(failure.code, FailureCode::FxRateStale);
        world.submit("feed", publish(RateSource::Demo)).await.expect("published");
        let paid = world.submit("fresh", pay(100, "EUR", "EUR")).await.expect("decided");
        assert!(paid.committed.entry.failure().is_none());
        // And what was published before the restart prices after it.
        let disk = world.disk.crash(|_, _| false);
        let mut world = World::on(disk, MemoryIndex::new(), world.clock.clone());
        let paid = world.submit("later", pay(100, "EUR", "EUR")).await.expect("decided");
        assert!(paid.committed.entry.failure().is_none());
    });
}

/// P2: waiters are bounded, wake at any end, and an end without an entry is one retryable error for all. The items of
/// one batch are one caller, however many have the key.
#[test]
fn waiters_on_a_key_are_bounded_and_hear_its_end() {
    let claims = Claims::default();
    let Claimed::Mine(claim) = claims.claim(7, None) else { panic!("the key is free") };
    let join = |bundle| match claims.claim(7, bundle) {
        Claimed::Theirs(heard) => Some(heard),
        Claimed::Crowded => None,
        Claimed::Mine(_) => panic!("somebody is at it"),
    };
    let mut waiting: Vec<_> = (0..1_024).map_while(|_| join(Some(OpId(1)))).collect();
    waiting.extend((1..WAITERS_MAX).map_while(|_| join(None)));
    assert_eq!(waiting.len(), 1_024 + WAITERS_MAX - 1);
    assert!(join(None).is_none() && join(Some(OpId(2))).is_none(), "one caller more is too many");
    waiting.extend(join(Some(OpId(1))));
    waiting.truncate(1_024 + WAITERS_MAX - 2);
    waiting.extend(join(None));
    assert_eq!(waiting.len(), 1_024 + WAITERS_MAX - 1, "whoever went away made room");
    drop(claim);
    for mut heard in waiting {
        assert!(matches!(heard.try_recv(), Ok(Heard::End(Err(Refusal::Unavailable { .. })))));
    }
    assert!(claims.is_empty());
    assert!(matches!(claims.claim(7, None), Claimed::Mine(_)), "the key is free again");
}

/// P2, P13: who waits behind a caller that bound nothing, or for a turn, is next in order of arrival, one at a time.
#[test]
fn a_turn_goes_to_who_waits_longest() {
    let claims = Claims::default();
    let Claimed::Mine(held) = claims.take_turn(7) else { panic!("the key is free") };
    let mut waiting: Vec<_> = (0..TURNS_MAX)
        .map_while(|_| match claims.take_turn(7) {
            Claimed::Theirs(heard) => Some(heard),
            Claimed::Mine(_) | Claimed::Crowded => None,
        })
        .collect();
    assert_eq!(waiting.len(), TURNS_MAX);
    assert!(matches!(claims.take_turn(7), Claimed::Crowded));
    // One goes away before its turn, one after it was given it and before it heard.
    drop(waiting.remove(0));
    held.end(&Err(Refusal::DeadlineExceeded));
    drop(waiting.remove(0));
    for (n, mut heard) in waiting.into_iter().enumerate() {
        let Ok(Heard::Turn(claim)) = heard.try_recv() else { panic!("{n} is next") };
        claim.end(&Err(Refusal::DeadlineExceeded));
    }
    assert!(claims.is_empty());
}

/// P2: what was malformed or unknown bound nothing, so the key goes to the next who waits, with a body of its own.
#[test]
fn a_body_that_bound_nothing_leaves_the_key_to_the_next() {
    let claims = Claims::default();
    let Claimed::Mine(claim) = claims.claim(7, None) else { panic!("the key is free") };
    let (Claimed::Theirs(mut next), Claimed::Theirs(mut last)) = (claims.claim(7, None), claims.claim(7, None)) else {
        panic!("somebody is at it")
    };
    claim.end(&Err(Refusal::not_found("customer", "nobody")));
    let Ok(Heard::Turn(claim)) = next.try_recv() else { panic!("it is next") };
    assert!(last.try_recv().is_err());
    claim.end(&Err(Refusal::DeadlineExceeded));
    assert!(matches!(last.try_recv(), Ok(Heard::End(Err(Refusal::DeadlineExceeded)))));
}

/// P5: past half of the tail's bound admission refuses in proportion; a commit never waits; nothing is lost.
#[test]
fn an_index_that_stops_closes_admission_in_proportion() {
    actix::System::new().block_on(async {
        let clock = Clock::manual(Timestamp(1_800_000_000_000_000), 9);
        let index = MemoryIndex::new();
        index.fail_before(0);
        let mut config = support::config();
        config.tail_bytes_max = 256 << 10;
        let mut world = World::with(MemoryDisk::new(), index, clock, config);
        world.seed().await;
        let (mut refused, mut decided, mut failed) = (0, 0, 0);
        for n in 0..1_000 {
            let deposit = Funds { account: account("A", "USD"), amount: money(1, "USD") };
            match world.submit(&format!("d{n}"), Request::Deposit(Deposit(deposit))).await {
                Ok(_) => decided += 1,
                Err(Refusal::Overloaded { reason: OverloadReason::IndexBehind, .. }) => refused += 1,
                Err(Refusal::Unavailable { .. }) => failed += 1,
                Err(other) => panic!("{other}"),
            }
        }
        assert!(decided > 50 && refused > 50, "{decided} decided, {refused} refused, {failed} unavailable");
        assert_eq!(world.engine.engine().closed().is_some(), failed > 0, "readiness says so once all are refused");
        let (engine, id) = (world.engine.engine().clone(), account("A", "USD"));
        let view = world.run(async move { engine.account(support::TENANT, &id).await }).await.expect("reads go on");
        assert_eq!(view.account.balance().minor, 100_000 + decided);
    });
}

/// P6: the deadline is checked before Hold and before Append; given up, nothing is held and the key is free.
#[test]
fn a_deadline_that_passes_before_the_hold_leaves_nothing_behind() {
    actix::System::new().block_on(async {
        let mut world = World::new(4);
        world.seed().await;
        let mut given_up = 0;
        for n in 0..40_u64 {
            let mut command = support::command(&format!("late-{n}"), pay(100, "USD", "USD"));
            command.timeout = Some(Duration::from_secs(1));
            let engine = world.engine.engine().clone();
            let task = tokio::task::spawn_local(async move { engine.submit(command).await });
            // Time passes after so many steps: somewhere between admission and append.
            for _ in 0..n {
                world.engine.step().await;
            }
            world.clock.advance(Duration::from_secs(2));
            match world.run(async move { task.await.expect("no panic") }).await {
                Ok(reply) => assert!(reply.committed.entry.failure().is_none(), "after the append it completes"),
                Err(refusal) => {
                    assert_eq!(refusal, Refusal::DeadlineExceeded);
                    given_up += 1;
                    let again = world.submit(&format!("late-{n}"), pay(100, "USD", "USD")).await.expect("decided");
                    assert!(!again.replayed);
                }
            }
        }
        assert!((1..40).contains(&given_up), "{given_up} of 40 were given up");
        let cells = world.engine.engine().cells();
        let late = cells.payments.all().find(|(ended, _)| *ended == Ended::Late).expect("it is counted").1;
        assert_eq!(late.read().0.iter().sum::<u64>(), given_up, "each is measured as late (P14)");
        let (engine, id) = (world.engine.engine().clone(), account("A", "USD"));
        let view = world.run(async move { engine.account(support::TENANT, &id).await }).await.expect("it exists");
        assert_eq!((view.pending_debits.minor, view.account.balance().minor), (0, 100_000 - 4_000));
    });
}

/// P6: a payment that is late when its turn at work comes is not judged, so it counts for nothing; one that is late when
/// it comes is not let in.
#[test]
fn a_payment_that_waited_too_long_for_its_turn_is_not_judged() {
    actix::System::new().block_on(async {
        let config = EngineConfig { at_work_max: 1, ..support::config() };
        let clock = Clock::manual(support::START, 4);
        let mut world = World::with(MemoryDisk::new(), MemoryIndex::new(), clock, config);
        world.seed().await;
        let judged = |world: &World| world.engine.engine().cells().decisions[0].load(Ordering::Relaxed);
        let before = judged(&world);
        let begin = |tx_id: &str, timeout| {
            let command = Command { timeout, ..support::command(tx_id, pay(100, "USD", "USD")) };
            let engine = world.engine.engine().clone();
            tokio::task::spawn_local(async move { engine.submit(command).await })
        };
        let first = begin("first", Some(Duration::from_secs(60)));
        let late = begin("late", Some(Duration::from_secs(1)));
        let none = begin("none", Some(Duration::ZERO));
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
        world.clock.advance(Duration::from_secs(2));
        let first = world.run(async move { first.await.expect("no panic") }).await.expect("decided");
        assert_eq!(first.committed.entry.failure(), None);
        for late in [late, none] {
            let refused = world.run(async move { late.await.expect("no panic") }).await.expect_err("late");
            assert_eq!(refused, Refusal::DeadlineExceeded);
        }
        assert_eq!(judged(&world) - before, 1, "the first");
    });
}

fn wallet(balance: i128) -> Wallet {
    let id = account("A", "USD");
    let mut opened = Account::open(id.clone(), OwnerId::parse("A").expect("an id"), currency("USD"));
    if balance > 0 {
        let credit = Posting::new(id, PostingKind::Credit, money(balance, "USD"));
        opened.post(&credit, Lsn(1)).expect("it fits");
    }
    Wallet::new(opened)
}

/// P6: a freeze stops new holds at once, before it is durable; what is held already completes; close is refused.
#[test]
fn a_freeze_stops_new_holds_and_a_close_waits_for_old_ones() {
    let mut wallet = wallet(1_000);
    let now = Timestamp(1);
    wallet.hold(OpId(1), money(400, "USD"), now).expect("it is there");
    let change = |status| SettingsChange { status: Some(status), ..SettingsChange::default() };
    let close = wallet.change(&change(AccountStatus::Closed)).expect_err("money is held");
    assert_eq!(close.code, FailureCode::AccountNotEmpty);
    wallet.change(&change(AccountStatus::Frozen)).expect("it may");
    let held = wallet.hold(OpId(2), money(1, "USD"), now).expect_err("frozen");
    assert_eq!(held.code, FailureCode::AccountFrozen);
    assert_eq!(wallet.expect(OpId(3), money(1, "USD")).expect_err("frozen").code, FailureCode::AccountFrozen);
    assert_eq!(wallet.view().pending_debits.minor, 400, "what is held stays held");
    wallet.abandon_change();
    assert!(wallet.hold(OpId(2), money(600, "USD"), now).is_ok());
    let over = wallet.hold(OpId(4), money(1, "USD"), now).expect_err("all is held");
    assert_eq!(over.code, FailureCode::InsufficientFunds);
    wallet.release(OpId(1));
    wallet.release(OpId(1));
    assert_eq!(wallet.view().available.minor, 400, "a release counts once");
}

/// P8: an account beyond 10^27 is refused, expectations included.
#[test]
fn an_account_never_passes_its_largest_balance() {
    let mut wallet = wallet(ACCOUNT_MINOR_MAX - 5);
    wallet.expect(OpId(1), money(3, "USD")).expect("it fits");
    let over = wallet.expect(OpId(2), money(3, "USD")).expect_err("it would not fit");
    assert_eq!(over.code, FailureCode::AccountLimitExceeded);
    wallet.expect(OpId(1), money(5, "USD")).expect("it replaces its own");
}

/// P6: a clock that jumps holds expiries back until it has agreed for five minutes; then they fire, durably.
#[test]
fn a_jump_of_the_clock_holds_real_reservations_back() {
    actix::System::new().block_on(async {
        let mut world = World::new(6);
        world.seed().await;
        assert!(world.engine.due().await.is_empty());
        let reserve = Reserve {
            account: account("A", "USD"),
            amount: money(60_000, "USD"),
            destination: None,
            expires_in: Some(Duration::from_secs(60)),
        };
        world.submit("reserve", Request::Reserve(reserve)).await.expect("decided");
        world.clock.advance(Duration::from_secs(600));
        assert!(world.engine.due().await.is_empty(), "the clock jumped");
        world.clock.advance(Duration::from_secs(299));
        assert!(world.engine.due().await.is_empty(), "it has not agreed for long enough");
        world.clock.advance(Duration::from_secs(1));
        let due = world.engine.due().await;
        assert_eq!(due.len(), 1);
        for command in due {
            let engine = world.engine.engine().clone();
            world.run(async move { engine.submit(command).await }).await.expect("it expires");
        }
        let (engine, id) = (world.engine.engine().clone(), account("A", "USD"));
        let view = world.run(async move { engine.account(support::TENANT, &id).await }).await.expect("it is there");
        assert_eq!((view.available.minor, view.account.authorized), (100_000, 0));
        assert!(world.engine.due().await.is_empty(), "it expires once");
    });
}

/// P8: two prices of one payment come from one rate set. Rates that change between them are asked for again, and in
/// the end the payment is declined rather than priced from two.
#[test]
fn prices_of_two_books_are_asked_for_again_and_never_mixed() {
    let book = |mid: &str, old: &RateBook| {
        let rate = |quote: &str| PublishedRate {
            base: currency("GBP"),
            quote: currency(quote),
            mid: Rate::parse(mid).expect("a rate"),
            spread_bps: Some(10),
        };
        let rates = PublishRates { source: RateSource::Live, as_of: None, rates: vec![rate("USD"), rate("EUR")] };
        let mut next = old.clone();
        to_rates(&mut next, &support::rates_entry(rates), Timestamp(1_000_000));
        next
    };
    let first = book("2", &RateBook::default());
    let second = book("3", &first);
    let policy = support::config().fx_policy();
    let price = |book: &RateBook, quote: &str| {
        let pair = Pair { base: currency("GBP"), quote: currency(quote) };
        Box::new(book.price(pair, Timestamp(0), &policy).expect("a price"))
    };
    let payment = CreatePayment {
        customer: owner("A"),
        amount: money(100, "GBP"),
        source: None,
        destination: Some(account("B", "EUR")),
        manual: None,
        sharing: None,
    };
    let mut found = Found::default();
    let mut customer = Owner::default();
    let opened = Account::open(account("A", "USD"), owner("A"), currency("USD"));
    customer.take(&opened, DefaultMark::Default, Lsn(1));
    found.owners.push((owner("A"), Arc::new(customer)));
    for (id, code) in [("A", "USD"), ("B", "EUR")] {
        found.parties.push(Party { account: account(id, code), currency: currency(code), owner: owner(id) });
    }
    let house = support::config().house().expect("valid");
    let terms = Terms { op: OpId(7), house: &house };
    let begun = || payment.begin(&terms, &found).expect("all is found");
    let started = || {
        let mut flow = begun();
        let verdict = Verdict::accept();
        assert!(matches!(flow.on(Event::Assessed(verdict)), Ok(Effect::Quote(_))));
        flow
    };
    begun().on(Event::Start).expect_err("only a verdict begins it");
    started().on(Event::Held(Ok(0))).expect_err("nobody was asked to hold");
    let mixed = || Event::Quoted(Ok(vec![price(&first, "USD"), price(&second, "EUR")]));
    let mut flow = started();
    assert!(matches!(flow.on(mixed()), Ok(Effect::Quote(_))), "asked for again");
    let agreed = Event::Quoted(Ok(vec![price(&second, "USD"), price(&second, "EUR")]));
    let Ok(Effect::Expect(payees)) = flow.on(agreed) else { panic!("one book prices it") };
    assert_eq!(payees.as_slice(), [(account("B", "EUR"), money(299, "EUR"))]);
    let mut flow = started();
    for _ in 0..2 {
        assert!(matches!(flow.on(mixed()), Ok(Effect::Quote(_))));
    }
    let Ok(Effect::Decide(decision)) = flow.on(mixed()) else { panic!("it is not asked for ever") };
    assert_eq!(decision.failure.expect("declined").code, FailureCode::FxRateStale);
    assert!(decision.postings.is_empty());
}

fn owner(id: &str) -> OwnerId {
    OwnerId::parse(id).expect("an id")
}

/// P6: a debit counts for the UTC day of its hold, also when its block is of the next day.
#[test]
fn a_debit_across_midnight_counts_for_the_day_of_its_hold() {
    let day = |n: u64| Timestamp(n * 86_400_000_000);
    let id = account("A", "USD");
    let mut opened = Account::open(id.clone(), owner("A"), currency("USD"));
    opened.daily_debit_limit = Some(1_000);
    opened.post(&Posting::new(id.clone(), PostingKind::Credit, money(10_000, "USD")), Lsn(1)).expect("it fits");
    let held_on = Wallet::new(opened.clone()).hold(OpId(1), money(900, "USD"), day(1)).expect("it is there");
    assert_eq!(held_on, 1);
    let debit = Posting::new(id, PostingKind::Debit { held_on }, money(900, "USD"));
    opened.post(&debit, Lsn(2)).expect("it fits");
    assert_eq!((opened.debits_on(1), opened.debits_on(2), opened.balance().minor), (900, 0, 9_100));
    let mut wallet = Wallet::new(opened);
    wallet.hold(OpId(2), money(1_000, "USD"), day(2)).expect("the new day is whole");
}
