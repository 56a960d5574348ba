//! ReverseOperation (P12): a deposit, a withdrawal or a posted transfer is taken back once, exactly, or not at all.
#![allow(clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use arus_engine::{
    Refusal, Reply,
    ledger::{
        commands::{
            CreatePayment, CreateTransfer, Deposit, PostTransfer, Request, ReverseOperation, UpdateAccount,
            VoidTransfer, Withdraw, create_transfer::HoldFor, funds::Funds,
        },
        failure::FailureCode,
        operation::{OperationKind, OperationStatus},
        settings::{AccountStatus, DailyLimit, SettingsChange},
        transfer::{Leg, TransferStatus},
    },
    money::{AccountId, OpId, OwnerId},
};
use support::{Reference, TENANT, World, account, command, money};

fn funds(minor: i128) -> Funds {
    Funds { account: account("A", "USD"), amount: money(minor, "USD") }
}

fn deposit(minor: i128) -> Request {
    Request::Deposit(Deposit(funds(minor)))
}

fn withdraw(minor: i128) -> Request {
    Request::Withdraw(Withdraw(funds(minor)))
}

fn reverse(operation: OpId) -> Request {
    Request::ReverseOperation(ReverseOperation { operation })
}

fn leg(from: &str, to: &str, minor: i128) -> Leg {
    let id = |id: &str| AccountId::parse(id).expect("an id");
    Leg { from: id(from), to: id(to), amount: money(minor, &from[2..]), reference: String::new() }
}

fn transfer(legs: &[Leg], hold: Option<u64>) -> Request {
    let hold = hold.map(|seconds| HoldFor { expires_in: Some(Duration::from_secs(seconds)) });
    Request::CreateTransfer(CreateTransfer { legs: legs.to_vec(), hold })
}

fn set(change: SettingsChange) -> Request {
    Request::UpdateAccount(UpdateAccount {
        account: account("A", "USD"),
        change: Box::new(change),
        make_default: false,
    })
}

fn status(status: AccountStatus) -> Request {
    set(SettingsChange { status: Some(status), ..SettingsChange::default() })
}

async fn decided(world: &mut World, tx_id: &str, request: Request) -> Reply {
    let reply = world.submit(tx_id, request).await.unwrap_or_else(|refusal| panic!("{tx_id}: {refusal}"));
    world.settle().await;
    reply
}

/// The command's own id.
async fn done(world: &mut World, tx_id: &str, request: Request) -> OpId {
    let reply = decided(world, tx_id, request).await;
    assert_eq!(code(&reply), None, "{tx_id}");
    reply.committed.entry.op
}

fn code(reply: &Reply) -> Option<FailureCode> {
    reply.committed.entry.failure().map(|failure| failure.code)
}

async fn declined(world: &mut World, tx_id: &str, operation: OpId) -> Option<FailureCode> {
    code(&decided(world, tx_id, reverse(operation)).await)
}

async fn balances(world: &mut World) -> Vec<(i128, i128)> {
    let mut all = Vec::new();
    for id in ["A-USD", "A-EUR", "B-USD", "B-EUR", "C-USD", "C-EUR"] {
        let (engine, id) = (world.engine.engine().clone(), AccountId::parse(id).expect("an id"));
        let view = world.run(async move { engine.account(TENANT, &id).await }).await.expect("it is there");
        all.push((view.account.balance().minor, view.account.authorized + view.pending_credits.minor));
    }
    all
}

#[actix::test]
async fn deposits_and_withdrawals_are_taken_back_once() {
    let mut world = World::new(1);
    world.seed().await;
    let before = balances(&mut world).await;
    let came = done(&mut world, "in", deposit(700)).await;
    let went = done(&mut world, "out", withdraw(300)).await;
    let back = done(&mut world, "r1", reverse(came)).await;
    let again = done(&mut world, "r2", reverse(went)).await;
    assert_eq!(balances(&mut world).await, before);
    for (n, id) in [came, went].into_iter().enumerate() {
        let told = declined(&mut world, &format!("twice-{n}"), id).await;
        assert_eq!(told, Some(FailureCode::OperationAlreadyReversed));
    }
    assert_eq!(declined(&mut world, "r1r", back).await, Some(FailureCode::OperationNotReversible));
    let replay = world.submit("r1", reverse(came)).await.expect("it is told again");
    assert!(replay.replayed && code(&replay).is_none());
    let other = world.submit("r1", reverse(went)).await.map(|_| ());
    assert_eq!(other, Err(Refusal::KeyReused { field: "operation_id" }));
    assert_eq!(balances(&mut world).await, before);
    // Each is read back, and says what became of it.
    let engine = world.engine.engine().clone();
    let read = async move { (engine.operation(TENANT, came).await, engine.operation(TENANT, again).await) };
    let (came_read, again_read) = world.run(read).await;
    let (operation, made) = came_read.expect("it is there");
    assert_eq!((operation.status, operation.reversed_by), (OperationStatus::Reversed, Some(back)));
    assert_eq!((made.entry.tx_id.to_string().as_str(), made.entry.op), ("in", came));
    let (operation, _) = again_read.expect("it is there");
    assert_eq!((operation.kind, operation.status), (OperationKind::Reversal { of: went }, OperationStatus::Completed));
}

#[actix::test]
async fn a_posted_transfer_is_taken_back_to_the_last_cent() {
    let mut world = World::new(2);
    world.seed().await;
    let before = balances(&mut world).await;
    // B has what it passes on only out of this transfer.
    let legs = [leg("A-USD", "B-USD", 90_000), leg("B-USD", "C-USD", 150_000), leg("C-EUR", "A-EUR", 7)];
    let at_once = done(&mut world, "t1", transfer(&legs, None)).await;
    let held = done(&mut world, "t2", transfer(&[leg("A-USD", "B-USD", 5), leg("B-USD", "A-USD", 2)], Some(60))).await;
    assert_eq!(declined(&mut world, "early", held).await, Some(FailureCode::OperationNotReversible));
    done(&mut world, "p2", Request::PostTransfer(PostTransfer { transfer: held })).await;
    let voided = done(&mut world, "t3", transfer(&[leg("A-USD", "B-USD", 5)], Some(60))).await;
    done(&mut world, "v3", Request::VoidTransfer(VoidTransfer { transfer: voided })).await;
    assert_eq!(declined(&mut world, "void", voided).await, Some(FailureCode::OperationNotReversible));
    let late = done(&mut world, "t4", transfer(&[leg("A-USD", "B-USD", 5)], Some(1))).await;
    world.clock.advance(Duration::from_secs(2));
    assert_eq!(declined(&mut world, "over", late).await, Some(FailureCode::OperationNotReversible));
    for id in [held, at_once] {
        done(&mut world, &format!("r-{id}"), reverse(id)).await;
        assert_eq!(declined(&mut world, &format!("s-{id}"), id).await, Some(FailureCode::OperationAlreadyReversed));
    }
    assert_eq!(balances(&mut world).await, before);
    let (engine, id) = (world.engine.engine().clone(), at_once);
    let now = world.run(async move { engine.transfer(TENANT, id).await }).await.expect("it is there");
    assert_eq!(now.entry.decision.transfer().map(|of| of.status), Some(TransferStatus::Reversed));
}

/// Money is taken back only out of what is available, whatever the daily limit, and from nobody who is frozen.
#[actix::test]
async fn who_cannot_give_back_keeps_all() {
    let mut world = World::new(3);
    world.seed().await;
    let came = done(&mut world, "in", deposit(700)).await;
    let limit = Some(DailyLimit::AtMost(money(0, "USD")));
    let limit = set(SettingsChange { status: None, daily_debit_limit: limit, ..SettingsChange::default() });
    let moved =
        done(&mut world, "t", transfer(&[leg("A-USD", "B-USD", 100_001), leg("A-EUR", "B-EUR", 1)], None)).await;
    done(&mut world, "limit", limit).await;
    let before = balances(&mut world).await;
    let short = decided(&mut world, "short", reverse(came)).await;
    assert_eq!(code(&short), Some(FailureCode::InsufficientFunds));
    assert!(short.committed.entry.failure().is_some_and(|failure| failure.message.contains("A-USD has 6.99")));
    done(&mut world, "freeze", status(AccountStatus::Frozen)).await;
    assert_eq!(declined(&mut world, "f1", came).await, Some(FailureCode::AccountFrozen));
    let frozen = decided(&mut world, "f2", reverse(moved)).await;
    assert_eq!(code(&frozen), Some(FailureCode::AccountFrozen));
    let message = frozen.committed.entry.failure().map(|failure| failure.message.clone()).unwrap_or_default();
    assert!(message.starts_with("legs[0]: account A-USD is frozen"), "{message}");
    assert_eq!(balances(&mut world).await, before);
    done(&mut world, "thaw", status(AccountStatus::Active)).await;
    done(&mut world, "back", reverse(moved)).await;
    done(&mut world, "now", reverse(came)).await;
    // A declined one and other objects are none.
    let far = decided(&mut world, "far", withdraw(9_000_000)).await.committed.entry.op;
    assert_eq!(declined(&mut world, "none", far).await, Some(FailureCode::OperationNotReversible));
    let paid = CreatePayment {
        customer: OwnerId::parse("A").expect("an id"),
        amount: money(5, "EUR"),
        source: None,
        destination: Some(account("B", "EUR")),
        manual: None,
        sharing: None,
    };
    let paid = done(&mut world, "paid", Request::CreatePayment(paid)).await;
    for (n, id) in [paid, OpId(7)].into_iter().enumerate() {
        let told = world.submit(&format!("x{n}"), reverse(id)).await.map(|_| ());
        assert_eq!(told, Err(Refusal::NotFound { what: "operation", id: id.to_string() }));
    }
}

#[actix::test]
async fn of_many_at_once_one_takes_it_back() {
    let mut world = World::new(4);
    world.seed().await;
    let came = done(&mut world, "in", deposit(700)).await;
    let before = balances(&mut world).await;
    let engine = world.engine.engine().clone();
    let all = async move {
        let call = |n| {
            let engine = engine.clone();
            tokio::task::spawn_local(async move { engine.submit(command(&format!("r{n}"), reverse(came))).await })
        };
        let (calls, mut told) = ((0..40).map(call).collect::<Vec<_>>(), Vec::new());
        for call in calls {
            told.push(call.await.expect("no panic"));
        }
        told
    };
    let told = world.run(all).await;
    let codes: Vec<_> = told.iter().map(|reply| code(reply.as_ref().expect("a decision"))).collect();
    assert_eq!(codes.iter().filter(|code| code.is_none()).count(), 1);
    assert!(codes.iter().flatten().all(|code| *code == FailureCode::OperationAlreadyReversed), "{codes:?}");
    world.settle().await;
    let after = balances(&mut world).await;
    assert_eq!((after[0].0, &after[1..]), (before[0].0 - 700, &before[1..]));
    let mut reference = Reference::default();
    (1..).map_while(|lsn| world.engine.committed(arus_engine::money::Lsn(lsn))).for_each(|of| reference.apply(&of));
    reference.assert_zero_sums();
}
