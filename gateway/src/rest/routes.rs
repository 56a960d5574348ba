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
        Route::new(&get, "/v1/payments/by-tx-id/{tx_id}", "GetPayment", payments, |s, r| s.get_payment(r)),
        Route::new(&post, "/v1/accounts", "OpenAccount", wallet, |s, r| s.open_account(r)),
        Route::new(&get, "/v1/accounts", "ListAccounts", wallet, |s, r| s.list_accounts(r)),
        Route::new(&get, "/v1/accounts/{account_id}", "GetAccount", wallet, |s, r| s.get_account(r)),
        Route::new(&patch, "/v1/accounts/{account_id}", "UpdateAccount", wallet, |s, r| s.update_account(r)),
        Route::new(&get, "/v1/accounts/{account_id}/entries", "ListEntries", wallet, |s, r| s.list_entries(r)),
        Route::new(&post, "/v1/deposits", "Deposit", wallet, |s, r| s.deposit(r)),
        Route::new(&post, "/v1/withdrawals", "Withdraw", wallet, |s, r| s.withdraw(r)),
        Route::new(&post, "/v1/reservations", "Reserve", wallet, |s, r| s.reserve(r)),
        Route::new(&post, "/v1/reservations/{reservation_id}:capture", "Capture", wallet, |s, r| s.capture(r)),
        Route::new(&post, "/v1/reservations/{reservation_id}:release", "Release", wallet, |s, r| s.release(r)),
        Route::new(&get, "/v1/fx/rates", "ListRates", fx, |s, r| s.list_rates(r)),
        Route::new(&post, "/v1/fx/rates", "PublishRates", fx, |s, r| s.publish_rates(r)),
        Route::new(&post, "/v1/fx/rates:remove", "RemoveRates", fx, |s, r| s.remove_rates(r)),
        Route::new(&get, "/v1/fx/rates/{base}/{quote}", "GetRate", fx, |s, r| s.get_rate(r)),
        Route::new(&post, "/v1/fx/convert", "Convert", fx, |s, r| s.convert(r)),
        Route::new(&post, "/v1/risk/score", "Score", risk, |s, r| s.score(r)),
    ]
}
