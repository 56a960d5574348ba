//! Payments between the wire and the domain.

use std::{collections::HashMap, ops::Range};

use arus_engine::{
    ALL_TIME, Command, PaymentsOf, Refusal,
    config::EngineConfig,
    ledger::{
        commands::{CreatePayment, Request, create_payment::Manual},
        entry::{Committed, Entry},
        fx::{FxLeg, LegSide},
        notes::NotesText,
        objects,
        payment::{Payment, PaymentStatus},
        time::Timestamp,
    },
    money::{Money, OpId, TxId},
};
use arus_proto::{Timestamp as Time, payments::v1 as wire};
use tonic::Status;

use super::{
    Fields, PageAsk,
    bounds::{METADATA_BYTES_MAX, METADATA_KEY_MAX, METADATA_MAX, METADATA_VALUE_MAX, TEXT_MAX},
    context, failure, failure_code, first_micros,
    lifetime::{expires_in, spelled},
    money,
    risk::verdict,
    splits, timestamp,
};
use crate::status::{status, unimplemented};

/// A well-formed command, or all bad fields, or the field that this build does not have.
pub fn create(request: wire::CreatePaymentRequest, config: &EngineConfig) -> Result<Command, Status> {
    let mut fields = Fields::default();
    let tx_id = fields.tx_id(&request.tx_id);
    let customer = fields.owner("customer_id", &request.customer_id);
    let amount = fields.amount("amount", request.amount.as_ref());
    let source = fields.optional_account("source_account", &request.source_account);
    let destination = fields.optional_account("destination_account", &request.destination_account);
    if let (Some(Some(source)), Some(Some(destination))) = (&source, &destination)
        && source == destination
    {
        fields.bad("destination_account", destination, "must not be the source_account");
    }
    let method = wire::CaptureMethod::try_from(request.capture_method);
    if method.is_err() {
        fields.bad(
            "capture_method",
            &request.capture_method.to_string(),
            "is not a known CaptureMethod, such as CAPTURE_METHOD_MANUAL",
        );
    }
    let expires_in = expires_in(&mut fields, request.expires_in.as_ref(), config.authorization_max_s);
    let is_manual = method == Ok(wire::CaptureMethod::Manual);
    if let Some(given) = request.expires_in.as_ref().filter(|_| !is_manual) {
        fields.bad("expires_in", &spelled(given), "goes only together with capture_method CAPTURE_METHOD_MANUAL");
    }
    if !request.splits.is_empty() && !request.destination_account.is_empty() {
        fields.bad(
            "destination_account",
            &request.destination_account,
            "goes not together with splits, which name theirs",
        );
    }
    let sharing = splits::sharing(&mut fields, request.splits, request.fee.as_ref(), amount);
    if let (Some(Some(source)), Some(sharing)) = (&source, &sharing) {
        for (n, _) in sharing.splits.iter().enumerate().filter(|(_, split)| split.destination == *source) {
            fields.bad(format_args!("splits[{n}].destination_account"), source, "must not be the source_account");
        }
    }
    if !request.quote_id.is_empty() && sharing.is_some() {
        fields.bad("quote_id", &request.quote_id, "goes not together with splits or a fee");
    }
    let context = context::take(&mut fields, request.context);
    let metadata = metadata(&mut fields, request.metadata);
    let description = fields.text("description", request.description, TEXT_MAX);
    match (tx_id, customer, amount, source, destination) {
        (Some(tx_id), Some(customer), Some(amount), Some(source), Some(destination)) if fields.is_good() => {
            let manual = is_manual.then_some(Manual { expires_in: expires_in.flatten() });
            if !request.quote_id.is_empty() {
                return Err(unimplemented("CreatePaymentRequest.quote_id"));
            }
            let request =
                Request::CreatePayment(CreatePayment { customer, amount, source, destination, manual, sharing });
            let notes = NotesText { context, metadata, description };
            Ok(fields.command(tx_id, request, notes.into()))
        }
        _ => Err(status(&fields.refuse())),
    }
}

/// Pairs in the order of their keys.
pub(super) fn metadata(fields: &mut Fields, metadata: HashMap<String, String>) -> Vec<(String, String)> {
    if metadata.len() > METADATA_MAX {
        fields.too_much("metadata", format_args!("has {} pairs; at most {METADATA_MAX} are allowed", metadata.len()));
    }
    let mut pairs: Vec<_> = metadata.into_iter().collect();
    // A map has no order on the wire; the entry's bytes need one.
    pairs.sort_unstable();
    let bytes: usize = pairs.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > METADATA_BYTES_MAX {
        let rule = format_args!("has {bytes} bytes in all; at most {METADATA_BYTES_MAX} are allowed");
        fields.too_much("metadata", rule);
    }
    for (key, value) in &pairs {
        if key.is_empty() || key.len() > METADATA_KEY_MAX {
            let rule = format_args!("is not a key of 1 to {METADATA_KEY_MAX} bytes, such as order_id");
            fields.beyond("metadata", key, rule);
        }
        if value.len() > METADATA_VALUE_MAX {
            let rule = format_args!("is {} bytes long; at most {METADATA_VALUE_MAX} are allowed", value.len());
            fields.beyond(format_args!("metadata.{key}"), value, rule);
        }
    }
    pairs
}

/// How a payment is looked up.
pub enum By {
    /// By its id.
    Id(OpId),
    /// By the key it was sent under.
    TxId(TxId),
}

/// Which payment to read.
pub fn get(request: wire::GetPaymentRequest) -> Result<By, Refusal> {
    use wire::get_payment_request::By as Wire;
    let mut fields = Fields::default();
    let by = match request.by {
        Some(Wire::PaymentId(id)) => payment_id(&mut fields, &id).map(By::Id),
        Some(Wire::TxId(tx_id)) => fields.tx_id(&tx_id).map(By::TxId),
        None => {
            fields.missing_one_of(["payment_id", "tx_id"]);
            None
        }
    };
    by.ok_or_else(|| fields.refuse())
}

/// The id of a payment.
pub(super) fn payment_id(fields: &mut Fields, id: &str) -> Option<OpId> {
    let rule = "must be a payment id: a UUID, such as 019a3b1c-7c52-7e5f-8d2a-1b2c3d4e5f60";
    fields.take("payment_id", id, OpId::parse(id).map_err(|_| rule))
}

/// Which payments to list, how many, and from where.
pub fn list(request: wire::ListPaymentsRequest) -> Result<Listing, Refusal> {
    use wire::list_payments_request::Of as Wire;
    let mut fields = Fields::default();
    let of = match request.of {
        Some(Wire::CustomerId(id)) => fields.owner("customer_id", &id).map(PaymentsOf::Customer),
        Some(Wire::AccountId(id)) => fields.account("account_id", &id).map(PaymentsOf::Account),
        None => Some(PaymentsOf::All),
    };
    let made = created(&mut fields, request.created_from.as_ref(), request.created_to.as_ref());
    if wire::PaymentStatus::try_from(request.status).is_err() {
        fields.bad(
            "status",
            &request.status.to_string(),
            "is not a known PaymentStatus, such as PAYMENT_STATUS_CAPTURED",
        );
    }
    let metadata = metadata(&mut fields, request.metadata);
    if !metadata.is_empty() && matches!(of, Some(PaymentsOf::All)) {
        fields.miscounted("metadata", "goes only together with customer_id or account_id");
    }
    let list = format!("payments of {of:?} {made:?} {} {metadata:?}", request.status);
    let page = fields.page(request.page_size, &request.page_token, list);
    match (of, made, page) {
        (Some(of), Some(made), Some(page)) if fields.is_good() && fields.is_within() => {
            Ok(Listing { of, made, page, filter: Filter { status: request.status, metadata } })
        }
        _ => Err(fields.refuse()),
    }
}

/// From when to when, itself not within.
fn created(fields: &mut Fields, from: Option<&Time>, to: Option<&Time>) -> Option<Range<Timestamp>> {
    let mut at = |field: &str, given: Option<&Time>, absent| match given {
        None => Some(absent),
        Some(at) => {
            let rule = "must be a time from 1970 on, such as 2026-01-31T09:30:00Z";
            fields.take(field, &at.to_string(), first_micros(*at).ok_or(rule))
        }
    };
    let made = at("created_from", from, ALL_TIME.start)?..at("created_to", to, ALL_TIME.end)?;
    if made.is_empty() {
        fields.miscounted("created_from", "must be before created_to");
        return None;
    }
    Some(made)
}

/// Which payments a list is of, and which page of it.
#[derive(Debug)]
pub struct Listing {
    /// Whose.
    pub of: PaymentsOf,
    /// When they were made.
    pub made: Range<Timestamp>,
    /// What else they must be.
    pub filter: Filter,
    /// Which page.
    pub page: PageAsk,
}

/// What a payment must be to be listed.
#[derive(Debug)]
pub struct Filter {
    /// As the wire has it; zero is any.
    status: i32,
    metadata: Vec<(String, String)>,
}

impl Filter {
    /// Whether a payment is.
    pub fn takes(&self, payment: &wire::Payment) -> bool {
        (self.status == 0 || self.status == payment.status)
            && self.metadata.iter().all(|(key, value)| payment.metadata.get(key) == Some(value))
    }
}

/// A payment for the wire, as its latest entry left it; `None` for an entry of another kind.
pub fn payment(committed: &Committed, replayed: bool) -> Option<wire::Payment> {
    let entry: &Entry = &committed.entry;
    let payment = entry.payment()?;
    let made = entry.made_payment();
    // The entry that made it says where it comes from; all later ones repeat that.
    let at_once;
    let life = match &payment.life {
        Some(life) => &**life,
        None => {
            at_once = objects::at_once(payment, made?);
            &at_once
        }
    };
    let before = life.before.as_ref();
    // A step that was declined left it as it was.
    let changed = before.filter(|_| entry.failure().is_some()).map(|before| (before.changed, before.changed_at));
    let (lsn, updated_at) = changed.unwrap_or((committed.lsn, committed.at));
    let (customer, tx_id, created_at, notes, failed) = match (before.map(|before| &before.origin), made) {
        (Some(of), _) => (&of.customer, &of.tx_id, of.at, &of.notes, of.failure.as_ref()),
        (None, Some(made)) => (&made.customer, &entry.tx_id, committed.at, &entry.notes, entry.failure()),
        (None, None) => return None,
    };
    let authorized = match payment.status {
        PaymentStatus::Failed => Money::zero(life.amount.currency),
        _ => life.amount,
    };
    let method = match &life.authorization {
        Some(_) => wire::CaptureMethod::Manual,
        None if made.is_some_and(|made| made.manual.is_some()) => wire::CaptureMethod::Manual,
        None => wire::CaptureMethod::Automatic,
    };
    let (splits, fee) = splits::parts(payment.shared.as_deref());
    Some(wire::Payment {
        payment_id: payment.id.to_string(),
        tx_id: tx_id.to_string(),
        status: payment_status(payment.status).into(),
        customer_id: customer.to_string(),
        amount: Some(money(life.amount)),
        source_account: payment.payer.to_string(),
        destination_account: payment.payee.to_string(),
        debited: payment.debited.map(money),
        credited: payment.credited.map(money),
        fx: payment.fx.iter().map(leg).collect(),
        risk: Some(verdict(&payment.risk)),
        failure: failed.map(failure),
        tried: tried(payment),
        lsn: lsn.0,
        created_at: Some(timestamp(created_at)),
        replayed,
        amount_authorized: Some(money(authorized)),
        amount_captured: Some(money(life.captured)),
        amount_capturable: Some(money(payment.capturable(life))),
        amount_refunded: Some(money(life.refunded)),
        version: life.version,
        capture_method: method.into(),
        context: context::for_wire(&notes.context),
        metadata: notes.metadata.iter().cloned().collect(),
        description: notes.description.clone(),
        expires_at: life.authorization.as_ref().map(|authorization| timestamp(authorization.expires_at)),
        updated_at: Some(timestamp(updated_at)),
        splits,
        fee,
    })
}

/// Refuses a batch that is empty or too large.
pub fn check_batch(items: usize, items_max: usize) -> Result<(), Refusal> {
    let mut fields = Fields::default();
    if items == 0 || items > items_max {
        fields.miscounted("payments", format_args!("has {items} payments; send 1 to {items_max} at once"));
    }
    if fields.is_good() { Ok(()) } else { Err(fields.refuse()) }
}

/// What became of one payment of many; `None` for an entry of another kind.
pub fn outcome(index: u32, committed: &Committed, replayed: bool) -> Option<wire::BatchOutcome> {
    let payment = committed.entry.payment()?;
    Some(wire::BatchOutcome {
        index,
        payment_id: payment.id.to_string(),
        status: payment_status(payment.status).into(),
        failure: committed.entry.failure().map(failure),
        lsn: committed.lsn.0,
        replayed,
        error: None,
    })
}

fn tried(payment: &Payment) -> Vec<wire::TriedAccount> {
    let tried = payment.tried.iter();
    tried
        .map(|tried| wire::TriedAccount {
            account_id: tried.account.to_string(),
            code: failure_code(tried.code).into(),
        })
        .collect()
}

fn payment_status(status: PaymentStatus) -> wire::PaymentStatus {
    match status {
        PaymentStatus::Captured => wire::PaymentStatus::Captured,
        PaymentStatus::Failed => wire::PaymentStatus::Failed,
        PaymentStatus::Authorized => wire::PaymentStatus::Authorized,
        PaymentStatus::Voided => wire::PaymentStatus::Voided,
        PaymentStatus::Expired => wire::PaymentStatus::Expired,
        PaymentStatus::Refunded => wire::PaymentStatus::Refunded,
    }
}

pub(super) fn leg(leg: &FxLeg) -> wire::FxLeg {
    let side = match leg.side {
        LegSide::Payer => wire::FxSide::Payer,
        LegSide::Payee => wire::FxSide::Payee,
        LegSide::Both => wire::FxSide::Both,
    };
    wire::FxLeg {
        side: side.into(),
        from: Some(money(leg.from)),
        to: Some(money(leg.to)),
        mid: leg.mid.to_string(),
        rate: leg.rate.to_string(),
        spread_bps: leg.spread_bps.into(),
        via: leg.via.map_or_else(String::new, |via| via.code().to_owned()),
        rate_id: leg.rate_id.to_string(),
        source: leg.source.name().to_owned(),
        rounding: millionths(leg.rounding_micro),
    }
}

/// Millionths as a decimal.
pub(crate) fn millionths(micro: i64) -> String {
    let sign = if micro < 0 { "-" } else { "" };
    format!("{sign}{}.{:06}", micro.unsigned_abs() / 1_000_000, micro.unsigned_abs() % 1_000_000)
}
