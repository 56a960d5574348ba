//! Statements and balances as of a time, between the wire and the domain.

use std::ops::Range;

use arus_engine::{
    AsOf, BalanceAsOf, Refusal, Statement,
    ledger::time::Timestamp,
    money::{AccountId, Lsn},
};
use arus_proto::wallet::v1 as wire;

use super::{Fields, PageAsk, micros, money, timestamp};

/// Whose statement to read, over which period, how much, and from where.
pub fn get(
    request: &wire::GetStatementRequest,
    now: Timestamp,
) -> Result<(AccountId, Range<Timestamp>, PageAsk), Refusal> {
    let mut fields = Fields::default();
    let account = fields.take("account_id", &request.account_id, AccountId::parse_any(&request.account_id));
    let from = if request.from.is_empty() {
        fields.missing("from");
        None
    } else {
        moment(&mut fields, "from", &request.from)
    };
    let to = if request.to.is_empty() { Some(now) } else { moment(&mut fields, "to", &request.to) };
    if let (Some(from), Some(to)) = (from, to)
        && from >= to
    {
        fields.bad("from", &request.from, "must be before to");
    }
    let list = format!("statement of {} {} {}", request.account_id, request.from, request.to);
    let page = fields.page(request.page_size, &request.page_token, list);
    match (account, from, to, page) {
        (Some(account), Some(from), Some(to), Some(page)) if fields.is_good() => Ok((account, from..to, page)),
        _ => Err(fields.refuse()),
    }
}

/// A date, which is its midnight in UTC, or a time (RFC 3339).
fn moment(fields: &mut Fields, field: &str, text: &str) -> Option<Timestamp> {
    let is_date = text.len() == "2026-01-31".len();
    let midnight = is_date.then(|| format!("{text}T00:00:00Z"));
    let at = arus_proto::Timestamp::parse(midnight.as_deref().unwrap_or(text)).and_then(micros);
    let rule = "must be a date such as 2026-01-31, or a time such as 2026-01-31T09:30:00Z, from 1970 on";
    fields.take(field, text, at.ok_or(rule))
}

/// A page of a statement for the wire.
pub fn statement(
    account: &AccountId,
    period: &Range<Timestamp>,
    statement: Statement<wire::StatementLine>,
    ask: &PageAsk,
) -> wire::GetStatementResponse {
    wire::GetStatementResponse {
        account_id: account.to_string(),
        from: Some(timestamp(period.start)),
        to: Some(timestamp(period.end)),
        opening_balance: Some(money(statement.opening)),
        closing_balance: Some(money(statement.closing)),
        total_credits: statement.totals.map(|totals| money(totals.credits)),
        total_debits: statement.totals.map(|totals| money(totals.debits)),
        entries: statement.page.items,
        next_page_token: ask.token(statement.page.next_below),
    }
}

/// As of when an account is read.
pub fn as_of(request: &wire::GetAccountRequest) -> Result<Option<AsOf>, Refusal> {
    use wire::get_account_request::AsOf as Wire;
    Ok(match &request.as_of {
        None => None,
        Some(Wire::AsOfLsn(lsn)) => Some(AsOf::Lsn(Lsn(*lsn))),
        Some(Wire::AsOfTime(at)) => {
            let mut fields = Fields::default();
            let rule = "must be a time from 1970 on, such as 2026-01-31T09:30:00Z";
            let time = fields.take("as_of_time", &at.to_string(), micros(*at).ok_or(rule));
            Some(AsOf::Time(time.ok_or_else(|| fields.refuse())?))
        }
    })
}

/// What an account held then, for the wire.
pub fn balance_as_of(of: BalanceAsOf) -> wire::BalanceAsOf {
    wire::BalanceAsOf { balance: Some(money(of.balance)), authorized: Some(money(of.authorized)), lsn: of.lsn.0 }
}
