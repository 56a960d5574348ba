//! Many payments by one call: every item by itself, in batches and streams.
#![allow(clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::{collections::BTreeMap, time::Duration};

use arus_proto::payments::v1::{
    BatchCreatePaymentsRequest, BatchOutcome, CreatePaymentRequest, PaymentStatus, StreamPaymentsRequest,
    payments_service_client::PaymentsServiceClient,
};
use support::{Clients, LIMIT, Server, payment, settings};
use tokio_stream::StreamExt;
use tonic::{Code, transport::Channel};
use tonic_types::StatusExt;

async fn batch(c: &mut Clients, payments: Vec<CreatePaymentRequest>) -> Vec<BatchOutcome> {
    let answer = c.payments.batch_create_payments(BatchCreatePaymentsRequest { payments }).await;
    answer.expect("a batch is answered").into_inner().outcomes
}

fn reason(outcome: &BatchOutcome) -> &str {
    &outcome.error.as_ref().expect("an error").reason
}

#[tokio::test(flavor = "multi_thread")]
async fn each_item_of_a_batch_is_decided_by_itself() {
    let (server, mut c) = Server::start().await;
    c.account_with("ann", "ann-usd", "USD", "100.00").await;
    c.open("shop", "shop-usd", "USD").await;
    let outcomes = batch(
        &mut c,
        vec![
            payment("b0", "ann", "USD", "10.00", "shop-usd"),
            payment("b1", "ann", "USD", "1.005", "shop-usd"),
            payment("b2", "nobody", "USD", "1.00", "shop-usd"),
            payment("b3", "ann", "USD", "1000.00", "shop-usd"),
            payment("b0", "ann", "USD", "10.00", "shop-usd"),
            payment("b0", "ann", "USD", "11.00", "shop-usd"),
            CreatePaymentRequest::default(),
        ],
    )
    .await;
    let indexes: Vec<_> = outcomes.iter().map(|outcome| outcome.index).collect();
    assert_eq!(indexes, [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!((outcomes[0].status(), outcomes[0].replayed), (PaymentStatus::Captured, false));
    assert_eq!((reason(&outcomes[1]), outcomes[1].error.as_ref().expect("one").code), ("INVALID_REQUEST", 3));
    assert_eq!(reason(&outcomes[2]), "NOT_FOUND");
    let declined = outcomes[3].failure.as_ref().expect("declined").code();
    assert_eq!(
        (outcomes[3].status(), declined),
        (PaymentStatus::Failed, arus_proto::common::v1::FailureCode::InsufficientFunds)
    );
    assert_eq!((outcomes[4].status(), outcomes[4].replayed), (PaymentStatus::Captured, true));
    assert_eq!((&outcomes[4].payment_id, outcomes[4].lsn), (&outcomes[0].payment_id, outcomes[0].lsn));
    assert_eq!(reason(&outcomes[5]), "TX_ID_REUSED");
    assert_eq!(reason(&outcomes[6]), "INVALID_REQUEST");
    assert_eq!((c.balance("ann-usd").await, c.balance("shop-usd").await), ("90.00".into(), "10.00".into()));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_bounded_and_a_full_one_works() {
    let (server, mut c) = Server::start().await;
    c.account_with("ann", "ann-usd", "USD", "10000.00").await;
    c.open("shop", "shop-usd", "USD").await;
    let many = |count: usize| -> Vec<_> {
        (0..count).map(|n| payment(&format!("m{n}"), "ann", "USD", "1.00", "shop-usd")).collect()
    };
    for bad in [0, 1_025] {
        let request = BatchCreatePaymentsRequest { payments: many(bad) };
        let status = c.payments.batch_create_payments(request).await.expect_err("refused whole");
        assert_eq!(status.code(), Code::InvalidArgument);
        let details = status.get_details_bad_request().expect("details");
        assert_eq!(details.field_violations[0].field, "payments");
    }
    assert_eq!(c.balance("shop-usd").await, "0.00", "nothing of it happened");
    let outcomes = batch(&mut c, many(1_024)).await;
    assert!(outcomes.iter().all(|outcome| outcome.status() == PaymentStatus::Captured));
    assert_eq!(c.balance("shop-usd").await, "1024.00");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_beyond_what_may_be_in_flight_is_refused_item_by_item() {
    let mut settings = settings();
    settings.engine.in_flight_max = 8;
    let (server, mut c) = Server::with(settings).await;
    c.account_with("ann", "ann-usd", "USD", "10000.00").await;
    c.open("shop", "shop-usd", "USD").await;
    let payments: Vec<_> = (0..100).map(|n| payment(&format!("f{n}"), "ann", "USD", "1.00", "shop-usd")).collect();
    let outcomes = batch(&mut c, payments.clone()).await;
    let captured = outcomes.iter().filter(|outcome| outcome.status() == PaymentStatus::Captured).count();
    let refused: Vec<_> = outcomes.iter().filter(|outcome| outcome.error.is_some()).collect();
    assert!(captured >= 8 && captured + refused.len() == 100, "{captured} captured, {} refused", refused.len());
    assert!(refused.iter().all(|outcome| reason(outcome) == "TOO_MANY_IN_FLIGHT"));
    assert_eq!(c.balance("shop-usd").await, format!("{captured}.00"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_answers_every_item_and_a_slow_reader_loses_nothing() {
    const ITEMS: u32 = 5_000;
    let (server, mut c) = Server::start().await;
    c.account_with("ann", "ann-usd", "USD", "10000.00").await;
    c.open("shop", "shop-usd", "USD").await;
    let requests = (0..ITEMS).map(|n| {
        let customer = if n % 100 == 99 { "nobody" } else { "ann" };
        let payment = payment(&format!("s{n}"), customer, "USD", "1.00", "shop-usd");
        StreamPaymentsRequest { payment: Some(payment) }
    });
    let answers = c.payments.stream_payments(tokio_stream::iter(requests.collect::<Vec<_>>())).await;
    let mut answers = answers.expect("it streams").into_inner();
    let mut outcomes = BTreeMap::new();
    // Not reading for a while stops the server's reading, not the server: others are served.
    tokio::time::sleep(Duration::from_millis(200)).await;
    c.pay(payment("aside", "ann", "USD", "1.00", "shop-usd")).await.expect("others go on");
    while let Some(answer) = tokio::time::timeout(LIMIT, answers.next()).await.expect("in time") {
        let outcome = answer.expect("an answer").outcome.expect("an outcome");
        assert!(outcomes.insert(outcome.index, outcome).is_none(), "answered once");
    }
    assert_eq!(outcomes.len(), ITEMS as usize);
    for (index, outcome) in &outcomes {
        match index % 100 {
            99 => assert_eq!(reason(outcome), "NOT_FOUND"),
            _ => assert_eq!(outcome.status(), PaymentStatus::Captured, "{index}"),
        }
    }
    assert_eq!(c.balance("shop-usd").await, format!("{}.00", ITEMS - ITEMS / 100 + 1));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_takes_nothing_holds_up_nobody_else_and_is_not_cut_off() {
    const ITEMS: usize = 20_000;
    let mut settings = settings();
    settings.engine.at_work_max = 4;
    settings.engine.risk.velocity_per_minute_max = u32::MAX;
    let (server, mut c) = Server::with(settings).await;
    c.account_with("ann", "ann-usd", "USD", "100000.00").await;
    c.open("shop", "shop-usd", "USD").await;
    let endpoint = Channel::from_shared(format!("http://{}", server.addresses.payments)).expect("an address");
    let narrow = endpoint.initial_stream_window_size(500).connect().await.expect("it listens");
    let requests = (0..ITEMS)
        .map(|n| StreamPaymentsRequest { payment: Some(payment(&format!("n{n}"), "ann", "USD", "1.00", "shop-usd")) });
    let answers =
        PaymentsServiceClient::new(narrow).stream_payments(tokio_stream::iter(requests.collect::<Vec<_>>())).await;
    let mut answers = answers.expect("it streams").into_inner();
    for n in 0..5 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let aside = c.pay(payment(&format!("aside{n}"), "ann", "USD", "1.00", "shop-usd"));
        tokio::time::timeout(LIMIT, aside).await.expect("in time").expect("others go on");
    }
    let mut captured = 0;
    while let Some(answer) = tokio::time::timeout(LIMIT, answers.next()).await.expect("in time") {
        let outcome = answer.expect("the stream is not cut off").outcome.expect("an outcome");
        captured += usize::from(outcome.status() == PaymentStatus::Captured);
    }
    assert_eq!(captured, ITEMS);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_dropped_midway_leaves_each_item_with_one_outcome() {
    let (server, mut c) = Server::start().await;
    c.account_with("ann", "ann-usd", "USD", "10000.00").await;
    c.open("shop", "shop-usd", "USD").await;
    let requests = (0..1_000)
        .map(|n| StreamPaymentsRequest { payment: Some(payment(&format!("d{n}"), "ann", "USD", "1.00", "shop-usd")) });
    let answers = c.payments.stream_payments(tokio_stream::iter(requests.collect::<Vec<_>>())).await;
    let mut answers = answers.expect("it streams").into_inner();
    for _ in 0..10 {
        tokio::time::timeout(LIMIT, answers.next()).await.expect("in time").expect("more").expect("an answer");
    }
    drop(answers);
    // Sending everything again pays what was not paid, and replays the rest.
    let payments: Vec<_> = (0..1_000).map(|n| payment(&format!("d{n}"), "ann", "USD", "1.00", "shop-usd")).collect();
    let until = std::time::Instant::now() + LIMIT;
    let outcomes = loop {
        let outcomes = batch(&mut c, payments.clone()).await;
        // Who asks while an item is being given up hears that it was interrupted, and asks again.
        let interrupted = outcomes.iter().filter(|outcome| outcome.error.is_some());
        if interrupted.inspect(|outcome| assert_eq!(reason(outcome), "INTERRUPTED")).count() == 0 {
            break outcomes;
        }
        assert!(std::time::Instant::now() < until, "interrupted for ever");
    };
    assert!(outcomes.iter().all(|outcome| outcome.status() == PaymentStatus::Captured));
    assert!(outcomes.iter().filter(|outcome| outcome.replayed).count() >= 10);
    assert_eq!(c.balance("shop-usd").await, "1000.00");
    server.stop().await;
}
