//! Risk questions between the wire and the domain.

use arus_engine::{
    Refusal,
    ledger::{
        notes::NotesText,
        risk::{self, Assessment, Verdict},
    },
};
use arus_proto::{
    common::v1::{RiskDecision, RiskVerdict},
    risk::v1 as wire,
};

use super::{Fields, context};

/// A payment to judge.
pub fn score(request: wire::ScoreRequest) -> Result<Assessment, Refusal> {
    let mut fields = Fields::default();
    let customer = fields.owner("customer_id", &request.customer_id);
    let amount = fields.amount("amount", request.amount.as_ref());
    let source = fields.optional_account("source_account", &request.source_account);
    let destination = fields.optional_account("destination_account", &request.destination_account);
    let context = context::take(&mut fields, request.context);
    match (customer, amount, source, destination) {
        (Some(customer), Some(amount), Some(source), Some(destination)) if fields.is_good() && fields.is_within() => {
            let notes = NotesText { context, ..NotesText::default() }.into();
            Ok(Assessment { customer, amount, accounts: source.into_iter().chain(destination).collect(), notes })
        }
        _ => Err(fields.refuse()),
    }
}

/// A verdict for the wire.
pub fn verdict(verdict: &Verdict) -> RiskVerdict {
    let decision = match verdict.decision {
        risk::RiskDecision::Accept => RiskDecision::Accept,
        risk::RiskDecision::Review => RiskDecision::Review,
        risk::RiskDecision::Reject => RiskDecision::Reject,
    };
    RiskVerdict {
        decision: decision.into(),
        score: verdict.score.into(),
        reasons: verdict.reasons.iter().map(|reason| reason.name().to_owned()).collect(),
    }
}
