//! A statement as CSV (RFC 4180), page by page as it is taken: the lines of GetStatement, newest first.

use arus_proto::{
    common::v1::Money,
    wallet::v1::{GetStatementRequest, GetStatementResponse, StatementLine, wallet_service_server::WalletService},
};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, Query, State, rejection::QueryRejection},
    http::{Response, header},
    response::IntoResponse,
    routing::get,
};
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use tonic::{Request, Status};

use super::problem::Problem;
use crate::grpc::wallet::Wallets;

/// Where it is.
pub(super) const PATH: &str = "/v1/accounts/{account_id}/statement.csv";
/// Lines read at once.
const PAGE: i32 = 1_000;
/// What each column is.
const HEADER: [&str; 10] =
    ["time", "lsn", "kind", "amount", "currency", "balance_after", "method", "operation_id", "tx_id", "reference"];

/// The period, as in GetStatement.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Period {
    #[serde(default)]
    from: String,
    #[serde(default)]
    to: String,
}

/// `/v1/accounts/{account_id}/statement.csv?from=2026-01-01&to=2026-02-01`
pub(super) fn router(wallets: &Wallets) -> Router {
    Router::new().route(PATH, get(statement)).with_state(wallets.clone())
}

/// What the OpenAPI document says of it: GetStatement without pages, answered as CSV.
pub(super) fn as_csv(mut of: Value) -> Value {
    let example = "2026-01-31T09:30:00.123456Z,4852,CREDIT,250.00,USD,250.00,CreatePayment,\
                   019c0f3a-5c1d-7e5f-8d2a-1b2c3d4e5f01,order-1001,";
    let lines = format!("{}\r\n{example}\r\n", HEADER.join(","));
    if let Some(content) = of.pointer_mut("/responses/200/content") {
        *content = json!({ "text/csv": { "schema": { "type": "string" }, "example": lines } });
    }
    if let Some(parameters) = of.pointer_mut("/parameters").and_then(Value::as_array_mut) {
        let is_here = |name: &str| ["account_id", "from", "to"].contains(&name);
        parameters.retain(|of| of.get("name").and_then(Value::as_str).is_some_and(is_here));
    }
    if let Some(of) = of.as_object_mut() {
        let summary = "The lines of a statement as CSV (RFC 4180), all pages at once, newest first.";
        of.extend([("operationId".into(), "GetStatementAsCsv".into()), ("summary".into(), summary.into())]);
    }
    of
}

async fn statement(
    State(wallets): State<Wallets>,
    Path(account_id): Path<String>,
    period: Result<Query<Period>, QueryRejection>,
) -> Response<Body> {
    let Period { from, to } = match period {
        Ok(Query(period)) => period,
        Err(rejection) => {
            let text = rejection.body_text();
            return Problem::field("query", text.trim_start_matches("Failed to deserialize query string: ")).response();
        }
    };
    let ask = GetStatementRequest { account_id, from, to, page_size: PAGE, page_token: String::new() };
    let first = match wallets.get_statement(Request::new(ask.clone())).await {
        Ok(page) => page.into_inner(),
        Err(status) => return Problem::of(&status).response(),
    };
    let name = format!("attachment; filename=\"statement-{}.csv\"", file_name(&ask.account_id));
    let pages = stream::try_unfold((wallets, ask, Some(first), true), page);
    let headers = [(header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()), (header::CONTENT_DISPOSITION, name)];
    (headers, Body::from_stream(pages)).into_response()
}

type Left = (Wallets, GetStatementRequest, Option<GetStatementResponse>, bool);

/// The next page as text, if there is one: read once the one before was taken.
async fn page((wallets, mut ask, read, is_first): Left) -> Result<Option<(Bytes, Left)>, Status> {
    let page = match read {
        Some(page) => page,
        None if ask.page_token.is_empty() => return Ok(None),
        None => {
            let next = wallets.get_statement(Request::new(ask.clone())).await;
            next.inspect_err(|status| tracing::warn!(%status, "a statement as CSV was cut off"))?.into_inner()
        }
    };
    let text = lines(&page.entries, is_first).map_err(|error| Status::internal(error.to_string()))?;
    ask.page_token = page.next_page_token;
    Ok(Some((text.into(), (wallets, ask, None, false))))
}

fn lines(lines: &[StatementLine], is_first: bool) -> anyhow::Result<Vec<u8>> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    if is_first {
        writer.write_record(HEADER)?;
    }
    let amount = |money: &Option<Money>| money.as_ref().map_or("", |money| &money.amount).to_owned();
    for line in lines {
        let currency = line.amount.as_ref().map_or("", |money| &money.currency).to_owned();
        let kind = line.kind().as_str_name().trim_start_matches("LINE_KIND_").to_owned();
        let time = line.at.as_ref().map(ToString::to_string).unwrap_or_default();
        let (lsn, [amount, balance]) = (line.lsn.to_string(), [&line.amount, &line.balance_after].map(amount));
        let texts = [&line.method, &line.operation_id, &line.tx_id, &line.reference].map(|text| unarmed(text));
        writer.write_record([time, lsn, kind, amount, currency, balance].into_iter().chain(texts))?;
    }
    Ok(writer.into_inner()?)
}

/// A client's words as a cell that no spreadsheet takes for a formula.
fn unarmed(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
    if is_formula { format!("'{text}") } else { text.to_owned() }
}

fn file_name(account: &str) -> String {
    account.chars().map(|sign| if sign.is_ascii_alphanumeric() || "-_.".contains(sign) { sign } else { '_' }).collect()
}
