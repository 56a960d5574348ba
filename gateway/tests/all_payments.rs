//! The list of all payments: everybody's, newest first, out of tail and journal, in pages that are bounded in bytes too.

mod support;

use std::collections::HashMap;

use arus_proto::payments::v1::{CreatePaymentRequest, ListPaymentsRequest, list_payments_request::Of};
use prost::Message;
use support::{Clients, LIMIT, Server, http, payment, settings};
use tonic::Code;

/// What gRPC clients take unless they are told otherwise.
const CLIENT_BYTES_MAX: usize = 4 << 20;

/// All pages of the list, from the first: keys of payments, and how many pages there were.
async fn walk(c: &mut Clients, page_size: i32) -> (Vec<String>, usize) {
    let (mut keys, mut token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let request = ListPaymentsRequest { of: None, page_size, page_token: token, ..Default::default() };
        let page = tokio::time::timeout(LIMIT, c.payments.list_payments(request)).await.expect("in time");
        let page = page.expect("answered").into_inner();
        assert!(page.encoded_len() < CLIENT_BYTES_MAX, "a page of {} bytes", page.encoded_len());
        assert!(page.payments.len() <= page_size as usize);
        keys.extend(page.payments.into_iter().map(|payment| payment.tx_id));
        pages += 1;
        token = page.next_page_token;
        if token.is_empty() {
            return (keys, pages);
        }
    }
}

async fn two_customers(c: &mut Clients) {
    c.account_with("ann", "ann-usd", "USD", "10000.00").await;
    c.account_with("bob", "bob-usd", "USD", "10000.00").await;
    c.open("shop", "shop-usd", "USD").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_payments_are_listed_newest_first_whosever_they_are() {
    let (server, mut c) = Server::start().await;
    assert_eq!(walk(&mut c, 10).await, (vec![], 1), "a fresh server has none");
    two_customers(&mut c).await;
    let mut all = Vec::new();
    for n in 0..25 {
        let (by, amount) = (if n % 2 == 0 { "ann" } else { "bob" }, if n % 5 == 4 { "1000000.00" } else { "1.00" });
        c.pay(payment(&format!("p{n}"), by, "USD", amount, "shop-usd")).await.expect("decided");
        c.fund("bob-usd", "USD", &format!("{n}.50")).await;
        all.insert(0, format!("p{n}"));
    }
    assert_eq!(walk(&mut c, 7).await, (all.clone(), 4), "declined ones too, and nothing but payments");
    // A payment that commits meanwhile is for the next reader.
    let first = ListPaymentsRequest { page_size: 20, ..Default::default() };
    let first = c.payments.list_payments(first).await.expect("answered").into_inner();
    c.pay(payment("later", "ann", "USD", "1.00", "shop-usd")).await.expect("decided");
    let second = ListPaymentsRequest { page_size: 20, page_token: first.next_page_token, ..Default::default() };
    let second = c.payments.list_payments(second.clone()).await.expect("answered").into_inner();
    let keys: Vec<_> = first.payments.iter().chain(&second.payments).map(|payment| payment.tx_id.clone()).collect();
    assert_eq!(keys, all);
    // The same by REST, and from the segments after a restart.
    let list = http::get(server.rest(), "/v1/payments?page_size=2").await.json();
    assert_eq!([&list["payments"][0]["tx_id"], &list["payments"][1]["tx_id"]], ["later", "p24"], "{list}");
    let (server, mut c) = Server::on(server.stop().await, settings()).await;
    all.insert(0, "later".into());
    assert_eq!(walk(&mut c, 9).await.0, all);
    // A token belongs to its list.
    let token = list["next_page_token"].as_str().or(list["nextPageToken"].as_str()).expect("a token").to_owned();
    let other = ListPaymentsRequest {
        of: Some(Of::CustomerId("ann".into())),
        page_size: 1,
        page_token: token,
        ..Default::default()
    };
    assert_eq!(c.payments.list_payments(other).await.expect_err("another list").code(), Code::InvalidArgument);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_large_payments_ends_early_and_goes_on() {
    let (server, mut c) = Server::start().await;
    two_customers(&mut c).await;
    let metadata: HashMap<_, _> = (0..16).map(|n| (format!("key-{n}"), "x".repeat(490))).collect();
    for n in 0..600 {
        let small = payment(&format!("p{n}"), "ann", "USD", "0.01", "shop-usd");
        c.pay(CreatePaymentRequest { metadata: metadata.clone(), ..small }).await.expect("decided");
    }
    let (keys, pages) = walk(&mut c, 1_000).await;
    assert_eq!(keys, (0..600).rev().map(|n| format!("p{n}")).collect::<Vec<_>>());
    assert!(pages > 2, "{pages} pages for 5 MB");
    let json = http::get(server.rest(), "/v1/payments?page_size=1000").await;
    assert!(json.body.len() < CLIENT_BYTES_MAX, "{} bytes of JSON", json.body.len());
    server.stop().await;
}
