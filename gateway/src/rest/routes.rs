//! The JSON twin of every RPC: one line each. Path parameters are fields of the request.

use arus_proto::{
    fx::v1::fx_service_server::FxService, payments::v1::payments_service_server::PaymentsService,
    risk::v1::risk_service_server::RiskService, wallet::v1::wallet_service_server::WalletService,
};
use axum::http::Method as Verb;

use super::call::Route;
use crate::grpc::Services;

/// All routes, in the order of the documentation.
pub(super) fn routes(s: &Services) -> Vec<Route> {
    let (payments, wallet, fx, risk) = (&s.payments, &s.wallet, &s.fx, &s.risk);
    let (get, post, patch) = (Verb::GET, Verb::POST, Verb::PATCH);
    vec![
        Route::new(&post, "/v1/payments", "CreatePayment", payments, |s, r| s.create_payment(r)),
        Route::new(&post, "/v1/payments:batch", "BatchCreatePayments", payments, |s, r| s.batch_create_payments(r)),
        Route::new(&get, "/v1/payments", "ListPayments", payments, |s, r| s.list_payments(r)),
        Route::new(&get, "/v1/payments/{payment_id}", "GetPayment", payments, |s, r| s.get_payment(r)),
        Route::new(&post, "/v1/payments/{payment_id}:capture", "CapturePayment", payments, |s, r| s.capture_payment(r)),
        Route::new(&patch, "/v1/payments/{payment_id}", "UpdatePayment", payments, |s, r| s.update_payment(r)),
        Route::new(&post, "/v1/payments/{payment_id}:void", "VoidPayment", payments, |s, r| s.void_payment(r)),
        Route::new(&post, "/v1/payments/{payment_id}:refund", "RefundPayment", payments, |s, r| s.refund_payment(r)),
        Route::new(&get, "/v1/payments/{payment_id}/refunds", "ListRefunds", payments, |s, r| s.list_refunds(r)),
        Route::new(&get, "/v1/refunds/{refund_id}", "GetRefund", payments, |s, r| s.get_refund(r)),
        Route::new(&get, "/v1/payments/by-tx-id/{tx_id}", "GetPayment", payments, |s, r| s.get_payment(r)),
        Route::new(&post, "/v1/accounts", "OpenAccount", wallet, |s, r| s.open_account(r)),
        Route::new(&get, "/v1/accounts", "ListAccounts", wallet, |s, r| s.list_accounts(r)),
        Route::new(&get, "/v1/accounts/{account_id}", "GetAccount", wallet, |s, r| s.get_account(r)),
        Route::new(&patch, "/v1/accounts/{account_id}", "UpdateAccount", wallet, |s, r| s.update_account(r)),
        Route::new(&get, "/v1/accounts/{account_id}/entries", "ListEntries", wallet, |s, r| s.list_entries(r)),
        Route::new(&post, "/v1/deposits", "Deposit", wallet, |s, r| s.deposit(r)),
        Route::new(&post, "/v1/withdrawals", "Withdraw", wallet, |s, r| s.withdraw(r)),
        Route::new(&post, "/v1/reservations", "Reserve", wallet, |s, r| s.reserve(r)),
        Route::new(&get, "/v1/reservations/{reservation_id}", "GetReservation", wallet, |s, r| s.get_reservation(r)),
        Route::new(&get, "/v1/accounts/{account_id}/reservations", "ListReservations", wallet, |s, r| {
            s.list_reservations(r)
        }),
        Route::new(&post, "/v1/reservations/{reservation_id}:capture", "Capture", wallet, |s, r| s.capture(r)),
        Route::new(&post, "/v1/reservations/{reservation_id}:release", "Release", wallet, |s, r| s.release(r)),
        Route::new(&get, "/v1/accounts/{account_id}/statement", "GetStatement", wallet, |s, r| s.get_statement(r)),
        Route::new(&post, "/v1/transfers", "CreateTransfer", wallet, |s, r| s.create_transfer(r)),
        Route::new(&get, "/v1/transfers/{transfer_id}", "GetTransfer", wallet, |s, r| s.get_transfer(r)),
        Route::new(&post, "/v1/transfers/{transfer_id}:post", "PostTransfer", wallet, |s, r| s.post_transfer(r)),
        Route::new(&post, "/v1/transfers/{transfer_id}:void", "VoidTransfer", wallet, |s, r| s.void_transfer(r)),
        Route::new(&get, "/v1/operations/{operation_id}", "GetOperation", wallet, |s, r| s.get_operation(r)),
        Route::new(&post, "/v1/operations/{operation_id}:reverse", "ReverseOperation", wallet, |s, r| {
            s.reverse_operation(r)
        }),
        Route::new(&get, "/v1/fx/rates", "ListRates", fx, |s, r| s.list_rates(r)),
        Route::new(&post, "/v1/fx/rates", "PublishRates", fx, |s, r| s.publish_rates(r)),
        Route::new(&post, "/v1/fx/rates:remove", "RemoveRates", fx, |s, r| s.remove_rates(r)),
        Route::new(&get, "/v1/fx/rates/{base}/{quote}", "GetRate", fx, |s, r| s.get_rate(r)),
        Route::new(&post, "/v1/fx/convert", "Convert", fx, |s, r| s.convert(r)),
        Route::new(&post, "/v1/risk/score", "Score", risk, |s, r| s.score(r)),
    ]
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Arc, time::Duration};

    use arus_engine::{config::EngineConfig, gate::caller::Answering, runtime::threads::Running};
    use prost::Message;
    use prost_types::FileDescriptorSet;
    use serde_json::{Map, Value};

    use super::*;
    use crate::rest::openapi::EXAMPLES;

    /// RPCs that this build only has a name for.
    const NOT_YET: [(&str, &str); 1] = [("fx.v1", "CreateQuote")];

    fn all() -> Vec<Route> {
        let folder = tempfile::tempdir().expect("a folder");
        let config = EngineConfig { arbiters: 1, ..EngineConfig::default() };
        let on_fatal = Arc::new(|why: &str| assert!(why.is_empty(), "{why}"));
        let started = Running::start(&folder.path().join("data"), config, Answering::Here, on_fatal);
        let (running, _) = started.expect("it starts");
        let routes = routes(&Services::new(running.engine()));
        running.shut_down(Duration::from_secs(60));
        routes
    }

    #[test]
    fn every_rpc_of_one_question_has_a_route_and_every_example_is_what_it_is_an_example_of() {
        let routes = all();
        let set = FileDescriptorSet::decode(arus_proto::DESCRIPTORS).expect("descriptors");
        let files = set.file.iter().flat_map(|file| file.service.iter().map(move |service| (file, service)));
        let methods = files.flat_map(|(file, service)| service.method.iter().map(move |method| (file, method)));
        let unary = methods.filter(|(_, method)| !method.client_streaming() && !method.server_streaming());
        let rpcs = unary.map(|(file, method)| (file.package(), method.name()));
        let rpcs: BTreeSet<_> = rpcs.filter(|rpc| !NOT_YET.contains(rpc)).collect();
        let package =
            |route: &Route| route.request.rsplit_once('.').map_or(String::new(), |(package, _)| package.into());
        let routed: Vec<(String, &str)> = routes.iter().map(|route| (package(route), route.rpc)).collect();
        let routed: BTreeSet<_> = routed.iter().map(|(package, rpc)| (package.as_str(), *rpc)).collect();
        assert_eq!(routed, rpcs);

        let mut examples: Map<String, Value> = serde_json::from_str(EXAMPLES).expect("JSON");
        let given = examples.clone();
        for route in &routes {
            for (name, rewritten) in [&route.request, &route.response].into_iter().zip(route.rewritten) {
                let Some(example) = given.get(name) else { continue };
                assert_eq!(&rewritten(example).expect("it is one"), example, "{name} is written otherwise");
                examples.remove(name);
            }
            assert!(given.contains_key(&route.response), "{} has no example", route.response);
        }
        assert!(examples.is_empty(), "nothing is called {:?}", examples.keys());
    }
}
