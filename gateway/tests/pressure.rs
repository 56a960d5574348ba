//! Under pressure: overload is refused with a retryable status, a caller that leaves changes nothing, a second process
//! is kept out, idle accounts leave memory without loss.

mod support;

use std::time::Duration;

use arus_proto::payments::v1::{GetPaymentRequest, PaymentStatus, get_payment_request::By};
use support::{LIMIT, Server, money, payment, settings};
use tonic::Code;
use tonic_types::StatusExt;

#[tokio::test(flavor = "multi_thread")]
async fn overload_is_refused_and_nothing_is_lost() {
    let mut settings = settings();
    settings.engine.in_flight_max = 4;
    let (server, mut c) = Server::with(settings).await;
    c.account_with("ann", "ann-usd", "USD", "1000.00").await;
    c.open("shop", "shop-usd", "USD").await;
    let calls: Vec<_> = (0..400)
        .map(|n| {
            let mut c = c.clone();
            tokio::spawn(async move { c.pay(payment(&format!("o{n}"), "ann", "USD", "1.00", "shop-usd")).await })
        })
        .collect();
    let (mut captured, mut refused) = (0, Vec::new());
    for (n, call) in calls.into_iter().enumerate() {
        match tokio::time::timeout(LIMIT, call).await.expect("in time").expect("no panic") {
            Ok(paid) => captured += i32::from(paid.status() == PaymentStatus::Captured),
            Err(status) => {
                assert_eq!(status.code(), Code::ResourceExhausted);
                let details = status.get_error_details();
                assert_eq!(details.error_info().expect("an ErrorInfo").reason, "TOO_MANY_IN_FLIGHT");
                assert!(details.retry_info().expect("a RetryInfo").retry_delay.is_some());
                refused.push(n);
            }
        }
    }
    assert!(!refused.is_empty(), "400 at once do not fit 4");
    assert_eq!(c.balance("shop-usd").await, format!("{captured}.00"));
    // What was refused did not happen; the same keys work now.
    for n in refused {
        assert!(!c.pay(payment(&format!("o{n}"), "ann", "USD", "1.00", "shop-usd")).await.expect("decided").replayed);
    }
    assert_eq!(c.balance("shop-usd").await, "400.00");
    assert_eq!(c.account("ann-usd").await.pending_debits, Some(money("USD", "0.00")));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_leaves_midway_leaves_exactly_one_outcome() {
    let (server, mut c) = Server::start().await;
    c.account_with("ann", "ann-usd", "USD", "1000.00").await;
    c.open("shop", "shop-usd", "USD").await;
    for n in 0..200_u64 {
        let mut c = c.clone();
        let call = async move { c.pay(payment(&format!("left{n}"), "ann", "USD", "1.00", "shop-usd")).await };
        // From before the request is out to after the answer is back.
        let _ = tokio::time::timeout(Duration::from_micros(n * 5), call).await;
    }
    let mut done = 0;
    for n in 0..200 {
        let paid = c.pay_until_decided(payment(&format!("left{n}"), "ann", "USD", "1.00", "shop-usd")).await;
        assert_eq!(paid.status(), PaymentStatus::Captured);
        done += 1;
    }
    assert_eq!(c.balance("shop-usd").await, format!("{done}.00"));
    assert_eq!(c.account("ann-usd").await.pending_debits, Some(money("USD", "0.00")));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passed_deadline_is_unknown_until_the_key_is_repeated() {
    let (server, mut c) = Server::start().await;
    c.account_with("ann", "ann-usd", "USD", "10.00").await;
    c.open("shop", "shop-usd", "USD").await;
    let mut request = tonic::Request::new(payment("late", "ann", "USD", "1.00", "shop-usd"));
    request.metadata_mut().insert("grpc-timeout", "1u".parse().expect("ascii"));
    let status = c.payments.create_payment(request).await.expect_err("too late");
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
    let settled = c.pay_until_decided(payment("late", "ann", "USD", "1.00", "shop-usd")).await;
    assert_eq!(settled.status(), PaymentStatus::Captured);
    assert_eq!(c.balance("shop-usd").await, "1.00");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_accounts_leave_memory_without_loss() {
    let mut settings = settings();
    settings.engine.resident_accounts_max = 20;
    let (server, mut c) = Server::with(settings).await;
    c.open("shop", "shop-usd", "USD").await;
    for n in 0..100 {
        c.account_with(&format!("cust{n}"), &format!("acct{n}"), "USD", "10.00").await;
    }
    let engine = server.running.as_ref().expect("it runs").engine().clone();
    for round in 0..4 {
        let calls: Vec<_> = (0..100)
            .map(|n| {
                let mut c = c.clone();
                let request = payment(&format!("r{round}-{n}"), &format!("cust{n}"), "USD", "1.00", "shop-usd");
                tokio::spawn(async move { c.pay(request).await.expect("decided").status() })
            })
            .collect();
        for call in calls {
            assert_eq!(call.await.expect("no panic"), PaymentStatus::Captured);
        }
    }
    assert_eq!(c.balance("shop-usd").await, "400.00");
    for n in 0..100 {
        assert_eq!(c.balance(&format!("acct{n}")).await, "6.00");
    }
    let until = std::time::Instant::now() + LIMIT;
    while engine.resident_accounts() > 25 {
        assert!(std::time::Instant::now() < until, "{} are resident", engine.resident_accounts());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_is_kept_out_and_draining_is_unavailable() {
    let (server, mut c) = Server::start().await;
    c.account_with("ann", "ann-usd", "USD", "10.00").await;
    let second = arus_engine::runtime::threads::Running::start(
        server.dir.path(),
        settings().engine,
        arus_engine::gate::caller::Answering::Here,
        std::sync::Arc::new(|_: &str| {}),
    );
    let said = second.err().expect("it is refused").to_string();
    assert!(said.contains("in use by another arus process"), "{said}");
    server.running.as_ref().expect("it runs").engine().close();
    let status = c.pay(payment("d", "ann", "USD", "1.00", "ann-usd")).await.expect_err("draining");
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.get_error_details().error_info().expect("an ErrorInfo").reason, "DRAINING");
    let known = GetPaymentRequest { by: Some(By::TxId("none".into())) };
    assert_eq!(c.payments.get_payment(known).await.expect_err("reads go on").code(), Code::NotFound);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_prometheus_text_and_count_what_happened() {
    let (server, mut c) = Server::start().await;
    c.account_with("ann", "ann-usd", "USD", "10.00").await;
    c.open("shop", "shop-usd", "USD").await;
    c.pay(payment("m", "ann", "USD", "1.00", "shop-usd")).await.expect("decided");
    let text = scrape(server.addresses.metrics[0]).await;
    assert!(text.contains("arus_payments_total{status=\"CAPTURED\"} 1\n"), "{text}");
    assert!(text.contains("arus_rpc_requests_total{method=\"CreatePayment\",code=\"OK\"} 1\n"), "{text}");
    assert!(text.contains("arus_rpc_seconds_bucket{le=\"+Inf\",method=\"CreatePayment\"} 1\n"), "{text}");
    assert!(text.contains("arus_actor_mailbox_depth{kind=\"payment\"}"), "{text}");
    assert!(text.ends_with("# EOF\n"));
    let wallet = scrape(server.addresses.metrics[2]).await;
    assert!(wallet.contains("arus_resident_accounts 3\n"), "two and the world: {wallet}");
    assert!(!wallet.contains("arus_payments_total"), "no series twice");
    server.stop().await;
}

async fn scrape(address: std::net::SocketAddr) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("it listens");
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("it is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it is read");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    // No chunking to undo: the body has a length.
    assert!(head.to_lowercase().contains("content-length"), "{head}");
    body.to_owned()
}

/// A connection beyond the bound is closed at once; one that closes makes room.
#[tokio::test(flavor = "multi_thread")]
async fn connections_are_bounded() {
    let mut settings = settings();
    settings.grpc.connections_max = 1;
    let (server, mut c) = Server::with(settings).await;
    c.account_with("ann", "ann-usd", "USD", "10.00").await;
    let endpoint = format!("http://{}", server.addresses.wallet);
    let second = || tonic::transport::Channel::from_shared(endpoint.clone()).expect("an address").connect_lazy();
    let ask = arus_proto::wallet::v1::GetAccountRequest { account_id: "ann-usd".into(), as_of: None };
    let mut refused = arus_proto::wallet::v1::wallet_service_client::WalletServiceClient::new(second());
    let read = tokio::time::timeout(LIMIT, refused.get_account(ask.clone())).await.expect("at once");
    read.expect_err("there is room for one");
    assert_eq!(c.balance("ann-usd").await, "10.00", "the first is unharmed");
    drop((c, refused));
    let until = std::time::Instant::now() + LIMIT;
    loop {
        let mut third = arus_proto::wallet::v1::wallet_service_client::WalletServiceClient::new(second());
        match tokio::time::timeout(LIMIT, third.get_account(ask.clone())).await.expect("in time") {
            Ok(_) => break,
            Err(status) => assert!(std::time::Instant::now() < until, "no room was made: {status}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    server.stop().await;
}

/// One read beyond the bound is refused with a retryable status; payments have bounds of their own.
#[tokio::test(flavor = "multi_thread")]
async fn reads_are_bounded() {
    let mut settings = settings();
    settings.engine.reads_max = 1;
    let (server, mut c) = Server::with(settings).await;
    c.account_with("ann", "ann-usd", "USD", "1000.00").await;
    c.open("shop", "shop-usd", "USD").await;
    let reads: Vec<_> = (0..200)
        .map(|_| {
            let mut c = c.clone();
            tokio::spawn(async move {
                let ask =
                    arus_proto::wallet::v1::ListEntriesRequest { account_id: "ann-usd".into(), ..Default::default() };
                c.wallet.list_entries(ask).await
            })
        })
        .collect();
    for n in 0..20 {
        c.pay(payment(&format!("p{n}"), "ann", "USD", "1.00", "shop-usd")).await.expect("payments go on");
    }
    let (mut read, mut refused) = (0, 0);
    for answer in reads {
        match tokio::time::timeout(LIMIT, answer).await.expect("in time").expect("no panic") {
            Ok(_) => read += 1,
            Err(status) => {
                assert_eq!(status.code(), Code::ResourceExhausted);
                let details = status.get_error_details();
                assert_eq!(details.error_info().expect("a reason").reason, "TOO_MANY_READS");
                assert!(details.retry_info().is_some());
                refused += 1;
            }
        }
    }
    assert!(refused > 0, "{read} were read, none refused");
    server.stop().await;
}
