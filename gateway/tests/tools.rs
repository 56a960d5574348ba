//! What stands around the services: health, reflection, `verify` and `inspect`.
#![allow(clippy::panic, reason = "a test fails by panicking")]

mod support;

use arus_proto::payments::v1::PaymentStatus;
use support::{LIMIT, Server, payment};
use tonic::transport::Channel;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::{v1, v1alpha};

#[tokio::test(flavor = "multi_thread")]
async fn every_port_has_health_and_both_reflections() {
    let (server, _) = Server::start().await;
    let a = &server.addresses;
    for (address, service) in [
        (a.payments, "payments.v1.PaymentsService"),
        (a.fx, "fx.v1.FxService"),
        (a.wallet, "wallet.v1.WalletService"),
        (a.risk, "risk.v1.RiskService"),
    ] {
        let channel = Channel::from_shared(format!("http://{address}"))
            .expect("an address")
            .timeout(LIMIT)
            .connect()
            .await
            .expect("up");
        for name in ["", service] {
            let request = HealthCheckRequest { service: name.into() };
            let answer = HealthClient::new(channel.clone()).check(request).await.expect("known").into_inner();
            assert_eq!(answer.status(), ServingStatus::Serving, "{name}");
        }
        let list = v1::ServerReflectionRequest {
            host: String::new(),
            message_request: Some(v1::server_reflection_request::MessageRequest::ListServices(String::new())),
        };
        let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel.clone());
        let mut answers =
            client.server_reflection_info(tokio_stream::once(list)).await.expect("it reflects").into_inner();
        let answer = answers.message().await.expect("an answer").expect("one");
        let Some(v1::server_reflection_response::MessageResponse::ListServicesResponse(list)) = answer.message_response
        else {
            panic!("no list");
        };
        let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
        assert!(names.contains(&service.to_owned()) && names.len() == 2, "{names:?}");
        let symbol = v1alpha::ServerReflectionRequest {
            host: String::new(),
            message_request: Some(v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(
                service.into(),
            )),
        };
        let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
        let mut answers =
            client.server_reflection_info(tokio_stream::once(symbol)).await.expect("it reflects").into_inner();
        let answer = answers.message().await.expect("an answer").expect("one");
        assert!(
            matches!(
                answer.message_response,
                Some(v1alpha::server_reflection_response::MessageResponse::FileDescriptorResponse(_))
            ),
            "{answer:?}"
        );
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_reflection_does_not_know_is_an_answer_and_the_stream_goes_on() {
    use v1::{
        server_reflection_client::ServerReflectionClient, server_reflection_request::MessageRequest,
        server_reflection_response::MessageResponse,
    };
    let (server, _) = Server::start().await;
    let url = format!("http://{}", server.addresses.payments);
    let channel = Channel::from_shared(url).expect("an address").timeout(LIMIT).connect().await.expect("up");
    let asked = [
        MessageRequest::FileContainingSymbol("payments.v1.Nothing".into()),
        MessageRequest::FileByFilename("nothing.proto".into()),
        MessageRequest::AllExtensionNumbersOfType("payments.v1.Payment".into()),
        MessageRequest::FileContainingSymbol("payments.v1.Payment.fx".into()),
        MessageRequest::FileContainingSymbol("payments.v1.PAYMENT_STATUS_FAILED".into()),
        MessageRequest::FileByFilename("google/protobuf/timestamp.proto".into()),
        MessageRequest::FileContainingSymbol("google.rpc.ErrorInfo".into()),
    ];
    let asked = asked.map(|one| v1::ServerReflectionRequest { host: "here".into(), message_request: Some(one) });
    let nothing = v1::ServerReflectionRequest::default();
    let requests = tokio_stream::iter(asked.into_iter().chain([nothing]));
    let answers = ServerReflectionClient::new(channel).server_reflection_info(requests).await.expect("it reflects");
    let (mut answers, mut told) = (answers.into_inner(), Vec::new());
    while let Some(answer) = answers.message().await.expect("no end before all are answered") {
        told.push(match answer.message_response {
            Some(MessageResponse::ErrorResponse(error)) => error.error_message,
            Some(MessageResponse::FileDescriptorResponse(file)) => format!("{} file", file.file_descriptor_proto.len()),
            Some(MessageResponse::AllExtensionNumbersResponse(of)) => format!("{} has none", of.base_type_name),
            other => panic!("{other:?}"),
        });
    }
    let unknown = ["there is no symbol \"payments.v1.Nothing\" here", "there is no file \"nothing.proto\" here"];
    let known = ["payments.v1.Payment has none", "1 file", "1 file", "1 file", "1 file"];
    let last = ["message_request is required, such as list_services"];
    assert_eq!(told, [&unknown[..], &known[..], &last[..]].concat());
    server.stop().await;
}

/// Every file below a folder, with its bytes.
fn every_file(folder: &std::path::Path) -> std::collections::BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut files = std::collections::BTreeMap::new();
    for item in std::fs::read_dir(folder).expect("a folder") {
        let path = item.expect("readable").path();
        if path.is_dir() {
            files.extend(every_file(&path));
        } else {
            files.insert(path.clone(), std::fs::read(path).expect("readable"));
        }
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_and_inspect_read_beside_a_server_and_find_damage_without_one() {
    let (server, mut c) = Server::start().await;
    c.account_with("ann", "ann-usd", "USD", "100.00").await;
    c.open("shop", "shop-usd", "USD").await;
    let paid = c.pay(payment("p", "ann", "USD", "12.34", "shop-usd")).await.expect("decided");
    assert_eq!(paid.status(), PaymentStatus::Captured);
    support::assert_verified(server.dir.path());
    let beside = arus::inspect::run(server.dir.path(), &paid.payment_id).expect("it is found").text();
    assert!(beside.contains("a running server holds it"), "{beside}");
    let dir = server.stop().await;
    let before = every_file(dir.path());
    support::assert_verified(dir.path());
    let by_id = arus::inspect::run(dir.path(), &paid.payment_id).expect("it is found");
    assert_eq!(by_id, arus::inspect::run(dir.path(), &paid.lsn.to_string()).expect("it is found"));
    let by_id = by_id.text();
    for part in
        ["merkle_root", "shop-usd  CREDIT  12.34 USD", "key_lsn", "object_lsn", "history", "ann-usd      0  DEBIT"]
    {
        assert!(by_id.contains(part), "{part} is missing in {by_id}");
    }
    for unknown in ["999999", "018f0000-0000-7000-8000-000000000000", "nonsense"] {
        assert!(arus::inspect::run(dir.path(), unknown).is_err(), "{unknown}");
    }
    assert_eq!(every_file(dir.path()), before, "tools that read write nothing");
    // What is no data directory stays none.
    let empty = tempfile::TempDir::new().expect("a temp dir");
    assert!(arus::verify::run(empty.path()).is_err());
    assert_eq!(std::fs::read_dir(empty.path()).expect("a folder").count(), 0);
    // One flipped byte in the first block.
    let segment = dir.path().join("journal/00000001.seg");
    let mut bytes = std::fs::read(&segment).expect("it is there");
    bytes[4096 + 150] ^= 1;
    std::fs::write(&segment, bytes).expect("it is ours");
    let checks = arus::verify::run(dir.path()).expect("it runs");
    let chain = checks.iter().find(|check| check.name == "journal chain").expect("it is checked");
    let wrong = chain.outcome.as_ref().expect_err("it is damaged");
    assert!(wrong.contains("00000001.seg offset 4096"), "{wrong}");
    let start = arus_engine::runtime::threads::Running::start(
        dir.path(),
        support::settings().engine,
        arus_engine::gate::caller::Answering::Here,
        std::sync::Arc::new(|_: &str| {}),
    );
    let said = start.err().expect("it is refused").to_string();
    assert!(said.contains("00000001.seg offset 4096"), "{said}");
}
