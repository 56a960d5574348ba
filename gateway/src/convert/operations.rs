//! Deposits, withdrawals and reversals by their ids, between the wire and the domain.

use arus_engine::{
    Command, Refusal,
    ledger::{
        commands::{Request, ReverseOperation},
        entry::Committed,
        notes::NotesText,
        operation::{Operation, OperationKind},
    },
    money::OpId,
};
use arus_proto::wallet::v1 as wire;

use super::{Fields, bounds::TEXT_MAX, money, operation, transfers::transfer};

/// What to take back.
pub fn reverse(request: &wire::ReverseOperationRequest) -> Result<Command, Refusal> {
    let mut fields = Fields::default();
    let (tx_id, of) = (fields.tx_id(&request.tx_id), id(&mut fields, &request.operation_id));
    let description = fields.text("reason", request.reason.clone(), TEXT_MAX);
    match (tx_id, of) {
        (Some(tx_id), Some(operation)) if fields.is_good() => {
            let notes = NotesText { description, ..NotesText::default() };
            let reverse = Request::ReverseOperation(ReverseOperation { operation });
            Ok(fields.command(tx_id, reverse, notes.into()))
        }
        _ => Err(fields.refuse()),
    }
}

/// Which operation to read.
pub fn get(request: &wire::GetOperationRequest) -> Result<OpId, Refusal> {
    let mut fields = Fields::default();
    id(&mut fields, &request.operation_id).ok_or_else(|| fields.refuse())
}

fn id(fields: &mut Fields, value: &str) -> Option<OpId> {
    let rule = "must be an operation id: a UUID, such as 019a3b1c-7c52-7e5f-8d2a-1b2c3d4e5f60";
    fields.take("operation_id", value, OpId::parse(value).map_err(|_| rule))
}

/// What became of a reversal.
pub fn reversed(committed: &Committed, replayed: bool) -> wire::ReverseOperationResponse {
    let own = committed.entry.decision.operation(committed.entry.op);
    wire::ReverseOperationResponse {
        operation: Some(operation(committed, replayed)),
        reverses: own.map(reverses).unwrap_or_default(),
        transfer: transfer(committed),
    }
}

/// An operation as it is now, and the entry that made it.
pub fn read(now: &Operation, made: &Committed) -> wire::GetOperationResponse {
    let (account, amount) = match &now.kind {
        OperationKind::Deposit { account, amount } | OperationKind::Withdrawal { account, amount } => {
            (account.to_string(), Some(money(*amount)))
        }
        OperationKind::Reversal { .. } => (String::new(), None),
    };
    wire::GetOperationResponse {
        operation: Some(operation(made, false)),
        method: made.entry.request.method().to_owned(),
        account_id: account,
        amount,
        reference: made.entry.notes.description.clone(),
        reversed_by: now.reversed_by.map(|by| by.to_string()).unwrap_or_default(),
        reverses: reverses(now),
    }
}

fn reverses(operation: &Operation) -> String {
    if let OperationKind::Reversal { of } = &operation.kind { of.to_string() } else { String::new() }
}
