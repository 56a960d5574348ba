//! Every kind of entry as a [`Record`], spelled as on the wire.

use arus_engine::{
    index::rows::Moved,
    ledger::{
        account::Account,
        commands::Request,
        decision::{Change, Decision},
        failure::Failure,
        fx::{FxLeg, LegSide},
        life::{Life, Origin},
        notes::Notes,
        operation::{Operation, OperationKind},
        parts::{FeePart, Part},
        payment::Payment,
        refund::{Refund, RefundPart},
        reservation::{Reservation, ReservationStatus},
        risk::RiskDecision,
        settings::DefaultMark,
        transfer::{Aside, Leg, Transfer},
        value::{Field, Value as Shown},
    },
    money::{Currency, Money, Posting, PostingKind},
};

use super::record::Record;
use crate::convert::payments::millionths;

/// What was asked, by the names of the wire.
pub(super) fn request(request: &Request) -> Record {
    fields(request.body().fields())
}

fn fields(fields: Vec<Field>) -> Record {
    fields.into_iter().fold(Record::default(), |record, (name, value)| match value {
        Shown::Absent => record,
        Shown::Text(text) => record.with(name, text),
        Shown::Money(amount) => record.with(name, amount),
        Shown::Flag(is_so) => record.with(name, is_so),
        Shown::Number(number) => record.with(name, number),
        Shown::Time(at) => record.with(name, at),
        Shown::Length(length) => record.with(name, format!("{} s", length.as_secs())),
        Shown::Rows(rows) => record.with(name, rows.into_iter().map(self::fields).collect::<Vec<_>>()),
    })
}

/// What came with it; nothing if nothing did.
pub(super) fn notes(notes: &Notes) -> Option<Record> {
    let context = &notes.context;
    let said = [
        ("ip", &context.ip),
        ("device_id", &context.device_id),
        ("country", &context.country),
        ("billing_country", &context.billing_country),
        ("channel", &context.channel),
        ("mcc", &context.mcc),
        ("description", &notes.description),
    ];
    let mut record = Record::default();
    for (key, text) in said.into_iter().filter(|(_, text)| !text.is_empty()) {
        record = record.with(key, text.as_str());
    }
    if !notes.metadata.is_empty() {
        let metadata = notes.metadata.iter().fold(Record::default(), |all, (key, value)| all.with(key, value.as_str()));
        record = record.with("metadata", metadata);
    }
    (record != Record::default()).then_some(record)
}

/// What was decided.
pub(super) fn outcome(decision: &Decision) -> Record {
    let failure = decision.failure.as_ref();
    let change = decision.changes.first();
    match change {
        Some(Change::Payment(of)) => payment(of, failure).with_some("refund", decision.refund().map(refund)),
        Some(Change::Refund(of)) => decided(refund(of), failure),
        Some(Change::Reservation(of)) => decided(reservation(of), failure),
        Some(Change::Transfer(of)) => decided(transfer(of), failure).with_some("reversal", reversal(decision)),
        Some(Change::Operation(of)) => decided(operation(of), failure).with_some("reversal", reversal(decision)),
        Some(Change::Account { account: of, default }) => {
            decided(account(of).with("made_default", *default == DefaultMark::Default), failure)
        }
        Some(Change::Rates) | None => decided(Record::default(), failure),
    }
}

/// An outcome with whether it was declined.
fn decided(record: Record, failure: Option<&Failure>) -> Record {
    let decision = if failure.is_some() { "DECLINED" } else { "DONE" };
    with_failure(record.with("decision", decision), failure)
}

fn with_failure(record: Record, failure: Option<&Failure>) -> Record {
    let failure = failure.map(|of| Record::default().with("code", of.code.name()).with("message", of.message.as_str()));
    record.with_some("failure", failure)
}

fn payment(payment: &Payment, failure: Option<&Failure>) -> Record {
    let Payment { id, status, payer, payee, debited, credited, fx, risk, tried, life, shared } = payment;
    let decision = match risk.decision {
        RiskDecision::Accept => "ACCEPT",
        RiskDecision::Review => "REVIEW",
        RiskDecision::Reject => "REJECT",
    };
    let reasons: Vec<String> = risk.reasons.iter().map(|reason| reason.name().to_owned()).collect();
    let verdict = Record::default().with("decision", decision).with("score", u64::from(risk.score));
    let tried = tried
        .iter()
        .map(|tried| Record::default().with("account", tried.account.to_string()).with("code", tried.code.name()));
    let (legs, tried): (Vec<_>, Vec<_>) = (fx.iter().map(leg).collect(), tried.collect());
    let record = Record::default()
        .with("payment_id", id.to_string())
        .with("status", status.name())
        .with("source_account", payer.to_string())
        .with("destination_account", payee.to_string())
        .with_some("debited", *debited)
        .with_some("credited", *credited)
        .with_some("fx", (!legs.is_empty()).then_some(legs))
        .with("risk", verdict.with("reasons", reasons));
    let record = record.with_some("life", life.as_deref().map(lived));
    let record = record.with_some("splits", shared.as_deref().map(|of| of.splits.iter().map(part).collect::<Vec<_>>()));
    let record = record.with_some("fee", shared.as_deref().and_then(|of| of.fee.as_ref()).map(fee));
    with_failure(record, failure).with_some("tried", (!tried.is_empty()).then_some(tried))
}

fn part(part: &Part) -> Record {
    let Part { account, amount, worth, captured, refunded, credited, taken_back, reference } = part;
    Record::default()
        .with("account", account.to_string())
        .with("amount", *amount)
        .with("worth", *worth)
        .with("captured", *captured)
        .with("refunded", *refunded)
        .with("credited", *credited)
        .with("taken_back", *taken_back)
        .with("reference", reference.as_str())
}

fn fee(fee: &FeePart) -> Record {
    let FeePart { part, carrier, ask, carried, carried_debited } = fee;
    self::part(part)
        .with("split_index", u64::from(*carrier))
        .with_some("ask", ask.map(|ask| ask.to_string()))
        .with("carried", *carried)
        .with("carried_debited", *carried_debited)
}

/// What became of a payment, and where it comes from.
fn lived(life: &Life) -> Record {
    let Life { amount, captured, refunded, version, authorization, given_back, taken_back, step, before } = life;
    let aside = authorization.as_ref().map(|of| {
        Record::default()
            .with("left", of.left)
            .with("held_on_day", u64::from(of.held_on))
            .with("expires_at", of.expires_at)
    });
    let before = before.as_ref().map(|before| {
        let Origin { customer, tx_id, lsn, at, .. } = &before.origin;
        Record::default()
            .with("previous_lsn", before.previous.0)
            .with("made_lsn", lsn.0)
            .with("made_at", *at)
            .with("customer_id", customer.to_string())
            .with("tx_id", tx_id.to_string())
    });
    Record::default()
        .with("amount", *amount)
        .with("captured", *captured)
        .with("refunded", *refunded)
        .with("version", u64::from(*version))
        .with_some("step", *step)
        .with_some("set_aside", aside)
        .with_some("given_back", *given_back)
        .with_some("taken_back", *taken_back)
        .with_some("before", before)
}

fn refund(of: &Refund) -> Record {
    let legs: Vec<_> = of.fx.iter().map(leg).collect();
    Record::default()
        .with("refund_id", of.id.to_string())
        .with("payment_id", of.payment.to_string())
        .with("status", of.status.name())
        .with("amount", of.amount)
        .with("rate", of.rate.name())
        .with("source_account", of.source.to_string())
        .with("destination_account", of.destination.to_string())
        .with_some("debited", of.debited)
        .with_some("credited", of.credited)
        .with_some("fx", (!legs.is_empty()).then_some(legs))
        .with_some("parts", of.parts.as_ref().map(|parts| parts.iter().map(given_back).collect::<Vec<_>>()))
}

fn given_back(part: &RefundPart) -> Record {
    let RefundPart { split, account, amount, debited } = part;
    let of = split.map_or("fee".to_owned(), |split| format!("split {split}"));
    Record::default()
        .with("part", of)
        .with("account", account.to_string())
        .with("amount", *amount)
        .with_some("debited", *debited)
}

fn leg(leg: &FxLeg) -> Record {
    let side = match leg.side {
        LegSide::Payer => "PAYER",
        LegSide::Payee => "PAYEE",
        LegSide::Both => "BOTH",
    };
    Record::default()
        .with("side", side)
        .with("from", leg.from)
        .with("to", leg.to)
        .with("mid", leg.mid.to_string())
        .with("rate", leg.rate.to_string())
        .with("spread_bps", u64::from(leg.spread_bps))
        .with_some("via", leg.via.map(Currency::code))
        .with("rate_id", leg.rate_id.to_string())
        .with("source", leg.source.name())
        .with("rounding", millionths(leg.rounding_micro))
}

fn reservation(of: &Reservation) -> Record {
    let status = match of.status {
        ReservationStatus::Active => "ACTIVE",
        ReservationStatus::Captured => "CAPTURED",
        ReservationStatus::Released => "RELEASED",
        ReservationStatus::Expired => "EXPIRED",
        ReservationStatus::Failed => "FAILED",
    };
    Record::default()
        .with("reservation_id", of.id.to_string())
        .with("status", status)
        .with("account_id", of.account.to_string())
        .with_some("destination_account", of.destination.as_ref().map(ToString::to_string))
        .with("amount", of.amount)
        .with("captured", of.captured)
        .with("remaining", of.remaining)
        .with("expires_at", of.expires_at)
}

fn transfer(of: &Transfer) -> Record {
    let leg = |leg: &Leg| {
        Record::default()
            .with("from", leg.from.to_string())
            .with("to", leg.to.to_string())
            .with("amount", leg.amount)
            .with("reference", leg.reference.as_str())
    };
    let aside = |aside: &Aside| {
        Record::default()
            .with("account", aside.account.to_string())
            .with("amount", aside.amount)
            .with("held_on_day", u64::from(aside.held_on))
    };
    let set_aside: Vec<_> = of.aside.iter().map(aside).collect();
    Record::default()
        .with("transfer_id", of.id.to_string())
        .with("status", of.status.name())
        .with("legs", of.legs.iter().map(leg).collect::<Vec<_>>())
        .with_some("expires_at", of.expires_at)
        .with_some("set_aside", (!set_aside.is_empty()).then_some(set_aside))
        .with_some("reversed_by", of.reversed_by.map(|by| by.to_string()))
}

/// What took the first object back, or was to.
fn reversal(decision: &Decision) -> Option<Record> {
    let second = decision.changes.get(1)?;
    if let Change::Operation(of) = second { Some(operation(of)) } else { None }
}

fn operation(of: &Operation) -> Record {
    let record = Record::default().with("operation_id", of.id.to_string()).with("status", of.status.name());
    let record = match &of.kind {
        OperationKind::Deposit { account, amount } | OperationKind::Withdrawal { account, amount } => {
            record.with("account", account.to_string()).with("amount", *amount)
        }
        OperationKind::Reversal { of } => record.with("reverses", of.to_string()),
    };
    record.with_some("reversed_by", of.reversed_by.map(|by| by.to_string()))
}

/// The settings of an account. Its counters in an entry are those its actor knew then, which say nothing here.
fn account(of: &Account) -> Record {
    let limit = of.daily_debit_limit.map(|limit| Money::new(limit, of.currency));
    Record::default()
        .with("account_id", of.id.to_string())
        .with("owner_id", of.owner.to_string())
        .with("currency", of.currency.code())
        .with("status", of.status.name())
        .with("overdraft_limit", Money::new(of.overdraft_limit, of.currency))
        .with("minimum_balance", Money::new(of.minimum_balance, of.currency))
        .with_some("daily_debit_limit", limit)
}

/// One line of an entry.
pub(super) fn posting(n: u64, posting: &Posting) -> Record {
    let record = Record::default().with("line", n).with("account", posting.account.to_string());
    record.with("kind", posting_kind(posting.kind)).with("amount", posting.amount)
}

/// A row of the history with what the entry did to the account; a declined payment did nothing.
pub(super) fn moved(row: Record, moved: Option<Moved>, currency: Currency) -> Record {
    let Some(Moved { kind, amount_minor, balance_minor }) = moved else { return row.with("kind", "NOTHING") };
    row.with("kind", posting_kind(kind))
        .with("amount", Money::new(amount_minor, currency))
        .with("balance_after", Money::new(balance_minor, currency))
}

fn posting_kind(kind: PostingKind) -> &'static str {
    match kind {
        PostingKind::Debit { .. } => "DEBIT",
        PostingKind::Credit => "CREDIT",
        PostingKind::Authorize { .. } => "AUTHORIZE",
        PostingKind::Settle => "SETTLE",
        PostingKind::Void { .. } => "VOID",
        PostingKind::Return => "RETURN",
    }
}
