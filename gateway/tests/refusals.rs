//! Bad input through real gRPC: refused by its class, all bad fields at once, and nothing moves.

mod support;

use arus_proto::{
    common::v1::{FailureCode, PaymentContext},
    payments::v1::{CreatePaymentRequest, GetPaymentRequest, get_payment_request::By},
    wallet::v1::{GetAccountRequest, ListEntriesRequest, OpenAccountRequest, ReserveRequest},
};
use prost::bytes::Bytes;
use support::{Server, money, payment};
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// The fields a refusal names; it must carry an ErrorInfo of ours.
fn bad_fields(status: &Status) -> Vec<String> {
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let details = status.get_error_details();
    assert_eq!(details.error_info().expect("an ErrorInfo").domain, "arus.dev");
    let violations = &details.bad_request().expect("a BadRequest").field_violations;
    assert!(violations.iter().all(|violation| !violation.description.is_empty()));
    violations.iter().map(|violation| violation.field.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_name_every_bad_field() {
    let (server, mut c) = Server::start().await;
    c.account_with("ann", "ann-usd", "USD", "100.00").await;
    c.open("shop", "shop-usd", "USD").await;
    let all = CreatePaymentRequest {
        tx_id: String::new(),
        customer_id: "a b".into(),
        amount: Some(money("usd", "")),
        source_account: "x".repeat(65),
        destination_account: "sys/world/USD".into(),
        capture_method: 99,
        context: Some(PaymentContext { country: "Indonesia".into(), ..Default::default() }),
        metadata: [("k".repeat(41), "v".into())].into(),
        description: "d".repeat(501),
        ..Default::default()
    };
    let mut fields = bad_fields(&c.pay(all).await.expect_err("malformed"));
    fields.sort_unstable();
    let named = [
        "amount.amount",
        "amount.currency",
        "capture_method",
        "context.country",
        "customer_id",
        "description",
        "destination_account",
        "metadata",
        "source_account",
        "tx_id",
    ];
    assert_eq!(fields, named);
    let forty = "1".repeat(40);
    for amount in ["1.005", "0", "0.00", "-1", "1e30", forty.as_str(), "1,000.00", "NaN", "10000000000000000.01"] {
        let status = c.pay(payment("bad", "ann", "USD", amount, "shop-usd")).await.expect_err(amount);
        assert_eq!(bad_fields(&status), ["amount.amount"], "{amount}");
    }
    for currency in ["", "ZZZ", "us", "XAU", "usd"] {
        let status = c.pay(payment("bad", "ann", currency, "1", "shop-usd")).await.expect_err(currency);
        assert_eq!(bad_fields(&status), ["amount.currency"], "{currency}");
    }
    let no_amount = CreatePaymentRequest { amount: None, ..payment("bad", "ann", "USD", "1", "shop-usd") };
    assert_eq!(bad_fields(&c.pay(no_amount).await.expect_err("missing")), ["amount"]);
    let same =
        CreatePaymentRequest { source_account: "ann-usd".into(), ..payment("bad", "ann", "USD", "1", "ann-usd") };
    assert_eq!(bad_fields(&c.pay(same).await.expect_err("one account")), ["destination_account"]);
    let metadata = (0..51).map(|n| (format!("key-{n}"), "v".to_owned())).collect();
    let many = CreatePaymentRequest { metadata, ..payment("bad", "ann", "USD", "1", "shop-usd") };
    assert_eq!(bad_fields(&c.pay(many).await.expect_err("too many")), ["metadata"]);
    let open = OpenAccountRequest { tx_id: "o".into(), currency: "USD".into(), ..Default::default() };
    assert_eq!(bad_fields(&c.wallet.open_account(open).await.expect_err("no owner")), ["owner_id"]);
    let reserve = ReserveRequest {
        tx_id: "r".into(),
        account_id: "ann-usd".into(),
        amount: Some(money("USD", "1.00")),
        expires_in: Some(arus_proto::Duration { seconds: 8 * 86_400, nanos: 0 }),
        ..Default::default()
    };
    assert_eq!(bad_fields(&c.wallet.reserve(reserve).await.expect_err("too long")), ["expires_in"]);
    let list = ListEntriesRequest { account_id: "ann-usd".into(), page_size: -1, page_token: "nonsense".into() };
    assert_eq!(bad_fields(&c.wallet.list_entries(list).await.expect_err("page")), ["page_size", "page_token"]);
    // However many fields are bad, the answer fits the headers of any client.
    let metadata = (0..50).map(|n| (format!("key-{n}"), "v".repeat(501))).collect();
    let long = CreatePaymentRequest { metadata, ..payment("bad", "ann", "USD", "1", "shop-usd") };
    assert_eq!(bad_fields(&c.pay(long).await.expect_err("too long")).len(), 20);
    // Nothing was recorded, so the key is still free; nothing moved and nothing is held.
    let account = c.account("ann-usd").await;
    assert_eq!((account.available, account.balance), (Some(money("USD", "100.00")), Some(money("USD", "100.00"))));
    assert!(!c.pay(payment("bad", "ann", "USD", "1", "shop-usd")).await.expect("decided").replayed);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_things_are_not_found_and_later_things_unimplemented() {
    let (server, mut c) = Server::start().await;
    c.account_with("ann", "ann-usd", "USD", "100.00").await;
    c.open("shop", "shop-usd", "USD").await;
    for request in [
        payment("n", "nobody", "USD", "1", "shop-usd"),
        payment("n", "ann", "USD", "1", "no-such-account"),
        CreatePaymentRequest { source_account: "none".into(), ..payment("n", "ann", "USD", "1", "shop-usd") },
        payment("n", "ann", "USD", "1", ""),
    ] {
        let status = c.pay(request).await.expect_err("unknown");
        assert_eq!(status.code(), Code::NotFound);
        assert_eq!(status.get_error_details().error_info().expect("an ErrorInfo").reason, "NOT_FOUND");
    }
    let unknown = GetAccountRequest { account_id: "none".into(), as_of: None };
    assert_eq!(c.wallet.get_account(unknown).await.expect_err("unknown").code(), Code::NotFound);
    let unknown = GetPaymentRequest { by: Some(By::PaymentId("018f0000-0000-7000-8000-000000000000".into())) };
    assert_eq!(c.payments.get_payment(unknown).await.expect_err("unknown").code(), Code::NotFound);
    let not_an_id = GetPaymentRequest { by: Some(By::PaymentId("pay_1".into())) };
    assert_eq!(bad_fields(&c.payments.get_payment(not_an_id).await.expect_err("malformed")), ["payment_id"]);
    let quoted = CreatePaymentRequest { quote_id: "q".into(), ..payment("m", "ann", "USD", "1", "shop-usd") };
    let status = c.pay(quoted).await.expect_err("later");
    assert_eq!(status.code(), Code::Unimplemented);
    assert!(status.message().contains("quote_id"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_decided_on_state_is_an_answer() {
    let (server, mut c) = Server::start().await;
    c.rates("r", arus_proto::fx::v1::RateSource::Ecb, &[("USD", "IDR", "16000")]).await;
    c.account_with("ann", "ann-usd", "USD", "100.00").await;
    c.open("shop", "shop-usd", "USD").await;
    let tiny = c.pay(payment("tiny", "ann", "IDR", "0.01", "shop-usd")).await.expect("an answer");
    assert_eq!(tiny.failure.expect("declined").code(), FailureCode::AmountTooSmall);
    let wrong = arus_proto::wallet::v1::DepositRequest {
        tx_id: "wrong".into(),
        account_id: "ann-usd".into(),
        amount: Some(money("EUR", "1.00")),
        ..Default::default()
    };
    let answer = c.wallet.deposit(wrong).await.expect("an answer").into_inner().operation.expect("decided");
    assert_eq!(answer.failure.expect("declined").code(), FailureCode::CurrencyMismatch);
    let again = OpenAccountRequest {
        tx_id: "again".into(),
        account_id: "ann-usd".into(),
        owner_id: "eve".into(),
        currency: "USD".into(),
        ..Default::default()
    };
    let answer = c.wallet.open_account(again).await.expect("an answer").into_inner();
    assert_eq!(answer.operation.expect("decided").failure.expect("declined").code(), FailureCode::AccountExists);
    server.stop().await;
}

/// A string that is not UTF-8 cannot be sent by a typed client: the raw message goes over HTTP/2 by hand.
#[tokio::test(flavor = "multi_thread")]
async fn invalid_utf8_and_oversized_messages_are_refused() {
    let (server, c) = Server::start().await;
    let endpoint = format!("http://{}", server.addresses.payments);
    let channel =
        tonic::transport::Channel::from_shared(endpoint).expect("an address").connect().await.expect("it listens");
    let mut raw = tonic::client::Grpc::new(channel);
    raw.ready().await.expect("it is ready");
    let path = "/payments.v1.PaymentsService/CreatePayment".parse().expect("a path");
    // Field 1 (tx_id), two bytes that are no UTF-8.
    let message = RawMessage(Bytes::from_static(&[0x0a, 0x02, 0xff, 0xfe]));
    let answer = raw.unary(tonic::Request::new(message), path, RawCodec).await;
    assert_eq!(bad_fields(&answer.expect_err("malformed")), ["tx_id"]);
    let mut payments = c.payments.clone();
    let huge = CreatePaymentRequest { description: "d".repeat(2 << 20), ..payment("h", "ann", "USD", "1", "") };
    let status = payments.create_payment(huge).await.expect_err("too large");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.get_details_error_info().expect("details").reason, "MESSAGE_TOO_LARGE");
    server.stop().await;
}

#[derive(Debug)]
struct RawMessage(Bytes);
struct RawCodec;

impl tonic::codec::Codec for RawCodec {
    type Encode = RawMessage;
    type Decode = RawMessage;
    type Encoder = Self;
    type Decoder = Self;
    fn encoder(&mut self) -> Self {
        Self
    }
    fn decoder(&mut self) -> Self {
        Self
    }
}

impl tonic::codec::Encoder for RawCodec {
    type Item = RawMessage;
    type Error = Status;
    fn encode(&mut self, item: RawMessage, buffer: &mut tonic::codec::EncodeBuf<'_>) -> Result<(), Status> {
        prost::bytes::BufMut::put(buffer, item.0);
        Ok(())
    }
}

impl tonic::codec::Decoder for RawCodec {
    type Item = RawMessage;
    type Error = Status;
    fn decode(&mut self, buffer: &mut tonic::codec::DecodeBuf<'_>) -> Result<Option<RawMessage>, Status> {
        let length = prost::bytes::Buf::remaining(buffer);
        Ok(Some(RawMessage(prost::bytes::Buf::copy_to_bytes(buffer, length))))
    }
}
