//! What becomes of a payment, between the wire and the domain: captures, voids, refunds.

use arus_engine::{
    Command, Refusal,
    ledger::{
        commands::{CapturePayment, RefundPayment, Request, UpdatePayment, VoidPayment},
        entry::Committed,
        notes::{Notes, NotesText},
        refund::{RefundRate, RefundStatus},
        reservation::Finality,
    },
    money::{Money, OpId},
};
use arus_proto::{common::v1 as common, payments::v1 as wire};

use super::{
    Fields, PageAsk,
    bounds::TEXT_MAX,
    failure, money,
    payments::{leg, metadata, payment_id},
    splits, timestamp,
};

fn optional_amount(fields: &mut Fields, amount: Option<&common::Money>) -> Option<Option<Money>> {
    match amount {
        None => Some(None),
        given => fields.amount("amount", given).map(Some),
    }
}

/// Money to take.
pub fn capture(request: &wire::CapturePaymentRequest) -> Result<Command, Refusal> {
    let mut fields = Fields::default();
    let tx_id = fields.tx_id(&request.tx_id);
    let payment = payment_id(&mut fields, &request.payment_id);
    let amount = optional_amount(&mut fields, request.amount.as_ref());
    match (tx_id, payment, amount) {
        (Some(tx_id), Some(payment), Some(amount)) => {
            let finality = if request.r#final { Finality::Final } else { Finality::Partial };
            let capture = CapturePayment { payment, amount, finality };
            Ok(fields.command(tx_id, Request::CapturePayment(capture), Notes::default()))
        }
        _ => Err(fields.refuse()),
    }
}

/// Money to free.
pub fn void(request: &wire::VoidPaymentRequest) -> Result<Command, Refusal> {
    let mut fields = Fields::default();
    let (tx_id, payment) = (fields.tx_id(&request.tx_id), payment_id(&mut fields, &request.payment_id));
    match (tx_id, payment) {
        (Some(tx_id), Some(payment)) => {
            Ok(fields.command(tx_id, Request::VoidPayment(VoidPayment { payment }), Notes::default()))
        }
        _ => Err(fields.refuse()),
    }
}

/// What to note.
pub fn update(request: wire::UpdatePaymentRequest) -> Result<Command, Refusal> {
    let mut fields = Fields::default();
    let (tx_id, payment) = (fields.tx_id(&request.tx_id), payment_id(&mut fields, &request.payment_id));
    let metadata = metadata(&mut fields, request.metadata);
    let description = request.description.map(|text| fields.text("description", text, TEXT_MAX));
    if metadata.is_empty() && description.is_none() {
        fields.miscounted("metadata", "is empty, and no description is given; give one of them");
    }
    match (tx_id, payment) {
        (Some(tx_id), Some(payment)) if fields.is_good() => {
            let update = UpdatePayment { payment, metadata, description };
            Ok(fields.command(tx_id, Request::UpdatePayment(update), Notes::default()))
        }
        _ => Err(fields.refuse()),
    }
}

/// Money to give back.
pub fn refund(request: &wire::RefundPaymentRequest) -> Result<Command, Refusal> {
    let mut fields = Fields::default();
    let tx_id = fields.tx_id(&request.tx_id);
    let payment = payment_id(&mut fields, &request.payment_id);
    let amount = optional_amount(&mut fields, request.amount.as_ref());
    let rate = match wire::RefundRate::try_from(request.rate) {
        Ok(wire::RefundRate::Unspecified | wire::RefundRate::Original) => Some(RefundRate::Original),
        Ok(wire::RefundRate::Current) => Some(RefundRate::Current),
        Err(_) => {
            fields.bad("rate", &request.rate.to_string(), "is not a known RefundRate, such as REFUND_RATE_ORIGINAL");
            None
        }
    };
    let splits = splits::named(&mut fields, &request.splits);
    let description = fields.text("reason", request.reason.clone(), TEXT_MAX);
    match (tx_id, payment, amount, rate, splits) {
        (Some(tx_id), Some(payment), Some(amount), Some(rate), Some(splits)) if fields.is_good() => {
            let refund = RefundPayment { payment, amount, rate, refund_fees: request.refund_fees, splits };
            let notes = NotesText { description, ..NotesText::default() };
            Ok(fields.command(tx_id, Request::RefundPayment(refund), notes.into()))
        }
        _ => Err(fields.refuse()),
    }
}

/// Which refund to read.
pub fn get_refund(request: &wire::GetRefundRequest) -> Result<OpId, Refusal> {
    let mut fields = Fields::default();
    let rule = "must be a refund id: a UUID, such as 019a3b1c-7c52-7e5f-8d2a-1b2c3d4e5f60";
    let id = fields.take("refund_id", &request.refund_id, OpId::parse(&request.refund_id).map_err(|_| rule));
    id.ok_or_else(|| fields.refuse())
}

/// Whose refunds to list, how many, and from where.
pub fn list_refunds(request: &wire::ListRefundsRequest) -> Result<(OpId, PageAsk), Refusal> {
    let mut fields = Fields::default();
    let payment = payment_id(&mut fields, &request.payment_id);
    let list = format!("refunds of {}", request.payment_id);
    match (payment, fields.page(request.page_size, &request.page_token, list)) {
        (Some(payment), Some(page)) => Ok((payment, page)),
        _ => Err(fields.refuse()),
    }
}

/// The refund an entry made, for the wire; `None` for an entry of another kind.
pub fn refunded(committed: &Committed) -> Option<wire::Refund> {
    let entry = &committed.entry;
    let refund = entry.decision.refund()?;
    let status = match refund.status {
        RefundStatus::Completed => wire::RefundStatus::Completed,
        RefundStatus::Failed => wire::RefundStatus::Failed,
    };
    let rate = match refund.rate {
        RefundRate::Original => wire::RefundRate::Original,
        RefundRate::Current => wire::RefundRate::Current,
    };
    let fee = entry.payment().and_then(|payment| payment.shared.as_ref()?.fee.as_ref());
    let (splits, fee) = splits::given_back(refund, fee.map_or(0, |fee| fee.carrier));
    Some(wire::Refund {
        refund_id: refund.id.to_string(),
        payment_id: refund.payment.to_string(),
        tx_id: entry.tx_id.to_string(),
        status: status.into(),
        amount: Some(money(refund.amount)),
        rate: rate.into(),
        source_account: refund.source.to_string(),
        destination_account: refund.destination.to_string(),
        debited: refund.debited.map(money),
        credited: refund.credited.map(money),
        fx: refund.fx.iter().map(leg).collect(),
        failure: entry.failure().map(failure),
        reason: entry.notes.description.clone(),
        lsn: committed.lsn.0,
        created_at: Some(timestamp(committed.at)),
        splits,
        fee,
    })
}
