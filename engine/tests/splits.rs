//! Splits and fees (P12): who gets what of a payment, by its request alone, and what of it moves through its life.
#![allow(clippy::panic, reason = "a test fails by panicking")]

mod support;

use arus_engine::{
    Position, Refusal, Reply, Window,
    index::HistoryRow,
    ledger::{
        commands::{
            CapturePayment, CreatePayment, RefundPayment, Request, UpdateAccount, VoidPayment, create_payment::Manual,
        },
        entry::Committed,
        failure::FailureCode,
        payment::{Payment, PaymentStatus},
        refund::{NamedSplit, RefundRate},
        reservation::Finality,
        settings::{AccountStatus, SettingsChange},
        splits::{Fee, Portion, Portion::BasisPoints, Portion::Remainder, Sharing, Split},
    },
    money::{AccountId, Lsn, Money, OpId, OwnerId},
};
use proptest::prelude::*;
use support::{Reference, TENANT, World, account, money};

fn split(destination: AccountId, portion: Portion) -> Split {
    Split { destination, portion, reference: String::new() }
}

fn usd(minor: i128) -> Portion {
    Portion::Amount(money(minor, "USD"))
}

fn portions(portions: &[Portion], fee: Option<Fee>) -> Sharing {
    Sharing { splits: portions.iter().map(|portion| split(account("B", "USD"), *portion)).collect(), fee }
}

fn divided(minor: i128, of: &[Portion], fee: Option<Fee>) -> Result<(Vec<i128>, Option<i128>), String> {
    let division = portions(of, fee).divide(money(minor, "USD")).map_err(|why| format!("{} {}", why.at, why.rule))?;
    Ok((division.parts, division.fee))
}

#[test]
fn parts_are_what_the_request_says_to_the_last_cent() {
    assert_eq!(divided(1_000, &[usd(300), usd(700)], None), Ok((vec![300, 700], None)));
    assert_eq!(divided(1_000, &[BasisPoints(3_333), BasisPoints(6_667)], None), Ok((vec![333, 667], None)));
    assert_eq!(divided(101, &[BasisPoints(5_000), BasisPoints(5_000)], None), Ok((vec![51, 50], None)));
    let mixed = [BasisPoints(1_000), Remainder, usd(50)];
    assert_eq!(divided(1_009, &mixed, None), Ok((vec![100, 859, 50], None)));
    // The fee comes out of the remainder, else out of the last split.
    assert_eq!(divided(1_009, &mixed, Some(Fee::BasisPoints(250))), Ok((vec![100, 834, 50], Some(25))));
    let fixed = Some(Fee::Amount(money(30, "USD")));
    assert_eq!(divided(1_000, &[usd(300), usd(700)], fixed), Ok((vec![300, 670], Some(30))));
    assert_eq!(divided(1_000, &[], fixed), Ok((vec![970], Some(30))));
}

#[test]
fn what_does_not_add_up_is_told_by_split_and_rule() {
    let wrong = |minor, of: &[Portion], fee| divided(minor, of, fee).expect_err("it does not add up");
    let says = |minor, of: &[Portion], fee, words: &str| {
        let said = wrong(minor, of, fee);
        assert!(said.contains(words), "{said}");
    };
    says(1_000, &[usd(300), usd(600)], None, "splits sum to 9.00 USD; without a remainder they must sum to the amount");
    says(1_000, &[Remainder, usd(10), Remainder], None, "splits[2] is the second remainder");
    says(1_000, &[BasisPoints(5_000), BasisPoints(4_999)], None, "must sum to 10000");
    says(1_000, &[BasisPoints(5_000), usd(500)], None, "mix amounts and basis points");
    says(1_000, &[BasisPoints(10_001), Remainder], None, "splits[0] is 10001 basis points");
    says(1_000, &[BasisPoints(6_000), BasisPoints(5_000), Remainder], None, "sum to 11000 basis points");
    says(1_000, &[usd(1_000), Remainder], None, "something of 10.00 USD must remain");
    says(1, &[BasisPoints(5_000), BasisPoints(5_000)], None, "splits[1] gets nothing");
    says(1_000, &[usd(0), Remainder], None, "splits[0] is 0.00 USD");
    says(1_000, &[Portion::Amount(money(5, "EUR")), Remainder], None, "must be in the payment's currency, USD");
    says(1_000, &vec![BasisPoints(1); 33], None, "at most 32");
    says(100, &[usd(50), usd(50)], Some(Fee::Amount(money(50, "USD"))), "at least one minor unit of that must be left");
    says(100, &[], Some(Fee::BasisPoints(10)), "fee comes to 0.00 USD");
    says(100, &[], Some(Fee::BasisPoints(10_001)), "fee is 10001 basis points");
    says(100, &[], Some(Fee::Amount(money(1, "EUR"))), "fee is 0.01 EUR");
}

proptest! {
    /// Whatever is divided, no cent is lost or made, and everybody gets one.
    #[test]
    fn nothing_is_lost_between_the_parts(
        minor in 1_i128..1_000_000_000_000_000_000,
        bps in prop::collection::vec(1_u16..400, 1..32),
        fee in prop::option::of(1_u16..10_001),
        remainder in any::<bool>(),
    ) {
        let mut of: Vec<_> = bps.iter().map(|bps| BasisPoints(*bps)).collect();
        let rest = 10_000 - bps.iter().sum::<u16>().min(10_000);
        of.truncate(31);
        of.push(if remainder || rest == 0 { Remainder } else { BasisPoints(rest) });
        if let Ok((parts, fee)) = divided(minor, &of, fee.map(Fee::BasisPoints)) {
            prop_assert_eq!(parts.iter().sum::<i128>() + fee.unwrap_or(0), minor);
            prop_assert!(parts.iter().all(|part| *part > 0));
        }
    }
}

fn pay(minor: i128, from: &str, sharing: Sharing, manual: bool) -> Request {
    Request::CreatePayment(CreatePayment {
        customer: OwnerId::parse("A").expect("an id"),
        amount: money(minor, "USD"),
        source: Some(account("A", from)),
        destination: None,
        manual: manual.then_some(Manual { expires_in: None }),
        sharing: Some(Box::new(sharing)),
    })
}

fn capture(payment: OpId, minor: Option<i128>) -> Request {
    let amount = minor.map(|minor| money(minor, "USD"));
    Request::CapturePayment(CapturePayment { payment, amount, finality: Finality::Partial })
}

fn refund(payment: OpId, minor: Option<i128>) -> RefundPayment {
    let amount = minor.map(|minor| money(minor, "USD"));
    RefundPayment { payment, amount, rate: RefundRate::Original, refund_fees: true, splits: Vec::new() }
}

fn set(owner: &str, code: &str, status: AccountStatus) -> Request {
    let change = SettingsChange { status: Some(status), ..SettingsChange::default() };
    let change = Box::new(change);
    Request::UpdateAccount(UpdateAccount { account: account(owner, code), change, make_default: false })
}

async fn decided(world: &mut World, tx_id: &str, request: Request) -> Reply {
    let reply = world.submit(tx_id, request).await.unwrap_or_else(|refusal| panic!("{tx_id}: {refusal}"));
    world.settle().await;
    reply
}

fn payment(reply: &Reply) -> &Payment {
    reply.committed.entry.payment().unwrap_or_else(|| panic!("no payment: {reply:?}"))
}

fn code(reply: &Reply) -> Option<FailureCode> {
    reply.committed.entry.failure().map(|failure| failure.code)
}

/// Balances and what is set aside of the six accounts, and the house's fees.
async fn books(world: &mut World) -> Vec<(i128, i128)> {
    let mut books = Vec::new();
    for id in ["A-USD", "A-EUR", "B-USD", "B-EUR", "C-USD", "C-EUR", "sys/fees/USD"] {
        let (engine, id) = (world.engine.engine().clone(), AccountId::parse_any(id).expect("an id"));
        let view = world.run(async move { engine.account(TENANT, &id).await }).await;
        books.push(view.map_or((0, 0), |view| {
            let aside = view.account.authorized;
            assert_eq!((view.pending_debits.minor, view.pending_credits.minor), (aside, 0), "nothing is in flight");
            (view.account.balance().minor, aside)
        }));
    }
    books
}

fn zero_sums(world: &World) {
    let mut reference = Reference::default();
    (1..).map_while(|lsn| world.engine.committed(Lsn(lsn))).for_each(|committed| reference.apply(&committed));
    reference.assert_zero_sums();
}

/// Three who share, in two currencies, one of them twice, and a fee.
fn shared() -> Sharing {
    let splits = vec![
        split(account("B", "USD"), BasisPoints(3_333)),
        split(account("C", "EUR"), usd(101)),
        split(account("B", "EUR"), Remainder),
        split(account("C", "EUR"), usd(7)),
    ];
    Sharing { splits, fee: Some(Fee::BasisPoints(290)) }
}

#[actix::test]
async fn a_payment_goes_to_several_with_a_fee_in_one_entry_and_comes_back_whole() {
    for from in ["USD", "EUR"] {
        let mut world = World::new(11);
        world.seed().await;
        let before = books(&mut world).await;
        let made = decided(&mut world, "p", pay(1_003, from, shared(), false)).await;
        let of = payment(&made).shared.as_ref().expect("its parts");
        let parts: Vec<_> = of.splits.iter().map(|part| part.amount.minor).collect();
        assert_eq!(parts, [334, 101, 1_003 - 334 - 101 - 7 - 29, 7]);
        // A payment in USD from EUR at 1.25 and 1 %: up(10.03 x 0.808), each part in EUR down(part x 0.792).
        assert_eq!(payment(&made).debited, Some(if from == "USD" { money(1_003, "USD") } else { money(811, "EUR") }));
        let credited: Vec<_> = of.splits.iter().map(|part| part.credited).collect();
        assert_eq!(credited, [money(334, "USD"), money(79, "EUR"), money(421, "EUR"), money(5, "EUR")]);
        let after = books(&mut world).await;
        assert_eq!(after[6], (29, 0), "the house has its fee");
        assert_eq!(after[5].0 - before[5].0, 84, "both parts of one account");
        let back = decided(&mut world, "r", Request::RefundPayment(refund(payment(&made).id, None))).await;
        assert_eq!(payment(&back).status, PaymentStatus::Refunded);
        assert_eq!(books(&mut world).await, before, "from {from}: the exact reversal");
        zero_sums(&world);
    }
}

/// In whatever parts it is captured and given back.
#[actix::test]
async fn captures_and_refunds_in_parts_add_up_for_everybody() {
    for from in ["USD", "EUR"] {
        let mut world = World::new(12);
        world.seed().await;
        let before = books(&mut world).await;
        let at_once = decided(&mut world, "once", pay(1_003, from, shared(), false)).await;
        let once = books(&mut world).await;
        decided(&mut world, "undo", Request::RefundPayment(refund(payment(&at_once).id, None))).await;
        let id = payment(&decided(&mut world, "p", pay(1_003, from, shared(), true)).await).id;
        for (n, minor) in [1, 333, 1, 2, 331, 335].into_iter().enumerate() {
            let step = decided(&mut world, &format!("c{n}"), capture(id, Some(minor))).await;
            assert_eq!(code(&step), None);
        }
        assert_eq!(books(&mut world).await, once, "from {from}: as if it had been captured at once");
        for (n, minor) in [Some(2), Some(500), Some(1), None].into_iter().enumerate() {
            let step = decided(&mut world, &format!("r{n}"), Request::RefundPayment(refund(id, minor))).await;
            assert_eq!(code(&step), None);
        }
        assert_eq!(books(&mut world).await, before, "from {from}: the exact reversal");
        zero_sums(&world);
    }
}

#[actix::test]
async fn the_house_keeps_its_fee_unless_it_is_asked_for_it() {
    let mut world = World::new(13);
    world.seed().await;
    let splits = vec![split(account("B", "USD"), usd(400)), split(account("C", "EUR"), Remainder)];
    let sharing = Sharing { splits, fee: Some(Fee::Amount(money(50, "USD"))) };
    let made = decided(&mut world, "p", pay(1_000, "USD", sharing, false)).await;
    let fee = payment(&made).shared.as_ref().and_then(|shared| shared.fee.clone()).expect("a fee");
    assert_eq!((fee.carrier, fee.ask.map(|ask| ask.to_string())), (1, Some("0.808".into())));
    let before = books(&mut world).await;
    let keep = RefundPayment { refund_fees: false, ..refund(payment(&made).id, Some(500)) };
    let back = decided(&mut world, "r1", Request::RefundPayment(keep)).await;
    let parts = back.committed.entry.decision.refund().and_then(|refund| refund.parts.clone()).expect("its parts");
    let given: Vec<_> = parts.iter().map(|part| (part.split, part.amount.minor, part.debited)).collect();
    // Half of 400, of 550 and of the fee of 50: its carrier gives up(25 x 0.808).
    let is = [(Some(0), 200, Some(money(200, "USD"))), (Some(1), 275, Some(money(218, "EUR")))];
    assert_eq!(given, [is[0], is[1], (None, 25, Some(money(21, "EUR")))]);
    assert_eq!(parts[2].account, account("C", "EUR"));
    let after = books(&mut world).await;
    assert_eq!(
        (after[6], after[0].0 - before[0].0),
        ((50, 0), 500),
        "the payer has it whole, the house all of its fee"
    );
    // The rest with the house's share.
    decided(&mut world, "r2", Request::RefundPayment(refund(payment(&made).id, None))).await;
    let after = books(&mut world).await;
    assert_eq!((after[6], after[0].0 - before[0].0), ((25, 0), 1_000));
    zero_sums(&world);
}

#[actix::test]
async fn a_refund_names_the_splits_that_give_it_back() {
    let mut world = World::new(14);
    world.seed().await;
    let splits = vec![split(account("B", "USD"), usd(400)), split(account("C", "USD"), usd(600))];
    let sharing = Sharing { splits, fee: Some(Fee::Amount(money(60, "USD"))) };
    let id = payment(&decided(&mut world, "p", pay(1_000, "USD", sharing, false)).await).id;
    let before = books(&mut world).await;
    let of = |index, minor: Option<i128>| NamedSplit { index, amount: minor.map(|minor| money(minor, "USD")) };
    let named = |splits: Vec<NamedSplit>| RefundPayment { splits, ..refund(id, None) };
    let back = decided(&mut world, "r1", Request::RefundPayment(named(vec![of(1, Some(100))]))).await;
    let parts = back.committed.entry.decision.refund().and_then(|refund| refund.parts.clone()).expect("its parts");
    let given: Vec<_> = parts.iter().map(|part| (part.split, part.amount.minor)).collect();
    assert_eq!(given, [(Some(1), 90), (None, 10)], "the split with the fee that was taken out of it");
    let beyond = decided(&mut world, "r2", Request::RefundPayment(named(vec![of(0, Some(401))]))).await;
    assert_eq!(code(&beyond), Some(FailureCode::AmountExceedsRefundable));
    let message = beyond.committed.entry.failure().map(|failure| failure.message.clone()).unwrap_or_default();
    assert!(message.contains("split 0") && message.contains("4.00 USD left"), "{message}");
    // Named or not, spelled out or not: one body; another amount is another.
    let rest = named(vec![of(0, None), of(1, Some(20))]);
    decided(&mut world, "r3", Request::RefundPayment(rest.clone())).await;
    let spelled = RefundPayment { splits: vec![of(0, Some(400)), of(1, Some(20))], ..refund(id, Some(420)) };
    assert!(world.submit("r3", Request::RefundPayment(spelled)).await.is_ok_and(|reply| reply.replayed));
    let less = named(vec![of(0, Some(399)), of(1, Some(20))]);
    assert_eq!(world.submit("r3", Request::RefundPayment(less)).await.map(|_| ()), Err(reused("splits")));
    let other = named(vec![of(1, None), of(0, None)]);
    assert_eq!(world.submit("r3", Request::RefundPayment(other)).await.map(|_| ()), Err(reused("splits")));
    let after = books(&mut world).await;
    assert_eq!((after[0].0 - before[0].0, after[2].0 - before[2].0, after[6]), (520, -400, (48, 0)));
    // Nothing is left of the first.
    let nothing = decided(&mut world, "r5", Request::RefundPayment(named(vec![of(0, None), of(1, Some(5))]))).await;
    let said = nothing.committed.entry.decision.refund().expect("a refund").clone();
    assert_eq!((code(&nothing), said.amount), (Some(FailureCode::AmountExceedsRefundable), money(5, "USD")));
    for wrong in [vec![of(2, None)], vec![of(0, None), of(0, None)], vec![of(0, Some(0))]] {
        let refused = world.submit("r4", Request::RefundPayment(named(wrong))).await.map(|_| ());
        assert!(matches!(&refused, Err(Refusal::Invalid(fields)) if fields[0].field == "splits"), "{refused:?}");
    }
    let sums = RefundPayment { splits: vec![of(1, Some(5))], ..refund(id, Some(6)) };
    let refused = world.submit("r4", Request::RefundPayment(sums)).await.map(|_| ());
    assert!(matches!(&refused, Err(Refusal::Invalid(fields)) if fields[0].field == "splits"), "{refused:?}");
    let now = RefundPayment { rate: RefundRate::Current, ..named(vec![of(1, Some(5))]) };
    let refused = world.submit("r4", Request::RefundPayment(now)).await.map(|_| ());
    assert!(matches!(&refused, Err(Refusal::Invalid(fields)) if fields[0].field == "splits"), "{refused:?}");
    zero_sums(&world);
}

fn reused(field: &'static str) -> Refusal {
    Refusal::KeyReused { field }
}

/// At the rate of now each split gives its part at the ask, and the payer gets the whole at the bid.
#[actix::test]
async fn a_shared_refund_at_the_rate_of_now_has_several_payers() {
    let mut world = World::new(15);
    world.seed().await;
    let splits = vec![split(account("B", "USD"), usd(400)), split(account("C", "EUR"), Remainder)];
    let sharing = Sharing { splits, fee: Some(Fee::Amount(money(50, "USD"))) };
    let id = payment(&decided(&mut world, "p", pay(1_000, "EUR", sharing, false)).await).id;
    let now = RefundPayment { rate: RefundRate::Current, ..refund(id, Some(500)) };
    let back = decided(&mut world, "r", Request::RefundPayment(now)).await;
    let refund = back.committed.entry.decision.refund().expect("a refund").clone();
    let given: Vec<_> = refund.parts.iter().flatten().map(|part| part.debited).collect();
    assert_eq!(given, [Some(money(200, "USD")), Some(money(223, "EUR")), Some(money(25, "USD"))]);
    assert_eq!(refund.credited, Some(money(396, "EUR")), "down(5.00 x 0.792)");
    let rest = decided(&mut world, "r2", Request::RefundPayment(self::refund(id, None))).await;
    assert_eq!(payment(&rest).status, PaymentStatus::Refunded);
    zero_sums(&world);
}

/// One payee who gets it all is priced as any payment: payer and payee hold one currency, so one conversion at the middle.
#[actix::test]
async fn one_split_alone_converts_once_both_ways() {
    let mut world = World::new(19);
    world.seed().await;
    let before = books(&mut world).await;
    let alone = Sharing { splits: vec![split(account("B", "EUR"), Remainder)], fee: None };
    let made = decided(&mut world, "p", pay(1_000, "EUR", alone, false)).await;
    assert_eq!(payment(&made).debited, Some(money(800, "EUR")));
    let now = RefundPayment { rate: RefundRate::Current, ..refund(payment(&made).id, None) };
    decided(&mut world, "r", Request::RefundPayment(now)).await;
    assert_eq!(books(&mut world).await, before);
}

/// A payer's other account that only shares the payment may get what another split gives back.
#[actix::test]
async fn a_refund_of_one_split_may_go_to_the_account_of_another() {
    let mut world = World::new(20);
    world.seed().await;
    let second = arus_engine::ledger::commands::OpenAccount {
        account: Some(account("A2", "USD")),
        owner: OwnerId::parse("A").expect("an id"),
        currency: support::currency("USD"),
        overdraft_limit: 0,
        minimum_balance: None,
        daily_debit_limit: None,
    };
    decided(&mut world, "open", Request::OpenAccount(second)).await;
    let splits = vec![split(account("A2", "USD"), usd(400)), split(account("B", "USD"), Remainder)];
    let made = decided(&mut world, "p", pay(100_000, "USD", Sharing { splits, fee: None }, false)).await;
    decided(&mut world, "close", set("A", "USD", AccountStatus::Closed)).await;
    let named = |index| {
        let splits = vec![NamedSplit { index, amount: Some(money(100, "USD")) }];
        Request::RefundPayment(RefundPayment { splits, ..refund(payment(&made).id, None) })
    };
    let back = decided(&mut world, "r1", named(1)).await;
    assert_eq!(back.committed.entry.decision.refund().expect("a refund").destination, account("A2", "USD"));
    assert_eq!(code(&decided(&mut world, "r0", named(0)).await), Some(FailureCode::RefundDestinationClosed));
}

/// Whoever will not take part, nothing moves and nobody holds anything any more.
#[actix::test]
async fn one_that_will_not_take_part_stops_all() {
    let mut world = World::new(16);
    world.seed().await;
    let before = books(&mut world).await;
    decided(&mut world, "freeze", set("C", "EUR", AccountStatus::Frozen)).await;
    for manual in [false, true] {
        let made = decided(&mut world, &format!("p-{manual}"), pay(1_003, "USD", shared(), manual)).await;
        assert_eq!((code(&made), payment(&made).status), (Some(FailureCode::AccountFrozen), PaymentStatus::Failed));
    }
    let unknown = Sharing { splits: vec![split(account("X", "USD"), Remainder)], fee: None };
    let refused = world.submit("x", pay(1_000, "USD", unknown, false)).await.map(|_| ());
    assert!(matches!(refused, Err(Refusal::NotFound { .. })), "{refused:?}");
    let own =
        Sharing { splits: vec![split(account("A", "USD"), usd(5)), split(account("B", "USD"), Remainder)], fee: None };
    let own = decided(&mut world, "own", pay(1_000, "USD", own, false)).await;
    assert_eq!(code(&own), Some(FailureCode::SameAccount));
    assert_eq!(books(&mut world).await, before);
    // So it is of a refund that one of them cannot give.
    decided(&mut world, "thaw", set("C", "EUR", AccountStatus::Active)).await;
    let made = decided(&mut world, "p", pay(1_003, "USD", shared(), false)).await;
    decided(&mut world, "freeze-2", set("C", "EUR", AccountStatus::Frozen)).await;
    let taken = books(&mut world).await;
    let back = decided(&mut world, "r", Request::RefundPayment(refund(payment(&made).id, None))).await;
    assert_eq!(code(&back), Some(FailureCode::AccountFrozen));
    assert_eq!(books(&mut world).await, taken);
}

/// What is set aside for several names each of them until it ends.
#[actix::test]
async fn none_of_the_payees_is_closed_while_something_is_set_aside() {
    let mut world = World::new(17);
    world.seed().await;
    let open = arus_engine::ledger::commands::OpenAccount {
        account: Some(account("D", "EUR")),
        owner: OwnerId::parse("D").expect("an id"),
        currency: support::currency("EUR"),
        overdraft_limit: 0,
        minimum_balance: None,
        daily_debit_limit: None,
    };
    decided(&mut world, "open", Request::OpenAccount(open)).await;
    let splits = vec![split(account("B", "USD"), usd(400)), split(account("D", "EUR"), Remainder)];
    let made = decided(&mut world, "p", pay(1_000, "USD", Sharing { splits, fee: None }, true)).await;
    let refused = decided(&mut world, "close", set("D", "EUR", AccountStatus::Closed)).await;
    assert_eq!(code(&refused), Some(FailureCode::AccountNotEmpty));
    decided(&mut world, "void", Request::VoidPayment(VoidPayment { payment: payment(&made).id })).await;
    let closed = decided(&mut world, "close-2", set("D", "EUR", AccountStatus::Closed)).await;
    assert_eq!(code(&closed), None);
    assert_eq!(books(&mut world).await[0], (100_000, 0));
}

/// A statement by pages of one line gets through an entry that has many on the account.
#[actix::test]
async fn a_statement_has_each_line_of_an_entry_once() {
    let mut world = World::new(21);
    world.seed().await;
    let part = |n| split(account("B", "USD"), if n == 0 { Remainder } else { BasisPoints(300) });
    let splits = (0..32).map(part).collect();
    decided(&mut world, "p", pay(10_000, "USD", Sharing { splits, fee: None }, false)).await;
    for is_indexed in [false, true] {
        if is_indexed {
            world.settle().await;
        }
        let (mut below, mut lines) = (Position::NEWEST, Vec::new());
        for _ in 0..40 {
            let (engine, id) = (world.engine.engine().clone(), account("B", "USD"));
            let window = Window { below, rows_max: 1, bytes_max: 1 << 20 };
            let show = |row: &HistoryRow, _: &Committed| Some(((row.lsn, row.line), 1));
            let page = world.run(async move { engine.entries(TENANT, &id, window, show).await }).await.expect("a page");
            lines.extend(page.items);
            let Some(next) = page.next_below else { break };
            below = next;
        }
        let mut once = lines.clone();
        once.dedup();
        assert_eq!((lines.len(), once.len()), (33, 33), "32 parts and the deposit: {lines:?}");
    }
}

/// Portions count for "same body", references do not.
#[actix::test]
async fn a_key_is_bound_to_its_splits() {
    let mut world = World::new(18);
    world.seed().await;
    let first = decided(&mut world, "p", pay(1_000, "USD", shared(), false)).await;
    let mut same = shared();
    same.splits[0].reference = "order 7".into();
    assert!(world.submit("p", pay(1_000, "USD", same, false)).await.is_ok_and(|reply| reply.replayed));
    let mut other = shared();
    other.splits.swap(1, 3);
    assert_eq!(world.submit("p", pay(1_000, "USD", other, false)).await.map(|_| ()), Err(reused("splits")));
    let fee = Sharing { fee: Some(Fee::BasisPoints(291)), ..shared() };
    assert_eq!(world.submit("p", pay(1_000, "USD", fee, false)).await.map(|_| ()), Err(reused("fee")));
    assert_eq!(payment(&first).status, PaymentStatus::Captured);
    let _: Money = payment(&first).debited.expect("it paid");
}
