//! Transfers between the wire and the domain.

use arus_engine::{
    Command, Refusal,
    config::EngineConfig,
    ledger::{
        bounds::LEGS_MAX,
        commands::{CreateTransfer, PostTransfer, Request, VoidTransfer, create_transfer::HoldFor},
        entry::Committed,
        notes::Notes,
        transfer::{Leg, TransferStatus},
    },
    money::OpId,
};
use arus_proto::wallet::v1 as wire;

use super::{
    Fields,
    bounds::TEXT_MAX,
    changed,
    lifetime::{expires_in, spelled},
    money, timestamp,
};

/// A transfer to make.
pub fn create(request: &wire::CreateTransferRequest, config: &EngineConfig) -> Result<Command, Refusal> {
    let mut fields = Fields::default();
    let tx_id = fields.tx_id(&request.tx_id);
    let count = request.legs.len();
    if !(1..=LEGS_MAX).contains(&count) {
        fields.miscounted("legs", format_args!("has {count} legs; send 1 to {LEGS_MAX}"));
    }
    let legs: Vec<_> = request.legs.iter().take(LEGS_MAX).enumerate().map(|(n, of)| leg(&mut fields, n, of)).collect();
    let mode = wire::TransferMode::try_from(request.mode);
    if mode.is_err() {
        fields.bad("mode", &request.mode.to_string(), "is not a known TransferMode, such as TRANSFER_MODE_HOLD");
    }
    let is_held = mode == Ok(wire::TransferMode::Hold);
    let expires_in = expires_in(&mut fields, request.expires_in.as_ref(), config.transfer_max_s);
    if let Some(given) = request.expires_in.as_ref().filter(|_| !is_held) {
        fields.bad("expires_in", &spelled(given), "goes only together with mode TRANSFER_MODE_HOLD");
    }
    let legs: Option<Vec<Leg>> = legs.into_iter().collect();
    match (tx_id, legs, expires_in) {
        (Some(tx_id), Some(legs), Some(expires_in)) if fields.is_good() => {
            let create = CreateTransfer { legs, hold: is_held.then_some(HoldFor { expires_in }) };
            Ok(fields.command(tx_id, Request::CreateTransfer(create), Notes::default()))
        }
        _ => Err(fields.refuse()),
    }
}

fn leg(fields: &mut Fields, n: usize, leg: &wire::TransferLeg) -> Option<Leg> {
    let at = |name: &str| format!("legs[{n}].{name}");
    let from = fields.account(&at("from"), &leg.from);
    let to = fields.account(&at("to"), &leg.to);
    let amount = fields.amount(&at("amount"), leg.amount.as_ref());
    let reference = fields.text(at("reference"), leg.reference.clone(), TEXT_MAX);
    let (from, to) = (from?, to?);
    if from == to {
        fields.bad(at("to"), &to, "must be another account than from");
    }
    Some(Leg { from, to, amount: amount?, reference })
}

/// A transfer to post.
pub fn post(request: &wire::PostTransferRequest) -> Result<Command, Refusal> {
    step(&request.tx_id, &request.transfer_id, |transfer| Request::PostTransfer(PostTransfer { transfer }))
}

/// A transfer to void.
pub fn void(request: &wire::VoidTransferRequest) -> Result<Command, Refusal> {
    step(&request.tx_id, &request.transfer_id, |transfer| Request::VoidTransfer(VoidTransfer { transfer }))
}

fn step(tx_id: &str, transfer: &str, make: fn(OpId) -> Request) -> Result<Command, Refusal> {
    let mut fields = Fields::default();
    match (fields.tx_id(tx_id), id(&mut fields, transfer)) {
        (Some(tx_id), Some(transfer)) => Ok(fields.command(tx_id, make(transfer), Notes::default())),
        _ => Err(fields.refuse()),
    }
}

/// Which transfer to read.
pub fn get(request: &wire::GetTransferRequest) -> Result<OpId, Refusal> {
    let mut fields = Fields::default();
    id(&mut fields, &request.transfer_id).ok_or_else(|| fields.refuse())
}

fn id(fields: &mut Fields, value: &str) -> Option<OpId> {
    let rule = "must be a transfer id: a UUID, such as 019a3b1c-7c52-7e5f-8d2a-1b2c3d4e5f60";
    fields.take("transfer_id", value, OpId::parse(value).map_err(|_| rule))
}

/// The transfer an entry left behind.
pub fn transfer(committed: &Committed) -> Option<wire::Transfer> {
    let transfer = committed.entry.decision.transfer()?;
    let status = match transfer.status {
        TransferStatus::Posted => wire::TransferStatus::Posted,
        TransferStatus::Held => wire::TransferStatus::Held,
        TransferStatus::Voided => wire::TransferStatus::Voided,
        TransferStatus::Expired => wire::TransferStatus::Expired,
        TransferStatus::Failed => wire::TransferStatus::Failed,
        TransferStatus::Reversed => wire::TransferStatus::Reversed,
    };
    let leg = |leg: &Leg| wire::TransferLeg {
        from: leg.from.to_string(),
        to: leg.to.to_string(),
        amount: Some(money(leg.amount)),
        reference: leg.reference.clone(),
    };
    Some(wire::Transfer {
        transfer_id: transfer.id.to_string(),
        status: status.into(),
        legs: transfer.legs.iter().map(leg).collect(),
        expires_at: transfer.expires_at.map(timestamp),
        lsn: changed(committed, transfer.changed).0,
        reversed_by: transfer.reversed_by.map(|by| by.to_string()).unwrap_or_default(),
    })
}
