//! What time frees and what it prices, with a clock that may be wrong, and what the risk rules count (P6, P8, P14); on
//! the deterministic wiring.
#![allow(clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::{sync::atomic::Ordering, time::Duration};

use arus_engine::{
    Refusal, Reply,
    clock::{Clock, Trust},
    config::EngineConfig,
    index::memory::MemoryIndex,
    journal::memory::MemoryDisk,
    ledger::{
        commands::{
            Capture, CreatePayment, Deposit, Expire, PublishRates, Release, Request, Reserve, UpdateAccount,
            funds::Funds, publish_rates::PublishedRate,
        },
        failure::FailureCode,
        fx::RateSource,
        reservation::{Finality, Reservation, ReservationStatus},
        settings::{AccountStatus, DailyLimit, SettingsChange},
        time::Timestamp,
    },
    money::{OpId, OwnerId, Rate},
};
use support::{World, account, currency, money};

const START: Timestamp = Timestamp(1_800_000_000_000_000);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

fn world(config: EngineConfig) -> World {
    World::with(MemoryDisk::new(), MemoryIndex::new(), Clock::manual(START, 1), config)
}

/// The same journal after a crash, with an index that is built anew.
fn restarted(world: &World, config: EngineConfig) -> World {
    World::with(world.disk.crash(|_, _| false), MemoryIndex::new(), world.clock.clone(), config)
}

fn reserve(owner: &str, minor: i128, expires_in: Duration) -> Request {
    Request::Reserve(Reserve {
        account: account(owner, "USD"),
        amount: money(minor, "USD"),
        destination: Some(account("C", "USD")),
        expires_in: Some(expires_in),
    })
}

fn capture(reservation: OpId, minor: Option<i128>) -> Request {
    let amount = minor.map(|minor| money(minor, "USD"));
    Request::Capture(Capture { reservation, amount, destination: None, finality: Finality::Partial })
}

fn pay(minor: i128, code: &str) -> Request {
    Request::CreatePayment(CreatePayment {
        customer: OwnerId::parse("A").expect("an id"),
        amount: money(minor, code),
        source: Some(account("A", "USD")),
        destination: Some(account("B", code)),
        manual: None,
        sharing: None,
    })
}

fn publish(source: RateSource) -> Request {
    let mid = Rate::parse("1.25").expect("a rate");
    let rate = PublishedRate { base: currency("EUR"), quote: currency("USD"), mid, spread_bps: None };
    Request::PublishRates(PublishRates { source, as_of: None, rates: vec![rate] })
}

fn code(reply: &Reply) -> Option<FailureCode> {
    reply.committed.entry.failure().map(|failure| failure.code)
}

fn reservation(reply: &Reply) -> &Reservation {
    let entry = &reply.committed.entry;
    entry.decision.reservation().unwrap_or_else(|| panic!("{entry:?} is about no reservation"))
}

/// Decides a command and delivers what it leaves behind for the risk rules.
async fn decided(world: &mut World, tx_id: &str, request: Request) -> Reply {
    let reply = world.submit(tx_id, request).await.expect("it is decided");
    world.settle().await;
    reply
}

async fn set_aside(world: &mut World, owner: &str) -> i128 {
    let (engine, id) = (world.engine.engine().clone(), account(owner, "USD"));
    let view = world.run(async move { engine.account(support::TENANT, &id).await }).await.expect("it is there");
    view.account.authorized
}

/// Submits a round of expiries and says how many were decided.
async fn fire(world: &mut World) -> usize {
    let mut decided = 0;
    for command in world.engine.due().await {
        let engine = world.engine.engine().clone();
        decided += usize::from(world.run(async move { engine.submit(command).await }).await.is_ok());
    }
    decided
}

#[test]
fn while_the_clock_is_not_trusted_captures_go_on_and_nothing_is_freed_or_priced() {
    actix::System::new().block_on(async {
        let mut world = world(support::config());
        world.seed().await;
        assert_eq!(fire(&mut world).await, 0);
        let made = decided(&mut world, "reserve", reserve("A", 300, HOUR)).await;
        let id = reservation(&made).id;
        world.clock.advance(2 * HOUR);
        // Before a tick has seen the jump, and after.
        for (n, ticked) in [false, true].into_iter().enumerate() {
            let fired = if ticked { fire(&mut world).await } else { 0 };
            assert_eq!(fired, 0);
            let captured = decided(&mut world, &format!("capture-{n}"), capture(id, Some(100))).await;
            assert_eq!(code(&captured), None);
            let priced = decided(&mut world, &format!("fx-{n}"), pay(100, "EUR")).await;
            assert_eq!(code(&priced), Some(FailureCode::FxRateStale));
            let plain = decided(&mut world, &format!("usd-{n}"), pay(100, "USD")).await;
            assert_eq!(code(&plain), None, "one currency needs no rate");
        }
        world.clock.set_back(2 * HOUR);
        assert_eq!(fire(&mut world).await, 0);
        assert_eq!(set_aside(&mut world, "A").await, 100);
        let rest = decided(&mut world, "rest", capture(id, None)).await;
        assert_eq!((code(&rest), reservation(&rest).status), (None, ReservationStatus::Captured));
        // Time has agreed for five minutes.
        world.clock.advance(Duration::from_secs(300));
        world.engine.due().await;
        assert_eq!(code(&decided(&mut world, "fx", pay(100, "EUR")).await), None);
    });
}

/// The answer never contradicts itself: a capture that is too late finds the reservation expired, by an entry of its own.
#[test]
fn a_capture_that_is_too_late_finds_the_reservation_expired() {
    actix::System::new().block_on(async {
        let mut world = world(support::config());
        world.seed().await;
        let made = decided(&mut world, "reserve", reserve("A", 300, SECOND)).await;
        let expires_at = reservation(&made).expires_at;
        assert_eq!(code(&decided(&mut world, "in-time", capture(reservation(&made).id, Some(100))).await), None);
        world.clock.advance(SECOND);
        let late = decided(&mut world, "late", capture(reservation(&made).id, None)).await;
        assert_eq!(code(&late), Some(FailureCode::ReservationNotActive));
        // 100 of it were captured in time, so that is what it ended as; nothing is left.
        let after = reservation(&late);
        assert_eq!((after.status, after.remaining.minor), (ReservationStatus::Captured, 0));
        assert_eq!(set_aside(&mut world, "A").await, 0);
        let whole = decided(&mut world, "reserve-2", reserve("A", 300, SECOND)).await;
        world.clock.advance(SECOND);
        let late = decided(&mut world, "late-2", capture(reservation(&whole).id, None)).await;
        assert_eq!(code(&late), Some(FailureCode::ReservationNotActive));
        assert_eq!(reservation(&late).status, ReservationStatus::Expired);
        assert_eq!(fire(&mut world).await, 0, "nothing is left for the timers");
        let mut keys = Vec::new();
        let walked = arus_engine::journal::audit::walk(&world.disk, support::fingerprint(), |_, block| {
            keys.extend(block.entries.iter().map(|entry| entry.tx_id.to_string()));
            Ok(())
        });
        walked.expect("the journal is whole");
        let key = format!("sys/expire/{}/{expires_at}", reservation(&made).id);
        assert!(keys.contains(&key), "{key} names the object and when it was due: {keys:?}");
    });
}

/// The time that counts is that of the capture's turn, not that of its arrival.
#[test]
fn a_capture_that_waits_for_its_turn_past_the_end_finds_the_reservation_expired() {
    actix::System::new().block_on(async {
        let mut world = world(support::config());
        world.seed().await;
        let made = decided(&mut world, "reserve", reserve("A", 300, SECOND)).await;
        let id = reservation(&made).id;
        let begin = |tx_id: &str| {
            let (engine, command) = (world.engine.engine().clone(), support::command(tx_id, capture(id, Some(100))));
            tokio::task::spawn_local(async move { engine.submit(command).await.expect("decided") })
        };
        let (first, second) = (begin("first"), begin("second"));
        // Until the first has its turn and has looked at the clock; its entry comes later.
        for _ in 0..3 {
            world.engine.step().await;
        }
        world.clock.advance(SECOND);
        let first = world.run(async move { first.await.expect("no panic") }).await;
        assert_eq!(code(&first), None, "it had its turn in time");
        let second = world.run(async move { second.await.expect("no panic") }).await;
        assert_eq!(code(&second), Some(FailureCode::ReservationNotActive));
        assert_eq!(set_aside(&mut world, "A").await, 0);
    });
}

#[test]
fn one_round_frees_all_that_is_due_and_everybodys_turn_comes_first() {
    actix::System::new().block_on(async {
        let mut world = world(support::config());
        world.seed().await;
        for n in 0..600 {
            decided(&mut world, &format!("noisy-{n}"), reserve("A", 1, 60 * SECOND)).await;
        }
        let mine = decided(&mut world, "mine", reserve("B", 100, 61 * SECOND)).await;
        world.settle().await;
        world.clock.advance(120 * SECOND);
        let due = world.engine.due().await;
        assert_eq!(due.len(), 601);
        let place = due.iter().position(|command| {
            matches!(&command.request, Request::Expire(Expire { object: id }) if *id == reservation(&mine).id)
        });
        assert!(place.is_some_and(|place| place < 2), "behind {place:?} of another customer's");
        for command in due {
            let engine = world.engine.engine().clone();
            world.run(async move { engine.submit(command).await }).await.expect("it expires");
        }
        assert_eq!((set_aside(&mut world, "A").await, set_aside(&mut world, "B").await), (0, 0));
        assert!(world.engine.due().await.is_empty());
    });
}

/// An expiry that finds nothing to do makes no entry, and none counts in what clients did.
#[test]
fn an_expiry_without_anything_to_do_leaves_no_trace() {
    actix::System::new().block_on(async {
        let mut world = world(support::config());
        world.seed().await;
        let made = decided(&mut world, "reserve", reserve("A", 300, SECOND)).await;
        let kept = decided(&mut world, "kept", reserve("B", 300, SECOND)).await;
        world.clock.advance(SECOND);
        let due = world.engine.due().await;
        assert_eq!(due.len(), 2);
        let release = Request::Release(Release { reservation: reservation(&made).id });
        assert_eq!(code(&decided(&mut world, "release", release).await), None);
        let before = world.engine.engine().progress().0;
        let mut refused = 0;
        for command in due.iter().chain(&due).cloned() {
            let engine = world.engine.engine().clone();
            let ended = world.run(async move { engine.submit(command).await }).await;
            refused += usize::from(matches!(ended, Err(Refusal::NotFound { .. })));
        }
        assert_eq!(refused, 2, "what the client released, twice");
        let expired = world.engine.engine().progress().0;
        assert_eq!(expired.0, before.0 + 1);
        let cells = world.engine.engine().cells();
        assert_eq!(cells.replayed.load(Ordering::Relaxed), 0);
        let late = decided(&mut world, "late", capture(reservation(&kept).id, None)).await;
        assert_eq!(reservation(&late).status, ReservationStatus::Expired);
    });
}

/// A clock was a day ahead; after a restart it is right, and the journal's time stands still for a day. Rates grow old
/// all the same, reservations last as long as they should, and nobody's velocity counts for a day.
#[test]
fn after_a_clock_was_ahead_time_goes_on() {
    actix::System::new().block_on(async {
        let mut config = support::config();
        config.risk.velocity_per_minute_max = 3;
        let mut ahead = world(config.clone());
        ahead.clock.advance(DAY);
        ahead.seed().await;
        decided(&mut ahead, "live", publish(RateSource::Live)).await;
        for n in 0..3 {
            assert_eq!(code(&decided(&mut ahead, &format!("ahead-{n}"), pay(1, "USD")).await), None);
        }
        assert_eq!(code(&decided(&mut ahead, "too-many", pay(1, "USD")).await), Some(FailureCode::RiskRejected));
        ahead.clock.set_back(DAY);
        assert_eq!(ahead.engine.journal_ahead(), None);
        let mut world = restarted(&ahead, config);
        assert_eq!(world.engine.journal_ahead(), Some([START.plus(DAY), START]), "the start says so");
        assert_eq!(code(&decided(&mut world, "still", pay(1, "USD")).await), Some(FailureCode::RiskRejected));
        world.clock.advance(60 * SECOND);
        assert_eq!(code(&decided(&mut world, "no-more", pay(1, "USD")).await), None);
        // What that clock dated tomorrow prices nothing; what is published now does, for as long as it is fresh.
        assert_eq!(code(&decided(&mut world, "future", pay(1_000, "EUR")).await), Some(FailureCode::FxRateStale));
        let published = decided(&mut world, "rates-now", publish(RateSource::Live)).await;
        assert!(published.committed.at > world.clock.now(), "the journal's time stands still");
        assert_eq!(code(&decided(&mut world, "fresh", pay(1_000, "EUR")).await), None);
        world.clock.advance(61 * SECOND);
        assert_eq!(code(&decided(&mut world, "old", pay(1_000, "EUR")).await), Some(FailureCode::FxRateStale));
        let mine = decided(&mut world, "mine", reserve("A", 300, 60 * SECOND)).await;
        let theirs = decided(&mut world, "theirs", reserve("B", 300, 60 * SECOND)).await;
        assert_eq!(code(&decided(&mut world, "in-time", capture(reservation(&mine).id, None)).await), None);
        world.clock.advance(60 * SECOND);
        assert_eq!(fire(&mut world).await, 1);
        let late = decided(&mut world, "late", capture(reservation(&theirs).id, None)).await;
        assert_eq!(reservation(&late).status, ReservationStatus::Expired);
    });
}

/// A clock that jumps over midnight gives no new daily limit, neither while it is ahead nor when it is back.
#[test]
fn a_jump_of_the_clock_frees_no_daily_limit() {
    actix::System::new().block_on(async {
        let mut world = world(support::config());
        world.seed().await;
        world.engine.due().await;
        let limit = UpdateAccount {
            account: account("A", "USD"),
            change: Box::new(SettingsChange {
                status: None,
                overdraft_limit: None,
                minimum_balance: None,
                daily_debit_limit: Some(DailyLimit::AtMost(money(1_000, "USD"))),
            }),
            make_default: false,
        };
        decided(&mut world, "limit", Request::UpdateAccount(limit)).await;
        assert_eq!(code(&decided(&mut world, "all-of-it", pay(1_000, "USD")).await), None);
        world.clock.advance(DAY);
        let over = decided(&mut world, "ahead", pay(1, "USD")).await;
        assert_eq!(code(&over), Some(FailureCode::DailyLimitExceeded));
        // An entry of tomorrow, as the journal has it, touches the account.
        let deposit = Funds { account: account("A", "USD"), amount: money(1, "USD") };
        decided(&mut world, "deposit", Request::Deposit(Deposit(deposit))).await;
        world.engine.due().await;
        world.clock.set_back(DAY);
        for world in [&mut restarted(&world, support::config()), &mut world] {
            let back = decided(world, "back", pay(1, "USD")).await;
            assert_eq!(code(&back), Some(FailureCode::DailyLimitExceeded));
        }
        world.engine.due().await;
        world.clock.advance(Duration::from_secs(300));
        world.engine.due().await;
        for _ in 0..300 {
            world.clock.advance(Duration::from_secs(299));
            world.engine.due().await;
        }
        assert_eq!(code(&decided(&mut world, "tomorrow", pay(1_000, "USD")).await), None, "a day of ticks has passed");
    });
}

/// Rates that are missing are the house's failure, and the rules' own refusals are nobody's: neither locks a customer
/// out. Declines for want of money do, for as long as they are recent. A restart counts the same.
#[test]
fn only_what_a_customer_did_is_held_against_it() {
    actix::System::new().block_on(async {
        let mut config = support::config();
        config.risk.recent_declines_max = 3;
        config.risk.velocity_per_minute_max = 3;
        let mut world = world(config.clone());
        world.seed().await;
        world.clock.advance(10 * DAY);
        for n in 0..20 {
            let outage = decided(&mut world, &format!("outage-{n}"), pay(100, "EUR")).await;
            assert_eq!(code(&outage), Some(FailureCode::FxRateStale));
        }
        // Nor is a limit or a freeze, which the house set.
        let update = |status, limit| {
            Request::UpdateAccount(UpdateAccount {
                account: account("A", "USD"),
                change: Box::new(SettingsChange {
                    status: Some(status),
                    overdraft_limit: None,
                    minimum_balance: None,
                    daily_debit_limit: Some(limit),
                }),
                make_default: false,
            })
        };
        let house = [
            (update(AccountStatus::Active, DailyLimit::AtMost(money(1, "USD"))), FailureCode::DailyLimitExceeded),
            (update(AccountStatus::Frozen, DailyLimit::Unlimited), FailureCode::AccountFrozen),
        ];
        for (n, (update, expected)) in house.into_iter().enumerate() {
            decided(&mut world, &format!("update-{n}"), update).await;
            for m in 0..5 {
                assert_eq!(code(&decided(&mut world, &format!("set-{n}-{m}"), pay(100, "USD")).await), Some(expected));
            }
        }
        decided(&mut world, "thaw", update(AccountStatus::Active, DailyLimit::Unlimited)).await;
        for mut world in [restarted(&world, config.clone()), world] {
            assert_eq!(code(&decided(&mut world, "after", pay(100, "USD")).await), None);
            for n in 0..3 {
                let poor = decided(&mut world, &format!("poor-{n}"), pay(1_000_000, "USD")).await;
                assert_eq!(code(&poor), Some(FailureCode::InsufficientFunds));
            }
            let mut world = restarted(&world, config.clone());
            // Asking all the while does not make it longer.
            for n in 0..9 {
                let asked = decided(&mut world, &format!("asked-{n}"), pay(100, "USD")).await;
                assert_eq!(code(&asked), Some(FailureCode::RiskRejected), "after {n} minutes");
                world.clock.advance(60 * SECOND);
            }
            world.clock.advance(60 * SECOND);
            assert_eq!(code(&decided(&mut world, "let-in", pay(100, "USD")).await), None, "after ten minutes");
        }
    });
}

/// A clock that steps back a little makes no old rate new.
#[test]
fn after_a_small_step_back_an_older_publication_replaces_nothing() {
    actix::System::new().block_on(async {
        let mut world = world(support::config());
        world.seed().await;
        world.clock.advance(SECOND);
        decided(&mut world, "live", publish(RateSource::Live)).await;
        world.clock.set_back(3 * SECOND);
        let Request::PublishRates(mut older) = publish(RateSource::Ecb) else { panic!("these are rates") };
        older.as_of = Some(world.clock.now().minus(12 * HOUR));
        older.rates[0].mid = Rate::parse("1.1").expect("a rate");
        decided(&mut world, "older", Request::PublishRates(older)).await;
        let rates = world.engine.engine().rates();
        let sources: Vec<_> = rates.rows().map(|row| row.source).collect();
        assert_eq!(sources, [RateSource::Live]);
    });
}

/// What was counted on a day that a wrong clock wrote counts for today, and today ends at its own midnight.
#[test]
fn a_clock_that_was_ahead_leaves_no_day_that_lasts_for_weeks() {
    actix::System::new().block_on(async {
        let mut ahead = World::with(
            MemoryDisk::new(),
            MemoryIndex::new(),
            Clock::manual(START.plus(30 * DAY), 1),
            support::config(),
        );
        ahead.seed().await;
        let limit = SettingsChange {
            status: None,
            overdraft_limit: None,
            minimum_balance: None,
            daily_debit_limit: Some(DailyLimit::AtMost(money(300, "USD"))),
        };
        let change = UpdateAccount { account: account("A", "USD"), change: Box::new(limit), make_default: false };
        decided(&mut ahead, "limit", Request::UpdateAccount(change)).await;
        assert_eq!(code(&decided(&mut ahead, "ahead", pay(200, "USD")).await), None);
        let disk = ahead.disk.crash(|_, _| false);
        let mut world = World::with(disk, MemoryIndex::new(), Clock::manual(START, 2), support::config());
        world.settle().await;
        assert_eq!(code(&decided(&mut world, "rest", pay(100, "USD")).await), None);
        let more = decided(&mut world, "more", pay(1, "USD")).await;
        assert_eq!(code(&more), Some(FailureCode::DailyLimitExceeded), "what was counted stays counted");
        world.clock.advance(DAY);
        assert_eq!(code(&decided(&mut world, "tomorrow", pay(300, "USD")).await), None);
    });
}

#[test]
fn a_reservation_made_while_the_clock_is_not_trusted_lasts_as_long_as_it_says() {
    actix::System::new().block_on(async {
        let mut world = world(support::config());
        world.seed().await;
        world.clock.tick();
        let now = world.clock.now();
        world.clock.advance(DAY);
        assert_eq!(world.clock.tick(), Trust::Distrusted);
        let made = decided(&mut world, "reserve", reserve("A", 300, 60 * SECOND)).await;
        assert_eq!(reservation(&made).expires_at, now.plus(60 * SECOND));
    });
}
