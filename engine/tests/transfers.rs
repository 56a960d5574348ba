//! Groups of transfers (P12): any accounts, all or nothing, at once or held; each account is asked once.
#![allow(clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use arus_engine::{
    Refusal, Reply,
    ledger::{
        commands::{
            CreateTransfer, PostTransfer, Request, UpdateAccount, VoidTransfer, Withdraw, create_transfer::HoldFor,
            funds::Funds,
        },
        failure::FailureCode,
        settings::{AccountStatus, DailyLimit, SettingsChange},
        transfer::{Leg, Transfer, TransferStatus, demands},
    },
    money::{AccountId, Lsn, OpId, PostingKind},
};
use proptest::prelude::*;
use support::{Reference, TENANT, World, account, money};

fn leg(from: &str, to: &str, minor: i128) -> Leg {
    let id = |id: &str| AccountId::parse(id).expect("an id");
    let code = &from[from.len() - 3..];
    Leg { from: id(from), to: id(to), amount: money(minor, code), reference: String::new() }
}

fn post(legs: &[Leg]) -> Request {
    Request::CreateTransfer(CreateTransfer { legs: legs.to_vec(), hold: None })
}

fn hold(legs: &[Leg]) -> Request {
    let hold = Some(HoldFor { expires_in: Some(Duration::from_secs(60)) });
    Request::CreateTransfer(CreateTransfer { legs: legs.to_vec(), hold })
}

fn set(id: &str, change: SettingsChange) -> Request {
    let account = AccountId::parse(id).expect("an id");
    Request::UpdateAccount(UpdateAccount { account, change: Box::new(change), make_default: false })
}

fn status(status: AccountStatus) -> SettingsChange {
    SettingsChange { status: Some(status), ..SettingsChange::default() }
}

async fn decided(world: &mut World, tx_id: &str, request: Request) -> Reply {
    let reply = world.submit(tx_id, request).await.unwrap_or_else(|refusal| panic!("{tx_id}: {refusal}"));
    world.settle().await;
    reply
}

fn transfer(reply: &Reply) -> &Transfer {
    reply.committed.entry.decision.transfer().unwrap_or_else(|| panic!("no transfer: {reply:?}"))
}

fn code(reply: &Reply) -> Option<FailureCode> {
    reply.committed.entry.failure().map(|failure| failure.code)
}

fn message(reply: &Reply) -> String {
    reply.committed.entry.failure().map(|failure| failure.message.clone()).unwrap_or_default()
}

/// Balance and what is set aside.
async fn has(world: &mut World, id: &str) -> (i128, i128) {
    let (engine, id) = (world.engine.engine().clone(), AccountId::parse(id).expect("an id"));
    let view = world.run(async move { engine.account(TENANT, &id).await }).await.expect("it is there");
    assert_eq!((view.pending_debits.minor, view.pending_credits.minor), (view.account.authorized, 0), "in flight");
    (view.account.balance().minor, view.account.authorized)
}

async fn all(world: &mut World) -> Vec<(i128, i128)> {
    let mut all = Vec::new();
    for id in ["A-USD", "A-EUR", "B-USD", "B-EUR", "C-USD", "C-EUR"] {
        all.push(has(world, id).await);
    }
    all
}

async fn empty(world: &mut World, owner: &str) {
    let all = Funds { account: account(owner, "USD"), amount: money(100_000, "USD") };
    decided(world, &format!("empty-{owner}"), Request::Withdraw(Withdraw(all))).await;
}

fn zero_sums(world: &World) {
    let mut reference = Reference::default();
    (1..).map_while(|lsn| world.engine.committed(Lsn(lsn))).for_each(|committed| reference.apply(&committed));
    reference.assert_zero_sums();
}

#[actix::test]
async fn legs_of_any_currency_move_together_or_not_at_all() {
    let mut world = World::new(1);
    world.seed().await;
    let legs = [leg("A-USD", "B-USD", 300), leg("B-EUR", "C-EUR", 70), leg("C-USD", "A-USD", 5)];
    let made = decided(&mut world, "t1", post(&legs)).await;
    assert_eq!((code(&made), transfer(&made).status), (None, TransferStatus::Posted));
    let moved = all(&mut world).await;
    let is: Vec<_> = [99_705, 100_000, 100_300, 99_930, 99_995, 100_070].map(|balance| (balance, 0)).into();
    assert_eq!(moved, is);
    // One that cannot stops all, and is named by its leg.
    let legs = [leg("A-USD", "B-USD", 300), leg("B-EUR", "C-EUR", 99_931)];
    let short = decided(&mut world, "t2", post(&legs)).await;
    assert_eq!((code(&short), transfer(&short).status), (Some(FailureCode::InsufficientFunds), TransferStatus::Failed));
    assert!(message(&short).starts_with("legs[1]: account B-EUR has 999.30 EUR available"), "{}", message(&short));
    decided(&mut world, "freeze", set("C-EUR", status(AccountStatus::Frozen))).await;
    let legs = [leg("A-USD", "B-USD", 1), leg("B-USD", "C-USD", 1), leg("A-EUR", "C-EUR", 1)];
    let frozen = decided(&mut world, "t3", post(&legs)).await;
    assert_eq!(code(&frozen), Some(FailureCode::AccountFrozen));
    assert!(message(&frozen).starts_with("legs[2]: "), "{}", message(&frozen));
    let wrong = [Leg { to: account("B", "EUR"), ..leg("A-USD", "B-USD", 1) }];
    let wrong = decided(&mut world, "t4", post(&wrong)).await;
    assert_eq!(code(&wrong), Some(FailureCode::CurrencyMismatch));
    assert_eq!(all(&mut world).await, moved, "nothing moves");
    zero_sums(&world);
}

/// What comes in by one leg goes on by a later one, not by an earlier one: an account needs no more than that.
#[actix::test]
async fn an_account_needs_the_most_that_leaves_before_it_comes_in() {
    let mut world = World::new(2);
    world.seed().await;
    empty(&mut world, "B").await;
    let through = [leg("A-USD", "B-USD", 500), leg("B-USD", "C-USD", 400)];
    let back: Vec<Leg> = through.iter().rev().cloned().collect();
    let early = decided(&mut world, "early", post(&back)).await;
    assert_eq!(code(&early), Some(FailureCode::InsufficientFunds), "it has nothing yet");
    assert_eq!(code(&decided(&mut world, "late", post(&through)).await), None);
    assert_eq!((has(&mut world, "B-USD").await, has(&mut world, "C-USD").await), ((100, 0), (100_400, 0)));
    // Held: 100 of its own and what will come.
    let legs = [leg("B-USD", "C-USD", 60), leg("A-USD", "B-USD", 500), leg("B-USD", "C-USD", 500)];
    let held = decided(&mut world, "held", hold(&legs)).await;
    assert_eq!((code(&held), transfer(&held).status), (None, TransferStatus::Held));
    assert_eq!((has(&mut world, "A-USD").await, has(&mut world, "B-USD").await), ((99_500, 500), (100, 60)));
    let posted = Request::PostTransfer(PostTransfer { transfer: transfer(&held).id });
    let posted = decided(&mut world, "post", posted).await;
    assert_eq!((code(&posted), transfer(&posted).status), (None, TransferStatus::Posted));
    assert_eq!((has(&mut world, "A-USD").await, has(&mut world, "B-USD").await), ((99_000, 0), (40, 0)));
    assert_eq!(has(&mut world, "C-USD").await, (100_960, 0));
    zero_sums(&world);
}

/// The daily limit counts all that leaves, also what only passes through, and when the money is set aside.
#[actix::test]
async fn the_daily_limit_counts_what_leaves_in_all() {
    let mut world = World::new(3);
    world.seed().await;
    let limit = SettingsChange {
        daily_debit_limit: Some(DailyLimit::AtMost(money(1_000, "USD"))),
        ..SettingsChange::default()
    };
    decided(&mut world, "limit", set("B-USD", limit)).await;
    let legs = [leg("A-USD", "B-USD", 900), leg("B-USD", "C-USD", 900)];
    let held = decided(&mut world, "held", hold(&legs)).await;
    assert_eq!((code(&held), has(&mut world, "B-USD").await), (None, (100_000, 0)));
    let more = |minor| post(&[leg("B-USD", "C-USD", minor)]);
    assert_eq!(code(&decided(&mut world, "m1", more(101)).await), Some(FailureCode::DailyLimitExceeded));
    decided(&mut world, "post", Request::PostTransfer(PostTransfer { transfer: transfer(&held).id })).await;
    assert_eq!(code(&decided(&mut world, "m2", more(101)).await), Some(FailureCode::DailyLimitExceeded));
    assert_eq!(code(&decided(&mut world, "m3", more(100)).await), None, "it was counted once");
    // What was set aside and is voided on the same day counts no more.
    let limit = SettingsChange {
        daily_debit_limit: Some(DailyLimit::AtMost(money(1_500, "USD"))),
        ..SettingsChange::default()
    };
    decided(&mut world, "limit-2", set("B-USD", limit)).await;
    let held = decided(&mut world, "held-2", hold(&[leg("B-USD", "C-USD", 500)])).await;
    decided(&mut world, "void", Request::VoidTransfer(VoidTransfer { transfer: transfer(&held).id })).await;
    assert_eq!(code(&decided(&mut world, "m4", more(500)).await), None);
}

/// Also what only passes through an account counts no more once its group is given up on the same day.
#[actix::test]
async fn a_group_that_ends_gives_its_day_back() {
    let mut world = World::new(6);
    world.seed().await;
    let limit = SettingsChange {
        daily_debit_limit: Some(DailyLimit::AtMost(money(1_000, "USD"))),
        ..SettingsChange::default()
    };
    decided(&mut world, "limit", set("B-USD", limit)).await;
    let before = all(&mut world).await;
    let legs = [leg("B-USD", "A-USD", 100), leg("A-USD", "B-USD", 900), leg("B-USD", "C-USD", 900)];
    for n in 0..3 {
        let held = decided(&mut world, &format!("h{n}"), hold(&legs)).await;
        assert_eq!((code(&held), has(&mut world, "B-USD").await), (None, (100_000, 100)), "{n}");
        if n == 1 {
            world.clock.advance(Duration::from_secs(61));
            world.settle().await;
        }
        let void = Request::VoidTransfer(VoidTransfer { transfer: transfer(&held).id });
        decided(&mut world, &format!("v{n}"), void).await;
        assert_eq!(all(&mut world).await, before, "{n}");
    }
    let whole = decided(&mut world, "whole", post(&[leg("B-USD", "C-USD", 1_000)])).await;
    assert_eq!(code(&whole), None, "{}", message(&whole));
    let more = decided(&mut world, "more", post(&[leg("B-USD", "C-USD", 1)])).await;
    assert_eq!(code(&more), Some(FailureCode::DailyLimitExceeded));
    zero_sums(&world);
}

/// The leg that cannot be is named, not just one of the same account.
#[actix::test]
async fn a_refusal_names_the_leg_that_it_is_about() {
    let mut world = World::new(7);
    world.seed().await;
    let limit = SettingsChange {
        daily_debit_limit: Some(DailyLimit::AtMost(money(1_000, "EUR"))),
        ..SettingsChange::default()
    };
    decided(&mut world, "limit", set("A-EUR", limit)).await;
    let short = [leg("B-USD", "A-USD", 1), leg("A-USD", "B-USD", 5), leg("A-USD", "C-USD", 100_000)];
    let limited = [leg("B-EUR", "A-EUR", 1), leg("A-EUR", "B-EUR", 1), leg("A-EUR", "C-EUR", 1_000)];
    for (tx_id, legs) in [("short", short), ("limited", limited)] {
        let told = decided(&mut world, tx_id, post(&legs)).await;
        assert!(message(&told).starts_with("legs[2]: "), "{}", message(&told));
    }
    let held = decided(&mut world, "held", hold(&[leg("A-USD", "B-USD", 1), leg("A-USD", "C-USD", 1)])).await;
    let before = transfer(&held).clone();
    decided(&mut world, "freeze", set("C-USD", status(AccountStatus::Frozen))).await;
    let frozen = decided(&mut world, "post", Request::PostTransfer(PostTransfer { transfer: before.id })).await;
    assert_eq!(code(&frozen), Some(FailureCode::AccountFrozen));
    assert!(message(&frozen).starts_with("legs[1]: account C-USD is frozen"), "{}", message(&frozen));
    assert_eq!(transfer(&frozen).changed, Some(held.committed.lsn), "a declined step leaves it as it was");
}

/// Who has less than nothing may still take part where it ends no lower at any time.
#[actix::test]
async fn an_account_below_its_limit_may_be_helped() {
    let mut world = World::new(8);
    world.seed().await;
    let overdraft = |minor| SettingsChange { overdraft_limit: Some(money(minor, "USD")), ..SettingsChange::default() };
    decided(&mut world, "o1", set("B-USD", overdraft(100))).await;
    decided(&mut world, "all", post(&[leg("B-USD", "C-USD", 100_080)])).await;
    decided(&mut world, "o2", set("B-USD", overdraft(10))).await;
    let help = decided(&mut world, "help", post(&[leg("A-USD", "B-USD", 50), leg("B-USD", "C-USD", 10)])).await;
    assert_eq!(code(&help), None, "{}", message(&help));
    assert_eq!(has(&mut world, "B-USD").await, (-40, 0));
    let more = decided(&mut world, "more", post(&[leg("B-USD", "C-USD", 1), leg("A-USD", "B-USD", 50)])).await;
    assert_eq!(code(&more), Some(FailureCode::InsufficientFunds));
}

#[actix::test]
async fn what_is_held_is_posted_voided_or_expires_once() {
    let mut world = World::new(4);
    world.seed().await;
    let legs = [leg("A-USD", "B-USD", 300), leg("B-EUR", "C-EUR", 70)];
    let before = all(&mut world).await;
    let mut ids = Vec::new();
    for n in 0..3 {
        let held = decided(&mut world, &format!("h{n}"), hold(&legs)).await;
        assert_eq!(transfer(&held).expires_at, Some(support::START.plus(Duration::from_secs(60))));
        ids.push(transfer(&held).id);
    }
    assert_eq!(has(&mut world, "A-USD").await, (100_000, 900));
    // While it is held it names everybody.
    let refused = decided(&mut world, "close", set("C-EUR", status(AccountStatus::Closed))).await;
    assert_eq!(code(&refused), Some(FailureCode::AccountNotEmpty));
    // A frozen payer has set it aside, a frozen payee takes nothing, and a void needs nobody's leave.
    decided(&mut world, "f1", set("A-USD", status(AccountStatus::Frozen))).await;
    let posted = decided(&mut world, "p0", Request::PostTransfer(PostTransfer { transfer: ids[0] })).await;
    assert_eq!((code(&posted), transfer(&posted).status), (None, TransferStatus::Posted));
    decided(&mut world, "f2", set("C-EUR", status(AccountStatus::Frozen))).await;
    let frozen = decided(&mut world, "p1", Request::PostTransfer(PostTransfer { transfer: ids[1] })).await;
    assert_eq!((code(&frozen), transfer(&frozen).status), (Some(FailureCode::AccountFrozen), TransferStatus::Held));
    let voided = decided(&mut world, "v1", Request::VoidTransfer(VoidTransfer { transfer: ids[1] })).await;
    assert_eq!((code(&voided), transfer(&voided).status), (None, TransferStatus::Voided));
    for (n, id) in [ids[0], ids[1]].into_iter().enumerate() {
        for (name, step) in [
            ("p", Request::PostTransfer(PostTransfer { transfer: id })),
            ("v", Request::VoidTransfer(VoidTransfer { transfer: id })),
        ] {
            let late = decided(&mut world, &format!("late-{name}{n}"), step).await;
            assert_eq!(code(&late), Some(FailureCode::TransferNotHeld));
        }
    }
    // The rest goes by time, and only once.
    world.clock.advance(Duration::from_secs(61));
    let due = world.engine.due().await;
    assert_eq!(due.len(), 1);
    for command in due {
        let engine = world.engine.engine().clone();
        world.run(async move { engine.submit(command).await }).await.expect("it expires");
    }
    world.settle().await;
    assert!(world.engine.due().await.is_empty());
    let engine = world.engine.engine().clone();
    let id = ids[2];
    let last = world.run(async move { engine.transfer(TENANT, id).await }).await.expect("it is there");
    assert_eq!(last.entry.decision.transfer().map(|transfer| transfer.status), Some(TransferStatus::Expired));
    let after = all(&mut world).await;
    assert_eq!(after[0], (before[0].0 - 300, 0));
    assert_eq!(after[5], (before[5].0 + 70, 0));
    zero_sums(&world);
}

#[actix::test]
async fn what_no_state_can_make_right_is_refused() {
    let mut world = World::new(5);
    world.seed().await;
    let legs = |count| vec![leg("A-USD", "B-USD", 1); count];
    let mixed = vec![leg("A-USD", "B-USD", 1), Leg { from: account("A", "USD"), ..leg("A-EUR", "C-EUR", 1) }];
    let big = vec![leg("A-USD", "B-USD", 600_000_000_000_000_000); 2];
    for (legs, told) in [
        (legs(0), "has 0 legs"),
        (legs(65), "has 65 legs"),
        (vec![leg("A-USD", "A-USD", 1)], "to itself"),
        (vec![leg("A-USD", "B-USD", 0)], "greater than zero"),
        (mixed, "in another currency"),
        (big, "more than 10^18"),
    ] {
        let refused = world.submit("bad", post(&legs)).await.map(|_| ()).expect_err("refused");
        assert!(matches!(&refused, Refusal::Invalid(fields) if fields[0].field == "legs"), "{refused:?}");
        assert!(refused.to_string().contains(told), "{refused}");
    }
    let unknown = world.submit("bad", post(&[leg("A-USD", "X-USD", 1)])).await.map(|_| ());
    assert!(matches!(unknown, Err(Refusal::NotFound { .. })), "{unknown:?}");
    let nothing = Request::PostTransfer(PostTransfer { transfer: OpId(7) });
    let unknown = world.submit("bad", nothing).await.map(|_| ());
    assert!(matches!(unknown, Err(Refusal::NotFound { .. })), "{unknown:?}");
    assert_eq!(code(&decided(&mut world, "bad", post(&legs(64))).await), None, "the key was free");
    let other = world.submit("bad", post(&legs(63))).await.map(|_| ());
    assert_eq!(other, Err(Refusal::KeyReused { field: "legs" }));
    let other = world.submit("bad", hold(&legs(64))).await.map(|_| ());
    assert_eq!(other, Err(Refusal::KeyReused { field: "mode" }));
}

proptest! {
    /// Against the plainest model: legs one after another on balances of what is needed never go below zero, and of one less
    /// they do.
    #[test]
    fn the_need_is_exact(moves in prop::collection::vec((0_usize..4, 1_usize..4, 1_i128..1_000), 1..64)) {
        let names = ["A-USD", "B-USD", "C-USD", "D-USD"];
        let legs: Vec<Leg> =
            moves.iter().map(|(from, by, minor)| leg(names[*from], names[(from + by) % 4], *minor)).collect();
        let lowest = |needs: &[(AccountId, i128)], short: Option<usize>| {
            let mut balances: Vec<_> = needs.to_vec();
            if let Some(short) = short {
                balances[short].1 -= 1;
            }
            let mut lowest = 0;
            for leg in &legs {
                for (account, balance) in &mut balances {
                    *balance -= if leg.from == *account { leg.amount.minor } else { 0 };
                    lowest = lowest.min(*balance);
                    *balance += if leg.to == *account { leg.amount.minor } else { 0 };
                }
            }
            lowest
        };
        let demands = demands(&legs);
        let needs: Vec<_> = demands.iter().map(|(account, demand)| (account.clone(), demand.need.minor)).collect();
        prop_assert_eq!(lowest(&needs, None), 0);
        for (n, (_, need)) in needs.iter().enumerate().filter(|(_, (_, need))| *need > 0) {
            prop_assert!(lowest(&needs, Some(n)) < 0, "{} needs less than {need}", needs[n].0);
        }
    }

    /// Each line of an account is of a leg that names it, and every leg has its two sides.
    #[test]
    fn every_line_knows_its_leg(moves in prop::collection::vec((0_usize..4, 1_usize..4, 1_i128..1_000), 1..64), held: bool) {
        let names = ["A-USD", "B-USD", "C-USD", "D-USD"];
        let legs: Vec<Leg> =
            moves.iter().map(|(from, by, minor)| leg(names[*from], names[(from + by) % 4], *minor)).collect();
        let id = OpId::parse("01a21e6f-030c-7004-8c48-78478b99f61b").expect("an id");
        let new = Transfer { id, status: TransferStatus::Failed, legs: legs.clone(), expires_at: None, aside: Vec::new(), reversed_by: None, changed: None };
        let days: Vec<_> = demands(&legs).into_iter().map(|(account, _)| (account, 1)).collect();
        let (transfer, lines) =
            if held { new.held(&days).0.post().expect("it is held") } else { new.posted_at_once(&days) };
        let mut told = vec![[0; 2]; legs.len()];
        for name in names {
            let account = AccountId::parse(name).expect("an id");
            let own = lines.iter().filter(|posting| posting.account == account);
            for (n, posting) in own.enumerate() {
                let of = transfer.leg_of(&lines, &account, n).expect("a leg");
                let place = legs.iter().position(|leg| leg == of).expect("one of them");
                let side = if posting.kind == PostingKind::Credit { &of.to } else { &of.from };
                prop_assert_eq!(side, &account);
                told[place][usize::from(posting.kind == PostingKind::Credit)] += posting.amount.minor;
            }
        }
        let asked = legs.iter().map(|leg| legs.iter().filter(|other| *other == leg).count());
        let first = legs.iter().enumerate().map(|(n, leg)| legs[..n].iter().all(|other| other != leg));
        for (((leg, told), asked), first) in legs.iter().zip(told).zip(asked).zip(first) {
            let worth = if first { leg.amount.minor * i128::try_from(asked).expect("few") } else { 0 };
            prop_assert_eq!(told, [worth; 2]);
        }
    }
}
