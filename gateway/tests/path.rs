//! A payment's path end to end through real gRPC: every outcome it can have, and what can be read afterwards.

mod support;

use arus_proto::{
    common::v1::{FailureCode, RiskDecision},
    fx::v1::{ConvertRequest, GetRateRequest, ListRatesRequest, RateSource},
    payments::v1::{
        GetPaymentRequest, ListPaymentsRequest, PaymentStatus, get_payment_request::By, list_payments_request::Of,
    },
    risk::v1::ScoreRequest,
    wallet::v1::{
        AccountStatus, CaptureRequest, LineKind, ListAccountsRequest, ListEntriesRequest, ReleaseRequest,
        ReservationStatus, ReserveRequest, UpdateAccountRequest, WithdrawRequest,
    },
};
use support::{Clients, Server, money, payment};
use tonic::Code;

fn code(payment: &arus_proto::payments::v1::Payment) -> FailureCode {
    payment.failure.as_ref().map_or(FailureCode::Unspecified, arus_proto::common::v1::Failure::code)
}

#[tokio::test(flavor = "multi_thread")]
async fn same_currency_moves_exactly_once_and_replays() {
    let (server, mut c) = Server::start().await;
    c.account_with("alice", "alice-usd", "USD", "100.00").await;
    c.open("shop", "shop-usd", "USD").await;
    let request = payment("p1", "alice", "USD", "12.34", "shop-usd");
    let first = c.pay(request.clone()).await.expect("decided");
    assert_eq!((first.status(), first.replayed, first.version), (PaymentStatus::Captured, false, 1));
    assert_eq!((first.debited.clone(), first.credited.clone()), (first.amount.clone(), first.amount.clone()));
    assert_eq!(c.balance("alice-usd").await, "87.66", "a client reads its own payment");
    assert_eq!(c.balance("shop-usd").await, "12.34");
    for _ in 0..3 {
        let again = c.pay(request.clone()).await.expect("replayed");
        assert!(again.replayed);
        assert_eq!(arus_proto::payments::v1::Payment { replayed: false, ..again }, first);
    }
    assert_eq!(c.balance("alice-usd").await, "87.66");
    let same_body = payment("p1", "alice", "USD", "12.340000", "shop-usd");
    assert_eq!(c.pay(same_body).await.expect_err("three digits").code(), Code::InvalidArgument);
    let mut other = request.clone();
    other.description = "does not count".into();
    assert!(c.pay(other).await.expect("same body").replayed);
    let reused = c.pay(payment("p1", "alice", "USD", "12.35", "shop-usd")).await.expect_err("another body");
    assert_eq!(reused.code(), Code::AlreadyExists);
    assert!(reused.message().contains("amount"), "{}", reused.message());
    // The key belongs to all methods.
    let withdraw = WithdrawRequest {
        tx_id: "p1".into(),
        account_id: "alice-usd".into(),
        amount: Some(money("USD", "12.34")),
        ..Default::default()
    };
    assert_eq!(c.wallet.withdraw(withdraw).await.expect_err("reused").code(), Code::AlreadyExists);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_callers_of_one_key_get_one_payment() {
    let (server, mut c) = Server::start().await;
    c.account_with("alice", "alice-usd", "USD", "100.00").await;
    c.open("shop", "shop-usd", "USD").await;
    let calls = (0..12).map(|_| {
        let mut c = c.clone();
        tokio::spawn(async move { c.pay(payment("same", "alice", "USD", "1.00", "shop-usd")).await.expect("decided") })
    });
    let mut ids = std::collections::BTreeSet::new();
    let mut fresh = 0;
    for call in calls.collect::<Vec<_>>() {
        let payment = call.await.expect("no panic");
        fresh += usize::from(!payment.replayed);
        ids.insert(payment.payment_id);
    }
    assert_eq!((ids.len(), fresh), (1, 1));
    assert_eq!(c.balance("alice-usd").await, "99.00");
    server.stop().await;
}

async fn world() -> (Server, Clients) {
    let (server, mut c) = Server::start().await;
    c.rates("r1", RateSource::Ecb, &[("EUR", "USD", "1.25"), ("EUR", "IDR", "20000"), ("EUR", "SGD", "1.5")]).await;
    c.account_with("budi", "budi-idr", "IDR", "10000000.00").await;
    c.open("MERCH-001", "house-usd", "USD").await;
    c.open("MERCH-001", "house-sgd", "SGD").await;
    (server, c)
}

#[tokio::test(flavor = "multi_thread")]
async fn pays_usd_out_of_an_idr_wallet_and_shows_the_leg() {
    let (server, mut c) = world().await;
    let paid = c.pay(payment("fx1", "budi", "USD", "250.00", "")).await.expect("decided");
    assert_eq!(paid.status(), PaymentStatus::Captured);
    // 16000 through EUR, two spreads of 50 bps: ask 16160.
    assert_eq!(paid.debited, Some(money("IDR", "4040000.00")));
    assert_eq!(paid.credited, Some(money("USD", "250.00")));
    assert_eq!((paid.fx.len(), paid.fx[0].via.as_str(), paid.fx[0].rate.as_str()), (1, "EUR", "16160"));
    assert_eq!(c.balance("budi-idr").await, "5960000.00");
    assert_eq!(c.balance("house-usd").await, "250.00");
    assert_eq!(c.balance("sys/fx/IDR").await, "4040000.00");
    assert_eq!(c.balance("sys/fx/USD").await, "-250.00");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_payment_may_touch_three_currencies() {
    let (server, mut c) = world().await;
    let paid = c.pay(payment("fx3", "budi", "EUR", "40.00", "house-sgd")).await.expect("decided");
    assert_eq!(paid.fx.len(), 2);
    // Payer at the ask 20100, payee at the bid 1.4925.
    assert_eq!(paid.debited, Some(money("IDR", "804000.00")));
    assert_eq!(paid.credited, Some(money("SGD", "59.70")));
    // Payer and payee in one currency, the amount in another: one conversion at mid, no desk.
    c.open("shop", "shop-idr", "IDR").await;
    let mid = c.pay(payment("mid", "budi", "EUR", "1.00", "shop-idr")).await.expect("decided");
    assert_eq!((mid.debited.clone(), mid.fx.len()), (mid.credited.clone(), 1));
    assert_eq!(mid.debited, Some(money("IDR", "20000.00")));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_small_stale_and_missing_rates_decline() {
    let (server, mut c) = world().await;
    c.account_with("ann", "ann-usd", "USD", "10.00").await;
    let small = c.pay(payment("tiny", "ann", "IDR", "0.01", "house-usd")).await.expect("decided");
    assert_eq!(code(&small), FailureCode::AmountTooSmall);
    let missing = c.pay(payment("kwd", "ann", "KWD", "1.000", "house-usd")).await.expect("decided");
    assert_eq!(code(&missing), FailureCode::FxRateUnavailable);
    let rate = c.fx.get_rate(GetRateRequest { base: "KWD".into(), quote: "USD".into() }).await.expect("answered");
    assert_eq!(rate.into_inner().failure.expect("none").code(), FailureCode::FxRateUnavailable);
    let convert = ConvertRequest { amount: Some(money("USD", "100.00")), to_currency: "SGD".into() };
    let converted = c.fx.convert(convert).await.expect("answered").into_inner();
    assert_eq!(converted.converted, Some(money("SGD", "121.20")));
    assert_eq!(c.fx.list_rates(ListRatesRequest {}).await.expect("answered").into_inner().rates.len(), 3);
    server.stop().await;
    // A live rate older than its source allows.
    let mut settings = support::settings();
    settings.engine.fx.live_age_max_s = 1;
    let (server, mut c) = Server::with(settings).await;
    c.rates("old", RateSource::Live, &[("USD", "EUR", "0.9")]).await;
    c.account_with("ann", "ann-usd", "USD", "10.00").await;
    c.open("shop", "shop-eur", "EUR").await;
    tokio::time::sleep(std::time::Duration::from_millis(2_100)).await;
    let stale = c.pay(payment("stale", "ann", "EUR", "1.00", "shop-eur")).await.expect("decided");
    assert_eq!(code(&stale), FailureCode::FxRateStale);
    assert_eq!(c.account("ann-usd").await.pending_debits, Some(money("USD", "0.00")));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn candidates_are_tried_in_order_and_never_combined() {
    let (server, mut c) = Server::start().await;
    c.account_with("ann", "ann-1", "USD", "5.00").await;
    c.account_with("ann", "ann-2", "USD", "7.00").await;
    c.open("shop", "shop-usd", "USD").await;
    let second = c.pay(payment("k1", "ann", "USD", "6.00", "shop-usd")).await.expect("decided");
    assert_eq!(second.source_account, "ann-2");
    assert_eq!(second.tried.iter().map(|t| t.account_id.as_str()).collect::<Vec<_>>(), ["ann-1"]);
    let none = c.pay(payment("k2", "ann", "USD", "5.50", "shop-usd")).await.expect("decided");
    assert_eq!((code(&none), none.tried.len()), (FailureCode::InsufficientFunds, 2));
    let named = arus_proto::payments::v1::CreatePaymentRequest {
        source_account: "ann-2".into(),
        ..payment("k3", "ann", "USD", "2.00", "shop-usd")
    };
    let named = c.pay(named).await.expect("decided");
    assert_eq!((code(&named), named.tried.len()), (FailureCode::InsufficientFunds, 1), "no fallback");
    let not_owned = arus_proto::payments::v1::CreatePaymentRequest {
        source_account: "shop-usd".into(),
        ..payment("k4", "ann", "USD", "2.00", "ann-1")
    };
    assert_eq!(code(&c.pay(not_owned).await.expect("decided")), FailureCode::SourceNotOwned);
    assert_eq!(c.account("ann-1").await.available, Some(money("USD", "5.00")), "a refusal leaves no hold behind");
    assert_eq!(c.account("shop-usd").await.pending_credits, Some(money("USD", "0.00")));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn risk_rejects_before_any_hold_and_scores_without_counting() {
    let mut settings = support::settings();
    settings.engine.risk.velocity_per_minute_max = 3;
    settings.engine.risk.blocked_countries.insert("KP".into());
    let (server, mut c) = Server::with(settings).await;
    c.account_with("ann", "ann-usd", "USD", "1000000.00").await;
    c.open("shop", "shop-usd", "USD").await;
    let large = c.pay(payment("big", "ann", "USD", "50000.01", "shop-usd")).await.expect("decided");
    assert_eq!(code(&large), FailureCode::RiskRejected);
    assert_eq!(large.risk.expect("a verdict").reasons, ["amount_above_max"]);
    let score = |country: &str| ScoreRequest {
        customer_id: "ann".into(),
        amount: Some(money("USD", "1.00")),
        context: Some(arus_proto::common::v1::PaymentContext { country: country.into(), ..Default::default() }),
        ..Default::default()
    };
    for _ in 0..5 {
        let verdict = c.risk.score(score("SG")).await.expect("answered").into_inner().verdict.expect("one");
        assert_eq!(verdict.decision(), RiskDecision::Accept);
    }
    let blocked = c.risk.score(score("KP")).await.expect("answered").into_inner().verdict.expect("one");
    assert_eq!((blocked.decision(), blocked.score), (RiskDecision::Reject, 100));
    // What the rules refused counts for nothing.
    for n in 0..3 {
        assert_eq!(
            code(&c.pay(payment(&format!("v{n}"), "ann", "USD", "1.00", "shop-usd")).await.expect("decided")),
            FailureCode::Unspecified
        );
    }
    let fast = c.pay(payment("v3", "ann", "USD", "1.00", "shop-usd")).await.expect("decided");
    assert_eq!(fast.risk.expect("a verdict").reasons, ["velocity_per_minute"]);
    // The windows are rebuilt from the journal.
    let dir = server.stop().await;
    let mut settings = support::settings();
    settings.engine.risk.velocity_per_minute_max = 3;
    let (server, mut c) = Server::on(dir, settings).await;
    let still = c.pay(payment("v4", "ann", "USD", "1.00", "shop-usd")).await.expect("decided");
    assert_eq!(code(&still), FailureCode::RiskRejected);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frozen_closed_limited_accounts_decline() {
    let (server, mut c) = Server::start().await;
    c.account_with("ann", "ann-usd", "USD", "100.00").await;
    c.open("shop", "shop-usd", "USD").await;
    let update = |tx: &str, account: &str, status| UpdateAccountRequest {
        tx_id: tx.into(),
        account_id: account.into(),
        status: i32::from(status),
        ..Default::default()
    };
    let frozen = c.wallet.update_account(update("u1", "ann-usd", AccountStatus::Frozen)).await.expect("decided");
    assert_eq!(frozen.into_inner().account.expect("an account").status(), AccountStatus::Frozen);
    let declined = c.pay(payment("f1", "ann", "USD", "1.00", "shop-usd")).await.expect("decided");
    assert_eq!(code(&declined), FailureCode::AccountFrozen);
    c.wallet.update_account(update("u2", "ann-usd", AccountStatus::Active)).await.expect("decided");
    assert_eq!(
        code(&c.pay(payment("f2", "ann", "USD", "1.00", "shop-usd")).await.expect("decided")),
        FailureCode::Unspecified
    );
    let close = c.wallet.update_account(update("u3", "ann-usd", AccountStatus::Closed)).await.expect("decided");
    let failure = close.into_inner().operation.expect("decided").failure.expect("declined");
    assert_eq!(failure.code(), FailureCode::AccountNotEmpty);
    let limit = UpdateAccountRequest {
        tx_id: "u4".into(),
        account_id: "ann-usd".into(),
        daily_debit_limit: Some(money("USD", "3.00")),
        overdraft_limit: Some(money("USD", "500.00")),
        ..Default::default()
    };
    c.wallet.update_account(limit).await.expect("decided");
    let over = c.pay(payment("f3", "ann", "USD", "2.01", "shop-usd")).await.expect("decided");
    assert_eq!(code(&over), FailureCode::DailyLimitExceeded, "1.00 of 3.00 is used");
    assert_eq!(
        code(&c.pay(payment("f4", "ann", "USD", "2.00", "shop-usd")).await.expect("decided")),
        FailureCode::Unspecified
    );
    c.open("bob", "bob-usd", "USD").await;
    c.wallet.update_account(update("u5", "bob-usd", AccountStatus::Closed)).await.expect("decided");
    let closed = c.pay(payment("f5", "ann", "USD", "0.01", "bob-usd")).await.expect("decided");
    assert_eq!(code(&closed), FailureCode::AccountClosed);
    let back = c.wallet.update_account(update("u6", "bob-usd", AccountStatus::Active)).await.expect("decided");
    assert!(back.into_inner().operation.expect("decided").failure.is_some(), "closed is for good");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reservations_capture_release_and_expire() {
    let (server, mut c) = Server::start().await;
    c.account_with("ann", "ann-usd", "USD", "100.00").await;
    c.open("shop", "shop-usd", "USD").await;
    let reserve = |tx: &str, amount: &str, seconds: i64| ReserveRequest {
        tx_id: tx.into(),
        account_id: "ann-usd".into(),
        amount: Some(money("USD", amount)),
        destination_account: "shop-usd".into(),
        expires_in: Some(arus_proto::Duration { seconds, nanos: 0 }),
    };
    let held = c.wallet.reserve(reserve("r1", "60.00", 600)).await.expect("decided").into_inner();
    let id = held.reservation.expect("a reservation").reservation_id;
    let account = c.account("ann-usd").await;
    assert_eq!((account.balance, account.available), (Some(money("USD", "100.00")), Some(money("USD", "40.00"))));
    let too_much = c.wallet.reserve(reserve("r2", "40.01", 600)).await.expect("decided").into_inner();
    assert_eq!(too_much.operation.expect("decided").failure.expect("declined").code(), FailureCode::InsufficientFunds);
    let capture = |tx: &str, amount: Option<&str>, last| CaptureRequest {
        tx_id: tx.into(),
        reservation_id: id.clone(),
        amount: amount.map(|amount| money("USD", amount)),
        destination_account: String::new(),
        r#final: last,
    };
    let part = c.wallet.capture(capture("c1", Some("25.00"), false)).await.expect("decided").into_inner();
    assert_eq!(part.reservation.expect("one").remaining, Some(money("USD", "35.00")));
    let over = c.wallet.capture(capture("c2", Some("35.01"), false)).await.expect("decided").into_inner();
    assert_eq!(
        over.operation.expect("decided").failure.expect("declined").code(),
        FailureCode::AmountExceedsReservation
    );
    let last = c.wallet.capture(capture("c3", Some("5.00"), true)).await.expect("decided").into_inner();
    assert_eq!(last.reservation.expect("one").status(), ReservationStatus::Captured);
    let account = c.account("ann-usd").await;
    assert_eq!((account.balance, account.available), (Some(money("USD", "70.00")), Some(money("USD", "70.00"))));
    assert_eq!(c.balance("shop-usd").await, "30.00");
    let release = ReleaseRequest { tx_id: "x1".into(), reservation_id: id.clone() };
    let late = c.wallet.release(release).await.expect("decided").into_inner();
    assert_eq!(late.operation.expect("decided").failure.expect("declined").code(), FailureCode::ReservationNotActive);
    c.wallet.reserve(reserve("r3", "70.00", 1)).await.expect("decided");
    // Expiry is durable: across a restart the timer is still there.
    let (server, mut c) = Server::on(server.stop().await, support::settings()).await;
    let expired = async {
        while c.account("ann-usd").await.available != Some(money("USD", "70.00")) {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(support::LIMIT, expired).await.expect("it expires");
    let request = ListEntriesRequest { account_id: "ann-usd".into(), ..Default::default() };
    let lines = c.wallet.list_entries(request).await.expect("answered").into_inner().entries;
    let kinds: Vec<_> = lines.iter().rev().map(arus_proto::wallet::v1::StatementLine::kind).collect();
    use LineKind::{Authorize, Credit, Settle, Void};
    assert_eq!(kinds, [Credit, Authorize, Settle, Settle, Void, Authorize, Void]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_page_newest_first_through_tail_and_index() {
    let mut settings = support::settings();
    // A slow builder: the newest lines are in the tail, the older ones in the index.
    settings.engine.index_run_interval_ms = 300;
    let (server, mut c) = Server::with(settings).await;
    c.account_with("ann", "ann-usd", "USD", "100.00").await;
    c.open("shop", "shop-usd", "USD").await;
    for n in 0..25 {
        let amount = if n % 5 == 4 { "1000.00" } else { "1.00" };
        c.pay(payment(&format!("p{n}"), "ann", "USD", amount, "shop-usd")).await.expect("decided");
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    }
    let mut token = String::new();
    let mut seen = Vec::new();
    loop {
        let request = ListPaymentsRequest {
            of: Some(Of::CustomerId("ann".into())),
            page_size: 7,
            page_token: token,
            ..Default::default()
        };
        let page = c.payments.list_payments(request).await.expect("answered").into_inner();
        seen.extend(page.payments.into_iter().map(|p| (p.tx_id.clone(), p.status())));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    let all: Vec<_> = (0..25).rev().map(|n| format!("p{n}")).collect();
    assert_eq!(seen.iter().map(|(tx_id, _)| tx_id.clone()).collect::<Vec<_>>(), all);
    assert_eq!(seen.iter().filter(|(_, status)| *status == PaymentStatus::Failed).count(), 5, "any status");
    let by_payee = ListPaymentsRequest { of: Some(Of::AccountId("shop-usd".into())), ..Default::default() };
    assert_eq!(c.payments.list_payments(by_payee).await.expect("answered").into_inner().payments.len(), 20);
    let mut token = String::new();
    let mut balances = Vec::new();
    loop {
        let request = ListEntriesRequest { account_id: "ann-usd".into(), page_size: 4, page_token: token };
        let page = c.wallet.list_entries(request).await.expect("answered").into_inner();
        balances.extend(page.entries.into_iter().filter_map(|line| line.balance_after).map(|m| m.amount));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    let running: Vec<_> = (80..=100).map(|n| format!("{n}.00")).collect();
    assert_eq!(balances, running);
    let by_key = GetPaymentRequest { by: Some(By::TxId("p3".into())) };
    let by_key = c.payments.get_payment(by_key).await.expect("found").into_inner().payment.expect("one");
    let by_id = GetPaymentRequest { by: Some(By::PaymentId(by_key.payment_id.clone())) };
    assert_eq!(c.payments.get_payment(by_id).await.expect("found").into_inner().payment, Some(by_key));
    c.open("ann", "ann-eur", "EUR").await;
    let request = ListAccountsRequest { owner_id: "ann".into(), page_size: 1, ..Default::default() };
    let page = c.wallet.list_accounts(request).await.expect("answered").into_inner();
    assert_eq!((page.accounts[0].account_id.as_str(), page.default_account_id.as_str()), ("ann-usd", "ann-usd"));
    let request = ListAccountsRequest { owner_id: "ann".into(), page_size: 1, page_token: page.next_page_token };
    let page = c.wallet.list_accounts(request).await.expect("answered").into_inner();
    assert_eq!((page.accounts[0].account_id.as_str(), page.next_page_token.as_str()), ("ann-eur", ""));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_account_can_be_changed_and_withdrawals_check_funds() {
    let (server, mut c) = world().await;
    c.account_with("budi", "budi-sgd", "SGD", "1000.00").await;
    let default = UpdateAccountRequest {
        tx_id: "d1".into(),
        account_id: "budi-sgd".into(),
        make_default: true,
        ..Default::default()
    };
    c.wallet.update_account(default).await.expect("decided");
    let paid = c.pay(payment("p", "budi", "USD", "10.00", "")).await.expect("decided");
    assert_eq!(paid.source_account, "budi-sgd");
    let withdraw = |tx: &str, amount: &str| WithdrawRequest {
        tx_id: tx.into(),
        account_id: "budi-idr".into(),
        amount: Some(money("IDR", amount)),
        ..Default::default()
    };
    let over = c.wallet.withdraw(withdraw("w1", "10000000.01")).await.expect("decided").into_inner();
    assert_eq!(over.operation.expect("decided").failure.expect("declined").code(), FailureCode::InsufficientFunds);
    c.wallet.withdraw(withdraw("w2", "10000000.00")).await.expect("decided");
    assert_eq!(c.balance("budi-idr").await, "0.00");
    assert_eq!(c.balance("sys/world/IDR").await, "0.00");
    // Everything survives a restart, and a deleted index is rebuilt.
    let dir = server.stop().await;
    std::fs::remove_dir_all(dir.path().join("index")).expect("the index is a folder");
    let (server, mut c) = Server::on(dir, support::settings()).await;
    assert!(c.pay(payment("p", "budi", "USD", "10.00", "")).await.expect("replayed").replayed);
    let next = c.pay(payment("p2", "budi", "USD", "10.00", "")).await.expect("decided");
    assert_eq!(next.source_account, "budi-sgd", "the default survives");
    let dir = server.stop().await;
    support::assert_verified(dir.path());
}

/// P1: whoever is told of a payment reads it, on whichever arbiter payer, payee and reader are.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_on_another_arbiter_reads_what_was_told() {
    let (server, mut c) = Server::start().await;
    c.account_with("ann", "ann-usd", "USD", "1000.00").await;
    for n in 0..16 {
        c.open(&format!("shop{n}"), &format!("shop{n}-usd"), "USD").await;
    }
    for round in 1..=10 {
        for n in 0..16 {
            let (tx_id, payee) = (format!("ryw-{round}-{n}"), format!("shop{n}-usd"));
            c.pay(payment(&tx_id, "ann", "USD", "1.00", &payee)).await.expect("decided");
            assert_eq!(c.balance(&payee).await, format!("{round}.00"));
        }
    }
    assert_eq!(c.balance("ann-usd").await, "840.00");
    server.stop().await;
}

/// P6, P10: opens of one id are serialised; a capture always credits somebody.
#[tokio::test(flavor = "multi_thread")]
async fn one_id_is_opened_once_and_a_capture_needs_a_payee() {
    let (server, mut c) = Server::start().await;
    let opens: Vec<_> = (0..12)
        .map(|n| {
            let mut c = c.clone();
            let request = arus_proto::wallet::v1::OpenAccountRequest {
                tx_id: format!("open-{n}"),
                account_id: "the-one".into(),
                owner_id: format!("owner{}", n % 3),
                currency: "USD".into(),
                ..Default::default()
            };
            tokio::spawn(async move { c.wallet.open_account(request).await.expect("decided").into_inner() })
        })
        .collect();
    let mut opened = 0;
    for open in opens {
        let answer = open.await.expect("no panic");
        match answer.operation.expect("decided").failure {
            None => opened += 1,
            Some(failure) => assert_eq!(failure.code(), FailureCode::AccountExists),
        }
    }
    assert_eq!(opened, 1);
    c.fund("the-one", "USD", "10.00").await;
    let reserve = ReserveRequest {
        tx_id: "r".into(),
        account_id: "the-one".into(),
        amount: Some(money("USD", "4.00")),
        ..Default::default()
    };
    let held = c.wallet.reserve(reserve).await.expect("decided").into_inner().reservation.expect("one");
    let capture = |tx_id: &str, to: &str| CaptureRequest {
        tx_id: tx_id.into(),
        reservation_id: held.reservation_id.clone(),
        destination_account: to.into(),
        ..Default::default()
    };
    let nobody = c.wallet.capture(capture("c1", "")).await.expect("decided").into_inner();
    assert_eq!(nobody.operation.expect("decided").failure.expect("to whom?").code(), FailureCode::DestinationRequired);
    let own = c.wallet.capture(capture("c2", "the-one")).await.expect("decided").into_inner();
    assert_eq!(own.operation.expect("decided").failure.expect("declined").code(), FailureCode::SameAccount);
    c.open("shop", "shop-usd", "USD").await;
    let taken = c.wallet.capture(capture("c3", "shop-usd")).await.expect("decided").into_inner();
    assert_eq!(taken.reservation.expect("one").status(), ReservationStatus::Captured);
    assert_eq!((c.balance("the-one").await, c.balance("shop-usd").await), ("6.00".into(), "4.00".into()));
    server.stop().await;
}
