//! Between the wire and the domain: well-formedness in, answers out. Nothing here looks at state.
//!
//! [`Fields`] collects every bad field of a request, so that a caller learns of all at once (P3). What is well-formed
//! and beyond a limit is kept apart: a key that was decided before the limit changed is replayed all the same (P2).

pub(crate) mod bounds;
mod context;
pub mod fx;
mod lifetime;
pub mod operations;
pub mod payments;
pub mod risk;
mod splits;
pub mod statements;
pub mod steps;
pub mod transfers;
pub mod wallet;

use std::fmt::Display;

use arus_engine::{
    Command, FieldError, PAGE_MAX, Position, Refusal, Window,
    ledger::{
        commands::Request,
        entry::Committed,
        failure::{Failure, FailureCode},
        notes::Notes,
        time::Timestamp,
    },
    money::{AccountId, Currency, Lsn, Money, OwnerId, TenantId, TxId},
};
use arus_proto::common::v1 as wire;

/// The one tenant of this build.
pub const TENANT: TenantId = TenantId(0);
/// Page size where none is given.
const PAGE_DEFAULT: usize = 50;
/// The most bytes of messages in one page: a quarter of what gRPC clients take by default. A payment is far smaller.
pub const PAGE_BYTES_MAX: usize = 1 << 20;
/// What a message costs in a list beside its own bytes: its tag and its length.
const LISTED_BYTES: usize = 8;
/// The longest value that an error repeats, in bytes.
const ECHO_MAX: usize = 80;

/// All bad fields of one request. Names are given as whatever displays them: almost always nobody asks.
#[derive(Debug, Default)]
pub struct Fields {
    /// Malformed: no command can be made of it.
    bad: Vec<FieldError>,
    /// Well-formed, and beyond what is allowed today.
    beyond: Vec<FieldError>,
}

impl Fields {
    /// Notes a bad field.
    pub fn bad(&mut self, field: impl Display, value: &str, rule: impl Display) {
        self.bad.push(wrong(field, value, rule));
    }

    /// Notes a well-formed field that is beyond what is allowed today.
    pub fn beyond(&mut self, field: impl Display, value: &str, rule: impl Display) {
        self.beyond.push(wrong(field, value, rule));
    }

    /// Notes a list that cannot have so many members.
    pub fn miscounted(&mut self, field: &str, rule: impl Display) {
        self.bad.push(FieldError::new(field, rule.to_string()));
    }

    /// Notes a field that holds more than is allowed today.
    pub fn too_much(&mut self, field: &str, rule: impl Display) {
        self.beyond.push(FieldError::new(field, rule.to_string()));
    }

    /// Notes that one of several fields must be given.
    pub fn missing_one_of(&mut self, fields: [&str; 2]) {
        let [first, second] = fields;
        self.bad.push(FieldError::new(first, format!("is required, or {second}")));
    }

    /// Notes a field that is missing.
    pub fn missing(&mut self, field: impl Display) {
        self.bad.push(FieldError::new(field.to_string(), "is required"));
    }

    /// Takes a parsed field, or notes why it is bad.
    pub fn take<T, E: Display>(&mut self, field: impl Display, value: &str, parsed: Result<T, E>) -> Option<T> {
        match parsed {
            Ok(parsed) => Some(parsed),
            Err(_) if value.is_empty() => {
                self.missing(field);
                None
            }
            Err(rule) => {
                self.bad(field, value, rule);
                None
            }
        }
    }

    /// A required key.
    pub fn tx_id(&mut self, value: &str) -> Option<TxId> {
        self.take("tx_id", value, TxId::parse(value))
    }

    /// A required account.
    pub fn account(&mut self, field: &str, value: &str) -> Option<AccountId> {
        self.take(field, value, AccountId::parse(value))
    }

    /// An optional account: `Some(None)` if it is absent.
    pub fn optional_account(&mut self, field: &str, value: &str) -> Option<Option<AccountId>> {
        if value.is_empty() { Some(None) } else { self.account(field, value).map(Some) }
    }

    /// A required owner.
    pub fn owner(&mut self, field: &str, value: &str) -> Option<OwnerId> {
        self.take(field, value, OwnerId::parse(value))
    }

    /// A required currency.
    pub fn currency(&mut self, field: impl Display, value: &str) -> Option<Currency> {
        self.take(field, value, Currency::from_code(value))
    }

    /// A required amount above zero.
    pub fn amount(&mut self, field: &str, money: Option<&wire::Money>) -> Option<Money> {
        self.money(field, money, Money::parse_positive)
    }

    /// An optional limit, zero or more: `Some(None)` if it is absent.
    pub fn optional_limit(&mut self, field: &str, money: Option<&wire::Money>) -> Option<Option<Money>> {
        if money.is_none() {
            return Some(None);
        }
        self.money(field, money, Money::parse_unsigned).map(Some)
    }

    fn money<E: Display>(
        &mut self,
        field: &str,
        money: Option<&wire::Money>,
        parse: impl FnOnce(&str, Currency) -> Result<Money, E>,
    ) -> Option<Money> {
        let Some(money) = money else {
            self.missing(field);
            return None;
        };
        let amount = format_args!("{field}.amount");
        let currency = self.currency(format_args!("{field}.currency"), &money.currency);
        if money.amount.is_empty() {
            self.missing(amount);
            return None;
        }
        let Some(currency) = currency else {
            // Without a currency only the shape can be judged.
            if let Err(rule) = Money::check_shape(&money.amount) {
                self.bad(amount, &money.amount, rule);
            }
            return None;
        };
        let parsed = parse(&money.amount, currency);
        self.take(amount, &money.amount, parsed)
    }

    /// A text of bounded length.
    pub fn text(&mut self, field: impl Display, value: String, bytes_max: usize) -> String {
        if value.len() > bytes_max {
            self.beyond(field, &value, format_args!("is {} bytes long; at most {bytes_max} are allowed", value.len()));
        }
        value
    }

    /// Which page of a list.
    pub fn page(&mut self, size: i32, token: &str, list: String) -> Option<PageAsk> {
        let size = match usize::try_from(size) {
            Ok(0) => Some(PAGE_DEFAULT),
            Ok(size) => Some(size.min(PAGE_MAX)),
            Err(_) => {
                self.bad(
                    "page_size",
                    &size.to_string(),
                    "must not be negative; a good value is 50, 0 is the default, more than 1000 is 1000",
                );
                None
            }
        };
        let below = if token.is_empty() { Some(Position::NEWEST) } else { read_token(token, &list) };
        if below.is_none() {
            self.bad(
                "page_token",
                token,
                "is not a next_page_token of this list; leave it out to begin at the first page",
            );
        }
        Some(PageAsk { size: size?, below: below?, list })
    }

    /// Whether nothing is malformed so far.
    pub fn is_good(&self) -> bool {
        self.bad.is_empty()
    }

    /// Whether nothing is beyond a limit so far.
    pub fn is_within(&self) -> bool {
        self.beyond.is_empty()
    }

    /// A command of the one tenant, with what is said against it; the caller's deadline is added by the handler.
    pub fn command(self, tx_id: TxId, request: Request, notes: Notes) -> Command {
        let objection = (!self.is_within()).then(|| Box::new(Refusal::Invalid(self.beyond)));
        Command { objection, ..command(tx_id, request, notes) }
    }

    /// The refusal that names all bad fields.
    pub fn refuse(mut self) -> Refusal {
        self.bad.append(&mut self.beyond);
        Refusal::Invalid(self.bad)
    }
}

/// A command of the one tenant.
pub fn command(tx_id: TxId, request: Request, notes: Notes) -> Command {
    Command::new(TENANT, tx_id, request, notes)
}

/// A field with its value, as far as an error repeats it, and the rule it breaks.
fn wrong(field: impl Display, value: &str, rule: impl Display) -> FieldError {
    FieldError::new(shown(&field.to_string()), format!("\"{}\" {rule}", shown(value)))
}

/// As much of a client's words as an error repeats, in whole characters: whoever shows it on a terminal is not to be
/// written to by the client.
pub(crate) fn shown(text: &str) -> String {
    let mut whole = text.escape_debug().to_string();
    if whole.len() > ECHO_MAX {
        whole.truncate(whole.floor_char_boundary(ECHO_MAX));
        whole.push_str("...");
    }
    whole
}

/// A message with the bytes it takes in a page.
pub fn listed<T: prost::Message>(message: T) -> (T, usize) {
    let bytes = message.encoded_len() + LISTED_BYTES;
    (message, bytes)
}

/// A page of a list that somebody asked for.
#[derive(Debug)]
pub struct PageAsk {
    /// How many rows.
    pub size: usize,
    /// Below which position it begins.
    pub below: Position,
    list: String,
}

impl PageAsk {
    /// What the engine is to read.
    pub fn window(&self) -> Window {
        Window { below: self.below, rows_max: self.size, bytes_max: PAGE_BYTES_MAX }
    }

    /// The token of the page after, if there is one: everything below `next`.
    pub fn token(&self, next: Option<Position>) -> String {
        token(next, &self.list)
    }
}

/// An opaque page token: a position, and a mark of the list that gave it out, so that no other list takes it (AIP-158).
fn token(next: Option<Position>, list: &str) -> String {
    let mark = crc32c::crc32c(list.as_bytes());
    next.map_or_else(String::new, |next| format!("p2{:016x}{:04x}{mark:08x}", next.lsn.0, next.line))
}

fn read_token(token: &str, list: &str) -> Option<Position> {
    let (lsn, rest) = token.strip_prefix("p2").filter(|hex| hex.len() == 28)?.split_at_checked(16)?;
    let (line, mark) = rest.split_at_checked(4)?;
    let mark = u32::from_str_radix(mark, 16).ok()?;
    (mark == crc32c::crc32c(list.as_bytes())).then_some(())?;
    let (lsn, line) = (u64::from_str_radix(lsn, 16).ok()?, u16::from_str_radix(line, 16).ok()?);
    Some(Position { lsn: Lsn(lsn), line })
}

/// An amount for the wire.
pub fn money(money: Money) -> wire::Money {
    wire::Money { currency: money.currency.code().to_owned(), amount: money.decimal() }
}

/// A time for the wire.
pub fn timestamp(at: Timestamp) -> arus_proto::Timestamp {
    let (seconds, micros) = (at.0 / 1_000_000, at.0 % 1_000_000);
    arus_proto::Timestamp {
        seconds: i64::try_from(seconds).unwrap_or(i64::MAX),
        nanos: i32::try_from(micros * 1_000).unwrap_or_default(),
    }
}

/// A time of the wire, if it is one from 1970 on; what is less than a microsecond is left out.
fn micros(at: arus_proto::Timestamp) -> Option<Timestamp> {
    let (seconds, nanos) = (u64::try_from(at.seconds).ok()?, u64::try_from(at.nanos).ok()?);
    let micros = seconds.checked_mul(1_000_000)?.checked_add(nanos / 1_000)?;
    at.is_valid().then_some(Timestamp(micros))
}

/// The same of a limit of a period: the first microsecond that is no earlier, as the period has its beginning and not its end.
fn first_micros(at: arus_proto::Timestamp) -> Option<Timestamp> {
    let is_between = at.nanos % 1_000 > 0;
    micros(at)?.0.checked_add(u64::from(is_between)).map(Timestamp)
}

/// A time for people, as in answers (RFC 3339).
pub fn rfc3339(at: Timestamp) -> String {
    timestamp(at).to_string()
}

/// The decision of a command, for the wire.
pub fn operation(committed: &Committed, replayed: bool) -> wire::Operation {
    let entry = &committed.entry;
    let status = match entry.failure() {
        Some(_) => wire::OperationStatus::Failed,
        None => wire::OperationStatus::Completed,
    };
    wire::Operation {
        operation_id: entry.op.to_string(),
        tx_id: entry.tx_id.to_string(),
        status: status.into(),
        failure: entry.failure().map(failure),
        lsn: committed.lsn.0,
        created_at: Some(timestamp(committed.at)),
        replayed,
    }
}

/// The entry that last changed an object: a declined one leaves it as it was.
pub fn changed(committed: &Committed, before: Option<Lsn>) -> Lsn {
    before.filter(|_| committed.entry.failure().is_some()).unwrap_or(committed.lsn)
}

/// A decline for the wire.
pub fn failure(failure: &Failure) -> wire::Failure {
    wire::Failure { code: failure_code(failure.code).into(), message: failure.message.clone() }
}

/// A decline's code for the wire.
pub fn failure_code(code: FailureCode) -> wire::FailureCode {
    match code {
        FailureCode::InsufficientFunds => wire::FailureCode::InsufficientFunds,
        FailureCode::RiskRejected => wire::FailureCode::RiskRejected,
        FailureCode::AccountFrozen => wire::FailureCode::AccountFrozen,
        FailureCode::AccountClosed => wire::FailureCode::AccountClosed,
        FailureCode::CurrencyMismatch => wire::FailureCode::CurrencyMismatch,
        FailureCode::DailyLimitExceeded => wire::FailureCode::DailyLimitExceeded,
        FailureCode::AccountLimitExceeded => wire::FailureCode::AccountLimitExceeded,
        FailureCode::FxRateUnavailable => wire::FailureCode::FxRateUnavailable,
        FailureCode::FxRateStale => wire::FailureCode::FxRateStale,
        FailureCode::AmountTooSmall => wire::FailureCode::AmountTooSmall,
        FailureCode::AmountTooLarge => wire::FailureCode::AmountTooLarge,
        FailureCode::SameAccount => wire::FailureCode::SameAccount,
        FailureCode::SourceNotOwned => wire::FailureCode::SourceNotOwned,
        FailureCode::AccountExists => wire::FailureCode::AccountExists,
        FailureCode::AccountNotEmpty => wire::FailureCode::AccountNotEmpty,
        FailureCode::TooManyAccounts => wire::FailureCode::TooManyAccounts,
        FailureCode::ReservationNotActive => wire::FailureCode::ReservationNotActive,
        FailureCode::AmountExceedsReservation => wire::FailureCode::AmountExceedsReservation,
        FailureCode::DestinationRequired => wire::FailureCode::DestinationRequired,
        FailureCode::TooManyPairs => wire::FailureCode::TooManyPairs,
        FailureCode::PaymentNotCapturable => wire::FailureCode::PaymentNotCapturable,
        FailureCode::AmountExceedsCapturable => wire::FailureCode::AmountExceedsCapturable,
        FailureCode::PaymentNotVoidable => wire::FailureCode::PaymentNotVoidable,
        FailureCode::PaymentNotRefundable => wire::FailureCode::PaymentNotRefundable,
        FailureCode::AmountExceedsRefundable => wire::FailureCode::AmountExceedsRefundable,
        FailureCode::RefundDestinationClosed => wire::FailureCode::RefundDestinationClosed,
        FailureCode::TransferNotHeld => wire::FailureCode::TransferNotHeld,
        FailureCode::OperationNotReversible => wire::FailureCode::OperationNotReversible,
        FailureCode::OperationAlreadyReversed => wire::FailureCode::OperationAlreadyReversed,
        FailureCode::OverdraftAndMinimum => wire::FailureCode::OverdraftAndMinimum,
        FailureCode::MetadataTooLarge => wire::FailureCode::MetadataTooLarge,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_round_trip_and_others_are_refused() {
        let place = Position { lsn: Lsn(77), line: 3 };
        let given = token(Some(place), "entries a");
        assert_eq!(read_token(&given, "entries a"), Some(place));
        assert_eq!(read_token(&given, "entries b"), None, "it is of another list");
        for bad in ["", "p2", "p2zz", "x", &given[1..], &format!("{given}0")] {
            assert_eq!(read_token(bad, "entries a"), None, "{bad}");
        }
    }

    #[test]
    fn codes_have_one_name_on_both_sides() {
        for code in FailureCode::ALL {
            assert_eq!(failure_code(code).as_str_name(), format!("FAILURE_CODE_{}", code.name()));
        }
    }
}
