//! Statements and balances as of a time, between the wire and the domain.

use std::ops::Range;

use arus_engine::{
    AsOf, BalanceAsOf, Refusal, Statement,
    ledger::time::Timestamp,
    money::{AccountId, Lsn},
};
use arus_proto::wallet::v1 as wire;

use super::{Fields, PageAsk, first_micros, micros, money, timestamp};

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
    let (token, until) = read_token(&request.page_token);
    // Pages without a time are all of the time of the first.
    let to = if request.to.is_empty() { Some(until.unwrap_or(now)) } else { moment(&mut fields, "to", &request.to) };
    if to.is_some_and(|to| to > now) {
        fields.bad("to", &request.to, AHEAD);
    }
    match (from, to) {
        (Some(from), _) if from > now => fields.bad("from", &request.from, AHEAD),
        (Some(from), Some(to)) if from >= to => fields.bad("from", &request.from, "must be before to"),
        _ => {}
    }
    let list = format!("statement of {} {from:?} {to:?}", request.account_id);
    let page = fields.page(request.page_size, token, list);
    match (account, from, to, page) {
        (Some(account), Some(from), Some(to), Some(page)) if fields.is_good() => Ok((account, from..to, page)),
        _ => Err(fields.refuse()),
    }
}

const AHEAD: &str = "lies ahead; give a time up to now";

/// A page token with the end of its period.
fn read_token(token: &str) -> (&str, Option<Timestamp>) {
    match token.split_once('t') {
        Some((token, until)) => (token, u64::from_str_radix(until, 16).ok().map(Timestamp)),
        None => (token, None),
    }
}

fn token(of_page: String, until: Timestamp) -> String {
    if of_page.is_empty() { of_page } else { format!("{of_page}t{:x}", until.0) }
}

/// A date, which is its midnight in UTC, or a time (RFC 3339).
fn moment(fields: &mut Fields, field: &str, text: &str) -> Option<Timestamp> {
    let is_date = text.len() == "2026-01-31".len();
    let midnight = is_date.then(|| format!("{text}T00:00:00Z"));
    let at = arus_proto::Timestamp::parse(midnight.as_deref().unwrap_or(text)).and_then(first_micros);
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
        next_page_token: token(ask.token(statement.page.next_below), period.end),
    }
}

/// As of when an account is read.
pub fn as_of(request: &wire::GetAccountRequest, now: Timestamp) -> Result<Option<AsOf>, Refusal> {
    use wire::get_account_request::AsOf as Wire;
    Ok(match &request.as_of {
        None => None,
        Some(Wire::AsOfLsn(lsn)) => Some(AsOf::Lsn(Lsn(*lsn))),
        Some(Wire::AsOfTime(at)) => {
            let mut fields = Fields::default();
            let rule = "must be a time from 1970 on, such as 2026-01-31T09:30:00Z";
            let time = fields.take("as_of_time", &at.to_string(), micros(*at).ok_or(rule));
            if time.is_some_and(|time| time > now) {
                fields.bad("as_of_time", &at.to_string(), AHEAD);
            }
            Some(AsOf::Time(time.filter(|_| fields.is_good()).ok_or_else(|| fields.refuse())?))
        }
    })
}

/// What an account held then, for the wire.
pub fn balance_as_of(of: BalanceAsOf) -> wire::BalanceAsOf {
    wire::BalanceAsOf { balance: Some(money(of.balance)), authorized: Some(money(of.authorized)), lsn: of.lsn.0 }
}
