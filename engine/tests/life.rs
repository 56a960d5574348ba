//! The life of a payment (P9): authorised, captured in parts, voided, expired, refunded; on the deterministic wiring.
#![allow(clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::{collections::BTreeMap, time::Duration};

use arus_engine::{
    Position, Refusal, Reply, Window,
    index::memory::MemoryIndex,
    ledger::{
        commands::{
            CapturePayment, CreatePayment, RefundPayment, Request, UpdateAccount, UpdatePayment, VoidPayment, Withdraw,
            create_payment::Manual, funds::Funds,
        },
        entry::Committed,
        failure::FailureCode,
        life::Life,
        parts::FeesFrom,
        payment::{Payment, PaymentStatus},
        refund::RefundRate,
        reservation::Finality,
        settings::{AccountStatus, SettingsChange},
    },
    money::{AccountId, Lsn, Money, OpId, OwnerId},
};
use support::{Reference, TENANT, World, account, command, money};

const WEEK: Duration = Duration::from_secs(7 * 86_400);

fn pay(minor: i128, code: &str, (from, to): (&str, &str), manual: bool) -> Request {
    Request::CreatePayment(CreatePayment {
        customer: OwnerId::parse("A").expect("an id"),
        amount: money(minor, code),
        source: Some(account("A", from)),
        destination: Some(account("B", to)),
        manual: manual.then_some(Manual { expires_in: None }),
        sharing: None,
    })
}

fn capture(payment: OpId, minor: Option<i128>, finality: Finality) -> Request {
    Request::CapturePayment(CapturePayment { payment, amount: minor.map(|minor| money(minor, "USD")), finality })
}

fn void(payment: OpId) -> Request {
    Request::VoidPayment(VoidPayment { payment })
}

fn refund(payment: OpId, minor: Option<i128>, rate: RefundRate) -> Request {
    let amount = minor.map(|minor| money(minor, "USD"));
    Request::RefundPayment(RefundPayment { payment, amount, rate, refund_fees: false, splits: Vec::new() })
}

fn set(owner: &str, code: &str, status: AccountStatus) -> Request {
    let change = SettingsChange { status: Some(status), ..SettingsChange::default() };
    Request::UpdateAccount(UpdateAccount {
        account: account(owner, code),
        change: Box::new(change),
        make_default: false,
    })
}

fn of(reply: &Reply) -> (&Payment, Option<&Life>) {
    let payment = reply.committed.entry.payment().unwrap_or_else(|| panic!("no payment: {reply:?}"));
    (payment, payment.life.as_deref())
}

/// Status, captured, refunded, version.
fn stands(reply: &Reply) -> (PaymentStatus, i128, i128, u32) {
    let (payment, life) = of(reply);
    let life = life.expect("its life");
    (payment.status, life.captured.minor, life.refunded.minor, life.version)
}

fn code(reply: &Reply) -> Option<FailureCode> {
    reply.committed.entry.failure().map(|failure| failure.code)
}

async fn decided(world: &mut World, tx_id: &str, request: Request) -> Reply {
    let reply = world.submit(tx_id, request).await.unwrap_or_else(|refusal| panic!("{tx_id}: {refusal}"));
    world.settle().await;
    reply
}

/// Balance and what is set aside.
async fn has(world: &mut World, owner: &str, code: &str) -> (i128, i128) {
    let (engine, id) = (world.engine.engine().clone(), account(owner, code));
    let view = world.run(async move { engine.account(support::TENANT, &id).await }).await.expect("it is there");
    assert_eq!(view.pending_credits.minor, 0, "{owner}-{code} expects nothing any more");
    assert_eq!(view.pending_debits.minor, view.account.authorized, "{owner}-{code} holds nothing any more");
    (view.account.balance().minor, view.account.authorized)
}

async fn fire(world: &mut World) -> usize {
    let mut fired = 0;
    for command in world.engine.due().await {
        let engine = world.engine.engine().clone();
        fired += usize::from(world.run(async move { engine.submit(command).await }).await.is_ok());
    }
    fired
}

#[actix::test]
async fn a_payment_is_authorised_and_captured_in_parts() {
    let mut world = World::new(1);
    world.seed().await;
    let made = decided(&mut world, "a", pay(10_000, "USD", ("USD", "USD"), true)).await;
    let (payment, life) = of(&made);
    let (id, life) = (payment.id, life.expect("its life"));
    assert_eq!((payment.status, life.version, payment.debited), (PaymentStatus::Authorized, 1, None));
    let expires_at = life.authorization.as_ref().expect("set aside").expires_at;
    assert_eq!(expires_at, support::START.plus(WEEK), "seven days if it names no time");
    assert_eq!(has(&mut world, "A", "USD").await, (100_000, 10_000));
    assert_eq!(has(&mut world, "B", "USD").await, (100_000, 0));
    let first = decided(&mut world, "c1", capture(id, Some(2_500), Finality::Partial)).await;
    assert_eq!(stands(&first), (PaymentStatus::Authorized, 2_500, 0, 2));
    assert_eq!(has(&mut world, "A", "USD").await, (97_500, 7_500));
    let too_much = decided(&mut world, "c2", capture(id, Some(7_501), Finality::Partial)).await;
    assert_eq!(code(&too_much), Some(FailureCode::AmountExceedsCapturable));
    assert_eq!(stands(&too_much), (PaymentStatus::Authorized, 2_500, 0, 2), "it changes nothing");
    // What is refunded before the last capture stays refunded.
    let back = decided(&mut world, "r1", refund(id, Some(1_000), RefundRate::Original)).await;
    assert_eq!(stands(&back), (PaymentStatus::Authorized, 2_500, 1_000, 3));
    let last = decided(&mut world, "c3", capture(id, Some(500), Finality::Final)).await;
    assert_eq!(stands(&last), (PaymentStatus::Captured, 3_000, 1_000, 4));
    assert_eq!(has(&mut world, "A", "USD").await, (98_000, 0), "the rest is freed");
    assert_eq!(has(&mut world, "B", "USD").await, (102_000, 0));
    for (key, request) in [("c4", capture(id, None, Finality::Partial)), ("v1", void(id))] {
        let late = decided(&mut world, key, request).await;
        let codes = [FailureCode::PaymentNotCapturable, FailureCode::PaymentNotVoidable];
        assert!(codes.contains(&code(&late).expect("declined")), "{late:?}");
    }
    let again = decided(&mut world, "c1", capture(id, Some(2_500), Finality::Partial)).await;
    assert!(again.replayed && stands(&again) == stands(&first), "as it was then");
    let other = world.submit("c1", capture(id, Some(2_501), Finality::Partial)).await;
    assert!(matches!(other, Err(Refusal::KeyReused { field: "amount" })), "{other:?}");
    let all = decided(&mut world, "r2", refund(id, None, RefundRate::Original)).await;
    assert_eq!(stands(&all), (PaymentStatus::Refunded, 3_000, 3_000, 5));
    let spelled = decided(&mut world, "r2", refund(id, Some(2_000), RefundRate::Original)).await;
    assert!(spelled.replayed, "all that was left, spelled out");
    assert_eq!(has(&mut world, "A", "USD").await, (100_000, 0));
    assert_eq!(has(&mut world, "B", "USD").await, (100_000, 0));
    let more = decided(&mut world, "r3", refund(id, Some(1), RefundRate::Original)).await;
    assert_eq!(code(&more), Some(FailureCode::PaymentNotRefundable));
    let unknown = world.submit("x", void(OpId(9))).await;
    assert!(matches!(unknown, Err(Refusal::NotFound { what: "payment", .. })), "{unknown:?}");
}

#[actix::test]
async fn what_is_not_captured_is_voided_or_expires_once() {
    let mut world = World::new(2);
    world.seed().await;
    let first = of(&decided(&mut world, "a", pay(4_000, "USD", ("USD", "USD"), true)).await).0.id;
    let voided = decided(&mut world, "v", void(first)).await;
    assert_eq!(stands(&voided), (PaymentStatus::Voided, 0, 0, 2));
    assert_eq!(has(&mut world, "A", "USD").await, (100_000, 0));
    let late = decided(&mut world, "c", capture(first, None, Finality::Partial)).await;
    assert_eq!(code(&late), Some(FailureCode::PaymentNotCapturable));
    let nothing = decided(&mut world, "r", refund(first, None, RefundRate::Original)).await;
    assert_eq!(code(&nothing), Some(FailureCode::PaymentNotRefundable));
    let [second, third] = ["b", "c2"].map(|key| (key, pay(3_000, "USD", ("USD", "USD"), true)));
    let second = of(&decided(&mut world, second.0, second.1).await).0.id;
    let third = of(&decided(&mut world, third.0, third.1).await).0.id;
    decided(&mut world, "part", capture(third, Some(1_000), Finality::Partial)).await;
    world.clock.advance(WEEK);
    // One that comes before the sweep finds it expired, and the sweep then finds nothing to do.
    let late = decided(&mut world, "late", capture(second, None, Finality::Partial)).await;
    assert_eq!((code(&late), of(&late).0.status), (Some(FailureCode::PaymentNotCapturable), PaymentStatus::Expired));
    assert_eq!(fire(&mut world).await, 1, "the third alone");
    world.settle().await;
    assert_eq!(fire(&mut world).await, 0, "once");
    assert_eq!(has(&mut world, "A", "USD").await, (99_000, 0));
    let engine = world.engine.engine().clone();
    let now = world.run(async move { engine.payment(support::TENANT, third).await }).await.expect("it is there");
    let status = now.entry.payment().map(|payment| payment.status);
    assert_eq!(status, Some(PaymentStatus::Captured), "what was captured stays");
}

/// Who is named as payee of what is set aside stays open, and what ends it lets go.
#[actix::test]
async fn a_payee_is_not_closed_while_something_is_set_aside_for_it() {
    let mut world = World::new(3);
    world.seed().await;
    let id = of(&decided(&mut world, "a", pay(4_000, "USD", ("USD", "USD"), true)).await).0.id;
    let all = Funds { account: account("B", "USD"), amount: money(100_000, "USD") };
    decided(&mut world, "empty", Request::Withdraw(Withdraw(all))).await;
    let refused = decided(&mut world, "close-1", set("B", "USD", AccountStatus::Closed)).await;
    assert_eq!(code(&refused), Some(FailureCode::AccountNotEmpty));
    let message = refused.committed.entry.failure().map(|failure| failure.message.clone()).unwrap_or_default();
    assert!(message.contains("is named by 1 authorised payments"), "{message}");
    // A frozen payee takes no capture, and a void needs nobody's leave.
    decided(&mut world, "freeze", set("B", "USD", AccountStatus::Frozen)).await;
    let frozen = decided(&mut world, "c", capture(id, None, Finality::Partial)).await;
    assert_eq!((code(&frozen), of(&frozen).0.status), (Some(FailureCode::AccountFrozen), PaymentStatus::Authorized));
    decided(&mut world, "v", void(id)).await;
    let closed = decided(&mut world, "close-2", set("B", "USD", AccountStatus::Closed)).await;
    assert_eq!(code(&closed), None);
}

/// A USD payment from a EUR account to a EUR account of another: one conversion at mid, in parts, and back.
#[actix::test]
async fn parts_and_refunds_of_a_conversion_add_up_to_the_whole() {
    for (from, to) in [("EUR", "USD"), ("USD", "EUR"), ("EUR", "EUR")] {
        let mut world = World::new(4);
        world.seed().await;
        let before = [has(&mut world, "A", from).await, has(&mut world, "B", to).await];
        let id = of(&decided(&mut world, "a", pay(1_003, "USD", (from, to), true)).await).0.id;
        for (n, minor) in [1, 333, 1, 335, 333].into_iter().enumerate() {
            let step = decided(&mut world, &format!("c{n}"), capture(id, Some(minor), Finality::Partial)).await;
            assert_eq!(code(&step), None);
        }
        let full = of(&decided(&mut world, "auto", pay(1_003, "USD", (from, to), false)).await).0.clone();
        let engine = world.engine.engine().clone();
        let parts = world.run(async move { engine.payment(support::TENANT, id).await }).await.expect("it is there");
        let parts = parts.entry.payment().expect("a payment").clone();
        assert_eq!((parts.status, parts.debited), (PaymentStatus::Captured, full.debited), "{from} to {to}");
        assert_eq!(parts.credited, full.credited, "{from} to {to}");
        for (n, minor) in [Some(2), Some(500), Some(1), None].into_iter().enumerate() {
            let step = decided(&mut world, &format!("r{n}"), refund(id, minor, RefundRate::Original)).await;
            assert_eq!(code(&step), None);
        }
        let all = decided(&mut world, "r", refund(full.id, None, RefundRate::Original)).await;
        assert_eq!(stands(&all), (PaymentStatus::Refunded, 1_003, 1_003, 2));
        let after = [has(&mut world, "A", from).await, has(&mut world, "B", to).await];
        assert_eq!(after, before, "{from} to {to}: a full refund is the exact reversal");
        let mut reference = Reference::default();
        world.settle().await;
        let all = (1..).map_while(|lsn| world.engine.committed(Lsn(lsn)));
        all.for_each(|committed| reference.apply(&committed));
        reference.assert_zero_sums();
        assert!(reference.accounts.iter().filter(|(id, _)| id.starts_with("sys/fx/")).all(|(_, of)| of.0 == 0));
    }
}

#[actix::test]
async fn a_refund_at_the_rate_of_now_is_a_payment_the_other_way() {
    let mut world = World::new(5);
    world.seed().await;
    let id = of(&decided(&mut world, "a", pay(1_000, "USD", ("EUR", "USD"), false)).await).0.id;
    let back = decided(&mut world, "r", refund(id, Some(400), RefundRate::Current)).await;
    let made = back.committed.entry.decision.refund().expect("a refund").clone();
    // 4.00 USD of the payee; at 1.25 less 1 % the payer gets 3.16 EUR for it, rounded down.
    assert_eq!((made.debited, made.credited), (Some(money(400, "USD")), Some(money(316, "EUR"))));
    assert_eq!(made.fx.len(), 1);
    let rest = decided(&mut world, "r2", refund(id, None, RefundRate::Original)).await;
    assert_eq!(stands(&rest), (PaymentStatus::Refunded, 1_000, 1_000, 3));
    let rest = rest.committed.entry.decision.refund().expect("a refund").clone();
    assert_eq!(rest.debited, Some(money(600, "USD")));
}

#[actix::test]
async fn a_refund_goes_to_who_paid_or_to_another_account_of_theirs_or_nowhere() {
    let mut world = World::new(6);
    world.seed().await;
    let ids = [of(&decided(&mut world, "a", pay(100_000, "USD", ("USD", "USD"), false)).await).0.id];
    let poor = Funds { account: account("B", "USD"), amount: money(199_000, "USD") };
    decided(&mut world, "w", Request::Withdraw(Withdraw(poor))).await;
    let short = decided(&mut world, "r0", refund(ids[0], None, RefundRate::Original)).await;
    let failure = short.committed.entry.failure().expect("declined").clone();
    assert_eq!(failure.code, FailureCode::InsufficientFunds);
    assert!(failure.message.contains("account B-USD has"), "{}", failure.message);
    let failed = short.committed.entry.decision.refund().expect("a refund that failed");
    assert_eq!((failed.amount, failed.debited), (money(100_000, "USD"), None));
    decided(&mut world, "close", set("A", "USD", AccountStatus::Closed)).await;
    let nowhere = decided(&mut world, "r1", refund(ids[0], Some(500), RefundRate::Original)).await;
    assert_eq!(code(&nowhere), Some(FailureCode::RefundDestinationClosed));
    open(&mut world, "A2").await;
    let other = decided(&mut world, "r2", refund(ids[0], Some(500), RefundRate::Original)).await;
    let other = other.committed.entry.decision.refund().expect("a refund").clone();
    assert_eq!(other.destination, account("A2", "USD"));
    assert_eq!(has(&mut world, "A2", "USD").await, (500, 0));
}

/// Captures, voids and refunds of one payment at the same time, and kills between: each is decided, in some order.
#[actix::test]
async fn refunds_never_exceed_what_was_captured_nor_captures_what_was_authorised() {
    for seed in 0..40 {
        let mut world = World::new(100 + seed);
        world.seed().await;
        let id = of(&decided(&mut world, "a", pay(5_000, "USD", ("EUR", "USD"), true)).await).0.id;
        let mut tasks = Vec::new();
        for n in 0..100_u64 {
            let minor = 1 + i128::from(world.clock.random(seed * 1_000 + n) % 700);
            let request = match world.clock.random(seed * 7_000 + n) % 16 {
                0 if n > 60 => void(id),
                1 if n > 60 => capture(id, Some(minor), Finality::Final),
                0..8 => capture(id, Some(minor), Finality::Partial),
                _ => refund(id, Some(minor), RefundRate::Original),
            };
            let (engine, command) = (world.engine.engine().clone(), command(&format!("k{n}"), request));
            tasks.push(tokio::task::spawn_local(async move { engine.submit(command).await }));
        }
        world.settle().await;
        let mut replies = BTreeMap::new();
        for task in tasks {
            let reply = world.run(async move { task.await.expect("no panic") }).await.expect("each is decided");
            replies.insert(reply.committed.lsn, reply);
        }
        let mut version = 1;
        for reply in replies.values() {
            let (payment, life) = of(reply);
            let life = life.expect("its life");
            assert!(life.refunded.minor <= life.captured.minor && life.captured.minor <= 5_000, "{payment:?}");
            version += u32::from(code(reply).is_none());
            assert_eq!(life.version, version, "in the order of the journal");
        }
        let last = replies.values().last().expect("a reply");
        let open = of(last).1.expect("its life").authorization.as_ref().expect("set aside").left.minor;
        assert_eq!(has(&mut world, "A", "EUR").await.1, open);
        // After a crash all is as it was told, and the rest can still be taken.
        let mut again = World::on(world.disk.crash(|_, _| false), MemoryIndex::new(), world.clock.clone());
        for (lsn, reply) in &replies {
            let entry = &reply.committed.entry;
            let replay = again.submit(&entry.tx_id.to_string(), entry.request.clone()).await.expect("it is known");
            assert!(replay.replayed && replay.committed.lsn == *lsn);
        }
        assert_eq!(has(&mut again, "A", "EUR").await.1, open);
        let (end, all) = (void(id), refund(id, None, RefundRate::Original));
        decided(&mut again, "end", end).await;
        decided(&mut again, "all", all).await;
        let (eur, usd) = (has(&mut again, "A", "EUR").await, has(&mut again, "B", "USD").await);
        assert_eq!((eur, usd), ((100_000, 0), (100_000, 0)), "seed {seed}: all of it is reversed");
    }
}

/// A default account in another currency, and the account that gives the money back, are no places for it.
#[actix::test]
async fn a_refund_never_goes_to_another_currency_nor_back_to_who_gives_it() {
    let mut world = World::new(7);
    world.seed().await;
    let made = decided(&mut world, "a", pay(1_000, "USD", ("USD", "USD"), false)).await;
    let default = UpdateAccount {
        account: account("A", "EUR"),
        change: Box::new(SettingsChange { status: None, ..SettingsChange::default() }),
        make_default: true,
    };
    decided(&mut world, "default", Request::UpdateAccount(default)).await;
    let second = open(&mut world, "A2").await;
    let to_self = CreatePayment {
        customer: OwnerId::parse("A").expect("an id"),
        amount: money(500, "USD"),
        source: Some(account("A", "USD")),
        destination: Some(second.clone()),
        manual: None,
        sharing: None,
    };
    let own = decided(&mut world, "own", Request::CreatePayment(to_self)).await;
    let rest = Funds { account: account("A", "USD"), amount: money(98_500, "USD") };
    decided(&mut world, "empty", Request::Withdraw(Withdraw(rest))).await;
    decided(&mut world, "close", set("A", "USD", AccountStatus::Closed)).await;
    for rate in [RefundRate::Original, RefundRate::Current] {
        let back = decided(&mut world, &format!("own-{rate:?}"), refund(of(&own).0.id, None, rate)).await;
        assert_eq!(code(&back), Some(FailureCode::RefundDestinationClosed), "{rate:?}");
    }
    let back = decided(&mut world, "r", refund(of(&made).0.id, None, RefundRate::Original)).await;
    assert_eq!(back.committed.entry.decision.refund().expect("a refund").destination, second);
}

/// Of a step without an amount: what was left then, however much that was, is the same body spelled out.
#[actix::test]
async fn a_step_without_an_amount_is_one_of_all_that_was_left() {
    let mut world = World::new(8);
    world.seed().await;
    let id = of(&decided(&mut world, "a", pay(1_000, "USD", ("USD", "USD"), true)).await).0.id;
    let step = |minor| capture(id, minor, Finality::Partial);
    let back = |minor| refund(id, minor, RefundRate::Original);
    decided(&mut world, "part", step(Some(300))).await;
    assert!(reused(&mut world, "part", step(None)).await, "700 of 1,000 is not all");
    decided(&mut world, "back", back(Some(100))).await;
    assert!(reused(&mut world, "back", back(None)).await, "100 of 300 is not all");
    decided(&mut world, "rest", step(None)).await;
    assert!(!reused(&mut world, "rest", step(Some(700))).await);
    assert!(reused(&mut world, "rest", step(Some(300))).await);
    decided(&mut world, "all", back(None)).await;
    assert!(!reused(&mut world, "all", back(Some(900))).await);
    // So it is of one that was declined.
    let id = of(&decided(&mut world, "b", pay(1_000, "USD", ("USD", "USD"), true)).await).0.id;
    decided(&mut world, "freeze", set("B", "USD", AccountStatus::Frozen)).await;
    let declined = decided(&mut world, "frozen", capture(id, None, Finality::Partial)).await;
    assert_eq!(code(&declined), Some(FailureCode::AccountFrozen));
    assert!(!reused(&mut world, "frozen", capture(id, Some(1_000), Finality::Partial)).await);
    assert!(reused(&mut world, "frozen", capture(id, Some(999), Finality::Partial)).await);
}

/// What is authorised names its payer though nothing more is set aside there, and a frozen payee gets not even nothing.
#[actix::test]
async fn a_part_that_moves_nothing_still_needs_both_accounts() {
    let mut world = World::new(9);
    world.seed().await;
    let id = of(&decided(&mut world, "a", pay(10, "USD", ("EUR", "USD"), true)).await).0.id;
    decided(&mut world, "c", capture(id, Some(9), Finality::Partial)).await;
    let (balance, aside) = has(&mut world, "A", "EUR").await;
    assert_eq!(aside, 0, "nine of ten cents took all that was set aside");
    let rest = Funds { account: account("A", "EUR"), amount: money(balance, "EUR") };
    decided(&mut world, "empty", Request::Withdraw(Withdraw(rest))).await;
    let refused = decided(&mut world, "close", set("A", "EUR", AccountStatus::Closed)).await;
    assert_eq!(code(&refused), Some(FailureCode::AccountNotEmpty));
    let tiny = of(&decided(&mut world, "b", pay(10, "USD", ("USD", "EUR"), true)).await).0.id;
    decided(&mut world, "freeze", set("B", "EUR", AccountStatus::Frozen)).await;
    let nothing = decided(&mut world, "one", capture(tiny, Some(1), Finality::Partial)).await;
    assert_eq!(code(&nothing), Some(FailureCode::AccountFrozen), "one cent is worth nothing in EUR, rounded down");
    decided(&mut world, "thaw", set("B", "EUR", AccountStatus::Active)).await;
    let nothing = decided(&mut world, "two", capture(tiny, Some(1), Finality::Partial)).await;
    assert_eq!(stands(&nothing), (PaymentStatus::Authorized, 1, 0, 2));
    assert_eq!(has(&mut world, "B", "EUR").await, (100_000, 0));
}

#[actix::test]
async fn a_step_that_was_declined_changed_nothing_at_no_time() {
    let mut world = World::new(10);
    world.seed().await;
    let made = decided(&mut world, "a", pay(1_000, "USD", ("USD", "USD"), true)).await;
    let id = of(&made).0.id;
    let step = decided(&mut world, "c", capture(id, Some(400), Finality::Partial)).await;
    for n in 0..2 {
        world.clock.advance(Duration::from_secs(1));
        let declined = decided(&mut world, &format!("d{n}"), capture(id, Some(601), Finality::Partial)).await;
        let before = of(&declined).1.and_then(|life| life.before.clone()).expect("one before it");
        assert_eq!((before.changed, before.changed_at), (step.committed.lsn, step.committed.at));
        assert_eq!(before.previous.0, declined.committed.lsn.0 - 1, "the chain names each");
    }
}

async fn open(world: &mut World, owner: &str) -> AccountId {
    let id = account(owner, "USD");
    let open = arus_engine::ledger::commands::OpenAccount {
        account: Some(id.clone()),
        owner: OwnerId::parse("A").expect("an id"),
        currency: support::currency("USD"),
        overdraft_limit: 0,
        minimum_balance: None,
        daily_debit_limit: None,
    };
    decided(world, &format!("open-{id}"), Request::OpenAccount(open)).await;
    id
}

/// Whether a key was used with another amount; else it is replayed.
async fn reused(world: &mut World, tx_id: &str, request: Request) -> bool {
    match world.submit(tx_id, request).await {
        Ok(reply) => !reply.replayed,
        Err(Refusal::KeyReused { field, .. }) => field == "amount",
        Err(refusal) => panic!("{tx_id}: {refusal}"),
    }
}

#[test]
fn steps_keep_their_bounds_at_the_largest_amounts() {
    let big = |code: &str| Money::new(1_000_000_000_000_000_000, support::currency(code));
    let life = Life::begin(big("USD"), big("USD"), None);
    let payment = Payment {
        id: OpId(1),
        status: PaymentStatus::Captured,
        payer: account("A", "USD"),
        payee: account("B", "USD"),
        debited: Some(big("USD")),
        credited: Some(big("USD")),
        fx: Vec::new(),
        risk: arus_engine::ledger::risk::Verdict::accept(),
        tried: Vec::new(),
        life: None,
        shared: None,
    };
    for minor in [1, 999_999_999_999_999_999, 1_000_000_000_000_000_000] {
        let amount = Money::new(minor, support::currency("USD"));
        let shares = payment.check_refund(&life, Some(amount), &[]).expect("it has that much");
        let moves = payment.movement_of_refund(&life, &shares, FeesFrom::Carrier).expect("it fits");
        assert_eq!((moves.parts[0].moves, moves.payer), (amount, amount));
    }
}

/// However many entries a payment has, a list of those of one kind comes to its end, and a page reads a bounded number.
#[actix::test]
async fn refunds_are_listed_behind_thousands_of_notes() {
    let mut world = World::new(40);
    world.seed().await;
    let made = world.submit("p", pay(100, "USD", ("USD", "USD"), false)).await.expect("decided");
    let payment = made.committed.entry.op;
    let (rate, amount) = (RefundRate::Original, Some(money(7, "USD")));
    let refund = RefundPayment { payment, amount, rate, refund_fees: false, splits: Vec::new() };
    world.submit("r", Request::RefundPayment(refund)).await.expect("decided");
    for n in 0..4_300 {
        let update = UpdatePayment { payment, metadata: Vec::new(), description: Some(n.to_string()) };
        world.submit(&format!("u{n}"), Request::UpdatePayment(update)).await.expect("decided");
    }
    world.settle().await;
    let (mut below, mut pages, mut found) = (Position::NEWEST, 0, Vec::new());
    loop {
        let engine = world.engine.engine().clone();
        let window = Window { below, rows_max: 10, bytes_max: 1 << 20 };
        let show = |of: &Committed| of.entry.decision.refund().map(|refund| (refund.amount, 1));
        let page = async move { engine.payment_entries(TENANT, payment, window, show).await };
        let page = world.run(page).await.expect("a page");
        found.extend(page.items);
        pages += 1;
        match page.next_below {
            Some(next) if pages < 10 => below = next,
            _ => break,
        }
    }
    assert_eq!((found, pages), (vec![money(7, "USD")], 3));
}
